"""Executed weights of strategies on prices with sessions in which some symbols do not trade.

A backtest on such prices cannot be computed for all sessions at once, because units that do not trade are carried from
fill to fill. Here each account is followed session by session, which turns its targets into the weights that its fills
reach. From these weights the ledger, and its fast forms, compute the backtest as if every symbol always traded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trading_app.market.accounting import hold, positive, total
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel, ratio
from trading_app.market.partial_fills import executed_weights

Floats = NDArray[np.float64]


def executed_targets(
    panel: TradingPanel,
    targets: Floats,
    costs: CostModel,
    gross_limit: float | None = None,
    *,
    partial_orders: bool = False,
) -> Floats:
    """Return the weights that the fills of K accounts reach [K, T, N]; a row of NaN is no fill.

    A target stays due until the next session in which its symbol trades, unless a newer target replaces it. A symbol
    that has ended is closed, whatever the target. Targets are decided at each close [K, T, N]; a row of NaN is no
    decision. `gross_limit` is the largest Σ |weight| after a fill in which some symbols do not trade; by default that
    of the target itself, at least 1: a long-only account does not borrow. With
    `partial_orders` rows may have numbers and NaN: assets with NaN keep their units, or the target that is due in them.
    """
    if panel.always_traded and not (partial_orders and _mixed(targets)):
        return targets
    strategies, sessions, assets = targets.shape
    impact = panel.impact(costs)
    trades = panel.status.traded | panel.status.closing
    intraday = None if panel.at_close else ratio(panel.close, panel.price)
    overnight = np.ones_like(panel.close)
    overnight[:-1] = panel.price[1:] / panel.close[:-1]

    lending = costs.lending_rates(panel.dates)
    executed = np.full_like(targets, np.nan)
    # The axis in the middle makes sums over assets the same for one account as for many.
    wanted, held, after = np.zeros((3, strategies, 1, assets))  # held, after: weights before and after a fill
    due = np.zeros((strategies, 1, assets), dtype=bool)
    alive = np.ones((strategies, 1), dtype=bool)
    limit = np.full((strategies, 1), 1.0 if gross_limit is None else gross_limit)
    for day in range(1, sessions):
        target = targets[:, day - 1, None]
        given = ~np.isnan(target)
        decided = given.any(axis=(1, 2))
        wanted, due = np.where(given, target, wanted), due | given
        if gross_limit is None:
            limit[decided] = np.maximum(1.0, total(abs(wanted[decided])))
        closing = panel.status.closing[day]
        if closing.any():
            due[..., closing] = after[..., closing] != 0
            wanted[..., closing] = 0.0
        filling = due & trades[day]
        rows = decided | filling.any(axis=(1, 2))
        after = held.copy()
        if rows.any():
            goal, fills = wanted[rows], filling[rows]
            if not fills.all():
                squeeze = None if impact is None else impact[day]
                part = executed_weights(goal, held[rows], fills, costs.rate, limit[rows], squeeze)
                goal = np.where(fills.all(axis=2, keepdims=True), goal, part)
            # A ruined account, which stays at 0, is left in cash.
            after[rows] = goal * alive[rows, :, None]
            executed[rows, day - 1] = after[rows, 0]
            due[rows] &= ~fills
        close_growth, _, growth, values = hold(
            after,
            costs,
            None if intraday is None else intraday[day],
            overnight[day],
            None if lending is None else lending[day],
        )
        alive &= (close_growth > 0) & (growth > 0)
        held = values / positive(growth)[..., None] * alive[..., None]
    return executed


def _mixed(targets: Floats) -> bool:
    """Return whether a row has numbers and NaN."""
    missing = np.isnan(targets)
    return bool((missing.any(axis=-1) & ~missing.all(axis=-1)).any())
