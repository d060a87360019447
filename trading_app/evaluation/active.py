"""Return above a reference: alpha and beta, tracking error, information ratio, break-even cost and regimes.

All errors are those of `trading_app.evaluation.hac`. The active return is the strategy's return minus the reference's.

Axes: T time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from trading_app.evaluation.hac import Array, Estimate, function_of_means, mean_estimate, regression
from trading_app.evaluation.metrics import Rate

YEARLY = "fraction a year"
_NOTHING = 1e-12


@dataclass(frozen=True)
class Regime:
    """Results in a part of the sessions; ``reference`` is the mean return of the reference, a fraction a year."""

    sessions: int
    reference: float
    active_return: Estimate


def active_estimates(
    returns: Array,
    reference: Array,
    *,
    turnover: Array,
    trading_costs: Array,
    periods: int,
    risk_free: Rate = 0.0,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """Return the estimates of a strategy's return above a reference, by name.

    Parameters
    ----------
    returns, reference
        Simple net returns [T] of both.
    turnover, trading_costs
        Those of the strategy minus those of the reference, a session [T], see
        `trading_app.evaluation.metrics.break_even_bps`.
    periods, risk_free, level
        Sessions a year, annual rate or that of each return [T], and coverage of the intervals.

    Returns
    -------
    dict
        ``active_return``, ``alpha``, ``beta``, ``tracking_error``, ``information_ratio`` and ``break_even_bps``, the
        cost per unit traded at which the mean active return would be zero, undefined where the strategy trades no more
        than the reference.
    """
    active = returns - reference
    nightly = risk_free / periods
    alpha, beta = regression(returns - nightly, reference - nightly, periods=periods, level=level)
    squares = np.column_stack([active, active * active])
    # The standard deviations of the other measures divide by T − 1.
    correction = len(active) / max(len(active) - 1, 1)

    def deviation(means: Array) -> Array:
        variance = means[1] - means[0] ** 2
        return np.sqrt(variance * correction) if variance.real > _NOTHING**2 else np.asarray(np.nan)

    traded = np.column_stack([active + trading_costs, turnover])
    return {
        "active_return": mean_estimate(active, level=level, unit=YEARLY, scale=periods),
        "alpha": alpha,
        "beta": beta,
        "tracking_error": function_of_means(
            lambda means: np.sqrt(periods) * deviation(means), squares, level=level, unit=YEARLY
        ),
        "information_ratio": function_of_means(
            lambda means: np.sqrt(periods) * means[0] / deviation(means), squares, level=level, unit="ratio"
        ),
        "break_even_bps": function_of_means(
            lambda means: 1e4 * means[0] / (2 * means[1]) if means[1].real > _NOTHING else np.asarray(np.nan),
            traded,
            level=level,
            unit="bps",
        ),
    }


def market_regimes(reference: pd.Series, *, periods: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the sessions [T] of each regime of a reference, by name, from its returns by date.

    ``up`` and ``down`` are the calendar months in which the reference gained and lost. ``calm`` and ``turbulent`` are
    the sessions before which its volatility, over a quarter of a year but at least 12 sessions, was in its lower and
    in its upper half; the first sessions belong to neither.
    """
    months = pd.DatetimeIndex(reference.index).to_period("M")
    gained = ((1.0 + reference).groupby(months).transform("prod") > 1.0).to_numpy()
    volatility = reference.rolling(max(periods // 4, 12)).std().shift(1)
    turbulent = (volatility > volatility.median()).to_numpy()
    known = volatility.notna().to_numpy()
    return {"up": gained, "down": ~gained, "calm": known & ~turbulent, "turbulent": turbulent}


def regime_estimates(
    returns: pd.Series, reference: pd.Series, *, periods: int, level: float = 0.95
) -> dict[str, Regime]:
    """Return the results in each regime of `market_regimes` that has sessions; returns are net and by date."""
    active = (returns - reference).to_numpy(dtype=np.float64)
    found = {}
    for name, days in market_regimes(reference, periods=periods).items():
        if not days.any():
            continue
        estimate = function_of_means(
            lambda means: periods * means[0] / means[1],
            np.column_stack([active * days, days.astype(np.float64)]),
            level=level,
            unit=YEARLY,
        )
        found[name] = Regime(int(days.sum()), float(reference[days].mean()) * periods, estimate)
    return found
