"""Estimates from time series with standard errors that allow for heteroskedasticity and autocorrelation (HAC).

Newey & West (1987) through ``statsmodels``, with the number of lags of Newey & West (1994), 4 (T / 100)^(2/9).
Intervals are normal.

Axes: T time, M moments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its standard error and interval, all in `unit`; NaN where undefined."""

    value: float
    error: float
    low: float
    high: float
    unit: str


def default_lags(sessions: int) -> int:
    """Return the number of lags for a series of this length."""
    return int(4 * (sessions / 100) ** (2 / 9))


def regression(returns: Array, reference: Array, *, periods: int, level: float) -> tuple[Estimate, Estimate]:
    """Return alpha, a fraction a year, and beta of returns [T] on a reference's [T], both above the risk-free rate.

    Undefined where the reference does not vary.
    """
    from statsmodels.regression.linear_model import OLS

    units = ("fraction a year", "ratio")
    if not reference.std() > 1e-12:
        alpha, beta = (_estimate(np.nan, np.nan, level, unit) for unit in units)
        return alpha, beta
    regressors = np.column_stack([np.ones_like(reference), reference])
    lags = {"maxlags": default_lags(len(returns)), "use_correction": True}
    fitted = OLS(returns, regressors).fit(cov_type="HAC", cov_kwds=lags)
    alpha, beta = (
        _estimate(scale * value, scale * error, level, unit)
        for scale, value, error, unit in zip((periods, 1), fitted.params, fitted.bse, units, strict=True)
    )
    return alpha, beta


def mean_estimate(values: Array, *, level: float, unit: str, scale: float = 1.0) -> Estimate:
    """Return the mean of a series [T] times `scale`."""
    return function_of_means(lambda means: scale * means[0], values[:, None], level=level, unit=unit)


def function_of_means(
    function: Callable[[Array], Array], moments: Array, *, level: float, unit: str
) -> Estimate:
    """Return a smooth function of the means [M] of moments [T, M], with its error by the delta method.

    The function must also accept complex means: its derivative is taken by a complex step. Undefined where its value is
    NaN.
    """
    from statsmodels.stats.sandwich_covariance import S_hac_simple
    from statsmodels.tools.numdiff import approx_fprime_cs

    count, means = len(moments), moments.mean(axis=0)
    value = float(function(means))
    if not np.isfinite(value):
        return _estimate(np.nan, np.nan, level, unit)
    covariance = S_hac_simple(moments - means, default_lags(count)) / (count * max(count - 1, 1))
    slope = np.asarray(approx_fprime_cs(means, function)).ravel()
    return _estimate(value, float(np.sqrt(max(slope @ covariance @ slope, 0.0))), level, unit)


def change_by_row(function: Callable[[Array], Array], moments: Array) -> Array:
    """Return what each row of moments [T, M] contributes to a smooth function of their means, to first order [T].

    The mean of the contributions is 0, and their mean plus the function's value has its error. The function must also
    accept complex means.
    """
    from statsmodels.tools.numdiff import approx_fprime_cs

    means = moments.mean(axis=0)
    slope = np.asarray(approx_fprime_cs(means, function)).ravel()
    return np.asarray((moments - means) @ slope)


def _estimate(value: float, error: float, level: float, unit: str) -> Estimate:
    from scipy.stats import norm

    reach = float(norm.ppf((1 + level) / 2)) * error
    return Estimate(float(value), float(error), float(value - reach), float(value + reach), unit)
