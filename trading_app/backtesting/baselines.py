"""Baselines to compare a trained policy with: causal, and under the same costs.

Each baseline maps prices to target weights decided at the close of a date: date × symbol, fractions of the
portfolio, with a row of NaN on dates without a decision (holdings drift). Row t uses closes up to and
including t, also those before `start`. Decisions fall on the first session of the range and on the first
session of each later month, or on another schedule (`trading_app.market.decisions.rebalancing_days`); those dates do
not depend on where the prices end. Where history is too short at first, decisions begin later and the portfolio is cash
until then; where it is too short throughout, that is an error.

With `Terms` of a market that has limits, targets are those of an account that keeps them on every day.

A symbol takes part in a decision when it is available (it traded within the last `DELIST_AFTER` sessions) and, where a
baseline looks back, has enough history. In a session without a trade its price is the last one.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from data import Prices
from data.errors import DataError
from data.fields import DateLike
from trading_app.backtesting.plug_in import plug_in
from trading_app.backtesting.portfolio_rules import (
    hierarchical_risk_parity_weights,
    mean_variance_weights,
    risk_parity_weights,
    trend_weights,
)
from trading_app.backtesting.scheduled_rules import (
    Baseline,
    ScheduledRule,
    Terms,
    limited_targets,
    scheduled_targets,
)
from trading_app.market.base import (
    MINIMUM,
    WINDOW,
    Floats,
    equal_weights,
    inverse_volatility_weights,
    least_variance_weights,
    minimum_variance_weights,
)

__all__ = [
    "BASELINES",
    "NEED_SIGNALS",
    "OPTIMISED",
    "Terms",
    "baseline",
    "baseline_targets",
    "least_variance_weights",
    "usable_baselines",
]


equal_weight = ScheduledRule("equal-weight", equal_weights, lookback=0, needed=0)
"""Equal weights in all available symbols, restored on each date of the schedule."""

inverse_volatility = ScheduledRule("inverse-volatility", inverse_volatility_weights)
"""Weights proportional to one over the volatility of a year, chosen on each date of the schedule."""


def buy_and_hold(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    rebalance: str | int = "monthly",
    terms: Terms | None = None,
) -> pd.DataFrame:
    """Equal weights in the symbols listed on the first date, without later trades, whatever the schedule."""
    targets = equal_weight(prices, start, end, rebalance=rebalance)
    targets.iloc[int(targets.notna().any(axis=1).argmax()) + 1 :] = np.nan
    return limited_targets(prices, targets, terms)


def minimum_variance(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    window: int = WINDOW,
    minimum: int = MINIMUM,
    rebalance: str | int = "monthly",
    terms: Terms | None = None,
) -> pd.DataFrame:
    """Long-only, fully invested portfolio of minimum variance, re-estimated on each date of the schedule.

    The covariance is shrunk as Ledoit & Wolf (2004), through ``skfolio``; the optimum is exact, see
    `least_variance_weights`. It uses the sessions of the window on which every symbol that takes part has a
    return, or, where gaps leave fewer than `minimum` of them, all sessions with missing returns as zero.
    """
    rule = partial(minimum_variance_weights, minimum=minimum, name=prices.name)
    return scheduled_targets(
        prices,
        start,
        end,
        lookback=window,
        needed=minimum,
        rule=rule,
        name="min-variance",
        rebalance=rebalance,
        terms=terms,
    )


def momentum(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    long_short: bool = False,
    window: int = WINDOW,
    skip: int = 21,
    rebalance: str | int = "monthly",
    terms: Terms | None = None,
) -> pd.DataFrame:
    """Equal weights in the third of symbols with the highest return from 12 months to 1 month ago.

    Jegadeesh & Titman (1993) with the usual one month left out. `window` and `skip` count sessions from the start and
    from the end of the ranking period to the decision. With `long_short` half the portfolio is long the top third and
    half short the bottom third, so that gross exposure is 1 and net 0.
    """

    def rule(closes: Floats) -> Floats | None:
        if len(closes) <= window:
            return None
        growth = closes[-1 - skip] / closes[-1 - window]
        ranked = np.flatnonzero(np.isfinite(growth) & np.isfinite(closes[-1]))
        if len(ranked) < (2 if long_short else 1):
            return None
        ranked = ranked[np.argsort(growth[ranked], kind="stable")]
        count = max(len(ranked) // 3, 1)
        weights = np.zeros(closes.shape[1])
        weights[ranked[-count:]] = 1.0 / count
        if long_short:
            weights[ranked[:count]] -= 1.0 / count
            weights *= 0.5
        return weights

    return scheduled_targets(
        prices,
        start,
        end,
        lookback=window,
        needed=window,
        rule=rule,
        name="momentum",
        rebalance=rebalance,
        terms=terms,
    )


BASELINES: dict[str, Baseline] = {
    "equal-weight": equal_weight,
    "equal-weight-daily": partial(equal_weight, rebalance="daily"),
    "buy-and-hold": buy_and_hold,
    "inverse-volatility": inverse_volatility,
    "inverse-volatility-daily": partial(inverse_volatility, rebalance="daily"),
    "min-variance": minimum_variance,
    "momentum": momentum,
    "trend": ScheduledRule("trend", trend_weights, needed=WINDOW),
    "risk-parity": ScheduledRule("risk-parity", risk_parity_weights, refit="monthly"),
    "hierarchical-risk-parity": ScheduledRule(
        "hierarchical-risk-parity", hierarchical_risk_parity_weights, refit="monthly"
    ),
    "mean-variance": ScheduledRule("mean-variance", mean_variance_weights, refit="monthly"),
    "plug-in": plug_in,
}

#: Baselines that trade on signals beside the prices, in the way of the agent.
NEED_SIGNALS = ("plug-in",)

#: Baselines that solve an optimisation each month, which takes tens of milliseconds.
OPTIMISED = ("risk-parity", "hierarchical-risk-parity", "mean-variance")


def usable_baselines(prices: Prices) -> dict[str, Baseline]:
    """Return the baselines that can be had on prices: some need signals beside them."""
    return {name: rule for name, rule in BASELINES.items() if prices.signals or name not in NEED_SIGNALS}


def baseline_targets(
    name: str, prices: Prices, start: DateLike | None, end: DateLike | None, terms: Terms
) -> pd.DataFrame:
    """Return the targets of one baseline: once a month, or on the market's schedule where it trades on signals."""
    schedule = terms.market.rebalance if name in NEED_SIGNALS else None
    options = {} if schedule is None else {"rebalance": schedule}
    return baseline(name)(prices, start, end, terms=terms, **options)


def baseline(name: str) -> Baseline:
    """Return the baseline called `name`; DataError with the known names for another one."""
    import difflib

    if name not in BASELINES:
        near = difflib.get_close_matches(name, BASELINES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"baseline {name!r} not found; {hint}available: {', '.join(BASELINES)}")
    return BASELINES[name]
