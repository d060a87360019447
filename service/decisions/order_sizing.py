"""Orders: target minus held, in weights and, where asked for, in whole lots that never overspend cash."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Orders smaller than this share of a lot are rounding dust of the floats, not a wish to trade.
_DUST = 1e-9


@dataclass(frozen=True)
class SizedOrders:
    """Orders in shares.

    Attributes
    ----------
    shares : array [N]
        To buy, or to sell where negative; whole lots, except a sale of everything that is held.
    cash : float
        What is left once the orders are filled at the given prices and their costs are paid.
    """

    shares: Floats
    cash: float


def size_orders(
    target: Floats,
    held: Floats,
    cash: float,
    prices: Floats,
    lots: Floats,
    *,
    cost_rate: float = 0.0,
) -> SizedOrders:
    """Round the way to target weights to whole lots.

    Each order is rounded towards zero; where that still overspends (sales brought in less than meant, or
    costs ate the rest), purchases are cut lot by lot, the largest first. Cash never falls below zero, or
    below the cash of the target where the target itself borrows, unless it was there before and only sales
    can help.

    Parameters
    ----------
    target : array [N]
        Target weights of the net asset value.
    held : array [N]
        Shares held.
    cash : float
        Cash held, in money.
    prices : array [N]
        Prices to compute with, in money a share.
    lots : array [N]
        Shares in a lot.
    cost_rate : float
        Cost of trading as a share of the value traded.
    """
    nav = cash + float(held @ prices)
    counts = _whole((target * nav / prices - held) / lots)
    # A position that is to go goes whole, odd lots included.
    goes = (target == 0) & (held != 0)
    counts = np.where(goes, np.ceil(-held / lots), counts)
    shares = np.where(goes, -held, _in_shares(counts, lots)) + 0.0
    borrowed = 1.0 - float(target.sum())
    floor = nav * borrowed if borrowed < -_DUST else 0.0
    left = _left(shares, cash, prices, cost_rate)
    for i in np.argsort(-shares * prices, kind="stable"):
        price, cut = lots[i] * prices[i] * (1 + cost_rate), 0.0
        while left < floor and shares[i] > 0:
            # Twice as many each time: what floats round away of a cut must not be tried for ever.
            cut = max(np.ceil((floor - left) / price), 2 * cut, 1.0)
            counts[i] = max(0.0, counts[i] - cut)
            shares[i] = _in_shares(counts[i : i + 1], lots[i : i + 1])[0]
            left = _left(shares, cash, prices, cost_rate)
    return SizedOrders(shares, left)


def _whole(lots: Floats) -> Floats:
    """Round numbers of lots towards zero, but for those that only the rounding of floats keeps from a whole one."""
    nearest = np.rint(lots)
    close = np.abs(lots - nearest) <= _DUST + 4 * np.finfo(float).eps * np.abs(lots)
    return np.where(close, nearest, np.trunc(lots))


def _in_shares(counts: Floats, lots: Floats) -> Floats:
    """Whole lots in shares, by decimal arithmetic: three lots of 0.1 are 0.3 shares and no dust."""
    pairs = zip(counts.tolist(), lots.tolist(), strict=True)
    return np.array([float(int(count) * Decimal(repr(lot))) for count, lot in pairs])


def _left(shares: Floats, cash: float, prices: Floats, cost_rate: float) -> float:
    values = shares * prices
    return cash - float(values.sum()) - cost_rate * float(np.abs(values).sum())
