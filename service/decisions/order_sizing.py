"""Orders in whole lots that never spend more than the cash."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Orders smaller than this part of a lot are rounding errors.
_DUST = 1e-9


@dataclass(frozen=True)
class SizedOrders:
    """Orders in shares [N], negative to sell: whole lots, except for the sale of a whole position.

    `cash` remains after the orders are filled at the given prices and their costs are paid.
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
    """Return the orders from held shares to target weights, rounded to whole lots.

    Each order is rounded towards zero. If the orders still cost too much, because of smaller sales or trading costs,
    purchases are reduced lot by lot, the largest first. Cash does not fall below zero, or below the cash of the target
    where the target itself borrows, unless it was lower before and only sales could raise it.

    Targets are weights of the net asset value, `held` and `lots` (shares per lot) are in shares, all [N]; the cost
    rate is a fraction of the traded value.
    """
    nav = cash + float(held @ prices)
    counts = _whole((target * nav / prices - held) / lots)
    # A closed position is sold whole, odd lots included.
    goes = (target == 0) & (held != 0)
    counts = np.where(goes, np.ceil(-held / lots), counts)
    shares = np.where(goes, -held, _in_shares(counts, lots)) + 0.0
    borrowed = 1.0 - float(target.sum())
    floor = nav * borrowed if borrowed < -_DUST else 0.0
    left = _left(shares, cash, prices, cost_rate)
    for i in np.argsort(-shares * prices, kind="stable"):
        price, cut = lots[i] * prices[i] * (1 + cost_rate), 0.0
        while left < floor and shares[i] > 0:
            # At least doubled each time: a cut lost in rounding must not be repeated forever.
            cut = max(np.ceil((floor - left) / price), 2 * cut, 1.0)
            counts[i] = max(0.0, counts[i] - cut)
            shares[i] = _in_shares(counts[i : i + 1], lots[i : i + 1])[0]
            left = _left(shares, cash, prices, cost_rate)
    return SizedOrders(shares, left)


def _whole(lots: Floats) -> Floats:
    """Round numbers of lots towards zero, except numbers within rounding error of a whole one."""
    nearest = np.rint(lots)
    close = np.abs(lots - nearest) <= _DUST + 4 * np.finfo(float).eps * np.abs(lots)
    return np.where(close, nearest, np.trunc(lots))


def _in_shares(counts: Floats, lots: Floats) -> Floats:
    """Return whole lots in shares, by decimal arithmetic: three lots of 0.1 are exactly 0.3 shares."""
    pairs = zip(counts.tolist(), lots.tolist(), strict=True)
    return np.array([float(int(count) * Decimal(repr(lot))) for count, lot in pairs])


def _left(shares: Floats, cash: float, prices: Floats, cost_rate: float) -> float:
    values = shares * prices
    return cash - float(values.sum()) - cost_rate * float(np.abs(values).sum())
