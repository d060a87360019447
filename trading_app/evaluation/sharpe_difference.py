"""Difference of two Sharpe ratios on the same dates, and the mean of several such differences, with HAC errors.

The error of one difference is that of Ledoit & Wolf (2008): the delta method on the means of both series and of their
squares. The mean over pairs (of one question, asked on several datasets) sums what each date contributes to it, so that
its error allows for datasets that move together on the same days.

Axes: T sessions, M moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trading_app.evaluation.hac import Array, Estimate, change_by_row, function_of_means, mean_estimate
from trading_app.evaluation.metrics import returns_array

__all__ = ["Pair", "mean_sharpe_difference", "sharpe_difference", "two_sided_p"]

_NOTHING = 1e-24


@dataclass(frozen=True)
class Pair:
    """Simple net returns of two strategies on the same dates, with sessions a year and the annual risk-free rate."""

    own: pd.Series
    other: pd.Series
    periods: int
    risk_free: float = 0.0

    @property
    def equal(self) -> bool:
        """Whether the returns are equal up to rounding."""
        return bool(np.allclose(self.own, self.other, rtol=0.0, atol=1e-12))

    @property
    def moments(self) -> Array:
        """Both returns above the risk-free rate, and their squares [T, M = 4]."""
        excess = returns_array(pd.concat([self.own, self.other], axis=1)) - self.risk_free / self.periods
        return np.hstack([excess, excess**2])

    def difference(self, means: Array) -> Array:
        """Return the difference of the Sharpe ratios as a function of the means of the moments [M]."""
        correction = len(self.own) / max(len(self.own) - 1, 1)
        variances = (means[2:] - means[:2] ** 2) * correction
        if not (variances.real > _NOTHING).all():
            return np.asarray(np.nan)
        ratios = np.sqrt(self.periods) * means[:2] / np.sqrt(variances)
        return np.asarray(ratios[0] - ratios[1])


def sharpe_difference(pair: Pair, *, level: float = 0.95) -> Estimate:
    """Return the annualised Sharpe ratio of one strategy minus that of the other, which is 0 for equal returns."""
    if pair.equal:
        return Estimate(0.0, 0.0, 0.0, 0.0, "ratio")
    return function_of_means(pair.difference, pair.moments, level=level, unit="ratio")


def mean_sharpe_difference(pairs: Sequence[Pair], *, level: float = 0.95) -> Estimate:
    """Return the mean over pairs of the differences of Sharpe ratios; undefined where one of them is."""
    value, changes = 0.0, []
    for pair in pairs:
        if pair.equal:
            changes.append(pd.Series(0.0, index=pair.own.index))
            continue
        moments = pair.moments
        value += float(pair.difference(moments.mean(axis=0))) / len(pairs)
        changes.append(
            pd.Series(change_by_row(pair.difference, moments) / len(moments), index=pair.own.index)
        )
    joined = pd.concat(changes) / len(pairs)
    daily = returns_array(joined.groupby(level=0).sum())
    # The changes sum to zero: their mean has the error of the value.
    error = mean_estimate(len(daily) * daily, level=level, unit="ratio")
    return Estimate(value, error.error, value + error.low, value + error.high, "ratio")


def two_sided_p(estimate: Estimate) -> float:
    """Return the p-value of the hypothesis that the value is 0; 1 for a value of 0 without error, NaN if undefined."""
    from scipy.stats import norm

    if estimate.value == 0.0:
        return 1.0
    return float(2.0 * norm.sf(abs(estimate.value) / estimate.error)) if estimate.error > 0 else float("nan")
