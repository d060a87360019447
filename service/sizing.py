"""Orders: target minus held, in weights and, where asked for, in whole lots that never overspend cash."""

from __future__ import annotations

from dataclasses import dataclass

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
    wanted = target * nav / prices - held
    shares = np.trunc(wanted / lots * (1 + _DUST)) * lots
    # A position that is to go goes whole, odd lots included.
    shares = np.where((target == 0) & (held != 0), -held, shares)
    floor = min(0.0, nav * (1.0 - float(target.sum())))
    left = _left(shares, cash, prices, cost_rate)
    for i in np.argsort(-shares * prices, kind="stable"):
        if left >= floor or shares[i] <= 0:
            break
        price = prices[i] * (1 + cost_rate)
        cut = min(np.ceil((floor - left) / (lots[i] * price)) * lots[i], shares[i])
        shares[i] = max(0.0, shares[i] - cut)
        left = _left(shares, cash, prices, cost_rate)
    # Nine decimals: enough for the smallest lots, and no dust of the floats in an order.
    return SizedOrders(np.round(shares, 9) + 0.0, left)


def _left(shares: Floats, cash: float, prices: Floats, cost_rate: float) -> float:
    values = shares * prices
    return cash - float(values.sum()) - cost_rate * float(np.abs(values).sum())
