"""Net asset values of many strategies at once.

`trading_app.backtesting.ledger` is the definition of a net asset value; a test compares the fast form here with it. The
account between two fills depends on the target of the first one alone (`trading_app.market.accounting`). So for a
strategy that trades on every session all fills are computed at once, and the value of the account is a cumulative
product. Other strategies go through the ledger.

Shapes: K strategies, T sessions, N assets; D = T − 1 sessions with a fill.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from trading_app.backtesting.ledger import end_at_ruin, ledger
from trading_app.market.accounting import hold, positive, solve_fill
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel, ratio

Floats = NDArray[np.float64]


def net_asset_values(panel: TradingPanel, targets: Floats, costs: CostModel) -> Floats:
    """Return the value of K accounts at each close [K, T].

    Targets are decided at each close of the panel [K, T, N]; a row of NaN is no trade.
    """
    impact = panel.impact(costs)
    squeeze = None if impact is None else impact[1:]
    intraday = None if panel.at_close else ratio(panel.close[1:], panel.price[1:])
    overnight = np.ones_like(panel.close[1:])
    overnight[:-1] = panel.price[2:] / panel.close[1:-1]
    lending = costs.lending_rates(panel.dates)

    def account(target: Floats) -> Floats:
        # A sum is NaN if any of its terms is.
        if not np.isfinite(target[:-1].sum()):
            return ledger(panel, target, costs).nav
        return _daily_trading(np.ascontiguousarray(target[:-1]), costs, intraday, overnight, squeeze, lending)

    if len(targets) == 1:  # a thread of its own would take longer than the account
        return account(targets[0])[None]
    with ThreadPoolExecutor(min(len(targets), processors())) as pool:
        return np.stack(list(pool.map(account, targets)))


def _daily_trading(
    target: Floats,
    costs: CostModel,
    intraday: Floats | None,
    overnight: Floats,
    impact: Floats | None,
    lending: Floats | None,
) -> Floats:
    """Return the value [T] of an account that trades on every session.

    Target, factors and impact are [D, N], and dated interest on cash, if there is any, is [T].
    """
    nights = None if lending is None else lending[1:]
    close, _, following, leaving = hold(target, costs, intraday, overnight, nights)
    held = np.zeros_like(target)
    held[1:] = leaving[:-1] / positive(following[:-1])[:, None]
    kept = solve_fill(target, held, costs.rate, impact)
    # The first session's cash earns interest over the night before it.
    first = costs.lending_rate if lending is None else lending[0]
    opening = np.concatenate([[1.0 + first], following[:-1]])
    nav = np.concatenate([[1.0], np.cumprod(opening * kept) * close])
    return end_at_ruin(nav, (opening <= 0) | (kept <= 0) | (close <= 0))


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
