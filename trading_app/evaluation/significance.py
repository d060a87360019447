"""Significance: comparisons with baselines, the SPA test, and probabilistic and deflated Sharpe ratios.

Paired stationary-bootstrap comparisons, Hansen's test of superior predictive ability, the probabilistic and
the deflated Sharpe ratio. Multiplicity is faced in two ways: the SPA test allows for having looked at several
strategies on the same data, the deflated Sharpe ratio for having searched over settings before.

Axes: T time, K strategies, R resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import DataError
from trading_app.evaluation.bootstrap import block_length, percentile_interval, resample
from trading_app.evaluation.metrics import Rate, kurtosis, less_dated_rates, returns_array, sharpe, skew

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """One strategy against one baseline on the same dates.

    Sharpe differences and mean excess returns are annualised; each ``…_low`` and ``…_high`` bounds the
    interval at `level`. ``probability_ahead`` is the share of resamples whose mean excess return is positive.
    """

    strategy: str
    baseline: str
    sharpe_difference: float
    sharpe_low: float
    sharpe_high: float
    excess_return: float
    excess_low: float
    excess_high: float
    probability_ahead: float
    level: float
    block: int
    reps: int

    @property
    def verdict(self) -> str:
        """``"better"``, ``"worse"`` or ``"indistinguishable"`` in Sharpe ratio at `level`."""
        if self.sharpe_low > 0:
            return "better"
        return "worse" if self.sharpe_high < 0 else "indistinguishable"

    def to_dict(self) -> dict[str, float | int | str]:
        """Plain values, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}


def compare(
    returns: pd.DataFrame,
    strategy: str,
    baselines: Sequence[str],
    *,
    periods: int = 252,
    risk_free: Rate = 0.0,
    level: float = 0.95,
    reps: int = 2000,
    seed: int = 0,
) -> list[Comparison]:
    """Compare a strategy with each baseline, columns of returns (date × strategy), by a paired stationary bootstrap.

    Days are resampled in blocks, all strategies together, so that what moves them all cancels. The block length fits
    the differences from the baselines. `level` is the coverage of the intervals; `reps` and `seed` are number and seed
    of the resamples.

    Raises
    ------
    DataError
        For an unknown column or a missing return.
    """
    _require_columns(returns, [strategy, *baselines])
    if not baselines:
        return []
    values = returns_array(returns[[strategy, *baselines]])
    values, risk_free = less_dated_rates(values, risk_free, periods)
    block = block_length(values[:, :1] - values[:, 1:])

    def statistic(sample: Array) -> Array:
        ratios = sharpe(sample, periods=periods, risk_free=risk_free)
        means = sample.mean(axis=0) * periods
        return np.stack([ratios[0] - ratios[1:], means[0] - means[1:]])

    point = statistic(values)
    draws = resample(statistic, values, block=block, reps=reps, seed=seed)
    low, high = percentile_interval(draws, level)
    ahead = (draws[:, 1] > 0).mean(axis=0)
    return [
        Comparison(
            strategy=strategy,
            baseline=name,
            sharpe_difference=float(point[0, k]),
            sharpe_low=float(low[0, k]),
            sharpe_high=float(high[0, k]),
            excess_return=float(point[1, k]),
            excess_low=float(low[1, k]),
            excess_high=float(high[1, k]),
            probability_ahead=float(ahead[k]),
            level=level,
            block=block,
            reps=reps,
        )
        for k, name in enumerate(baselines)
    ]


@dataclass(frozen=True)
class SpaResult:
    """P-values of the hypothesis that no candidate has a higher mean return than the benchmark.

    ``consistent`` is the one to quote; ``lower`` and ``upper`` bound it.
    """

    benchmark: str
    candidates: tuple[str, ...]
    lower: float
    consistent: float
    upper: float
    best: str
    block: int
    reps: int

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        return {**asdict(self), "candidates": list(self.candidates)}


def spa(
    returns: pd.DataFrame,
    benchmark: str,
    candidates: Sequence[str],
    *,
    block: int | None = None,
    reps: int = 1000,
    seed: int = 0,
) -> SpaResult:
    """Hansen's (2005) test of superior predictive ability, through ``arch``.

    The statistic is the largest studentised mean excess return over the benchmark. ``arch`` computes the
    long-run variances but compares means that are not divided by them, so each column is divided here before
    the test.

    Parameters
    ----------
    returns
        Date × strategy simple net returns.
    benchmark
        Column that the null hypothesis calls unbeaten.
    candidates
        Every strategy that was looked at, not the best of them only.
    block, reps, seed
        As in `trading_app.evaluation.bootstrap.resample`, of the excess returns.
    """
    from arch.bootstrap import SPA

    if not candidates:
        raise DataError("the SPA test needs at least one candidate strategy")
    _require_columns(returns, [benchmark, *candidates])
    values = returns_array(returns[[benchmark, *candidates]])
    excess = values[:, 1:] - values[:, :1]
    length = block or block_length(excess)
    scale = _long_run_deviation(excess, length)
    # A candidate equal to the benchmark has no variance and can never be ahead: leave it out of the maximum.
    moving = scale > 0
    if not moving.any():
        return SpaResult(benchmark, tuple(candidates), 1.0, 1.0, 1.0, candidates[0], length, reps)
    studentised = excess[:, moving] / scale[moving]
    test = SPA(
        np.zeros(len(values)), -studentised, block_size=length, reps=reps, seed=np.random.default_rng(seed)
    )
    test.compute()
    named = np.asarray(candidates)[moving]
    return SpaResult(
        benchmark=benchmark,
        candidates=tuple(candidates),
        lower=float(test.pvalues["lower"]),
        consistent=float(test.pvalues["consistent"]),
        upper=float(test.pvalues["upper"]),
        best=str(named[int(studentised.mean(axis=0).argmax())]),
        block=length,
        reps=reps,
    )


def probabilistic_sharpe(
    returns: pd.Series | Array, *, benchmark: float = 0.0, periods: int = 252, risk_free: Rate = 0.0
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` (Bailey & López de Prado 2012).

    Allows for the length of the series [T] of simple returns, its skewness and its tails; assumes independent periods.
    `benchmark` and `risk_free` are annual; the latter may be that of each return [T].
    """
    from scipy.stats import norm

    values, risk_free = less_dated_rates(returns_array(returns), risk_free, periods)
    ratio = float(sharpe(values, periods=periods, risk_free=risk_free)) / np.sqrt(periods)
    error = _sharpe_error(values, ratio)
    return float(norm.cdf((ratio - benchmark / np.sqrt(periods)) / error)) if error > 0 else float("nan")


def expected_maximum_sharpe(trials: int, deviation: float) -> float:
    """Expected best Sharpe ratio among independent trials without skill.

    Equation 1 of Bailey & López de Prado (2014); the result has the unit of `deviation`, the standard deviation of
    Sharpe ratios over the trials.
    """
    from scipy.stats import norm

    if trials < 1:
        raise DataError(f"trials is {trials}; it must be at least 1, for the strategy itself")
    if trials == 1:
        return 0.0
    quantiles = norm.ppf([1 - 1 / trials, 1 - 1 / (trials * np.e)])
    return float(deviation * ((1 - np.euler_gamma) * quantiles[0] + np.euler_gamma * quantiles[1]))


def deflated_sharpe(
    returns: pd.Series | Array,
    *,
    trials: int | None = None,
    trial_sharpes: npt.ArrayLike | None = None,
    periods: int = 252,
    risk_free: Rate = 0.0,
) -> float:
    """Probability that the true Sharpe ratio exceeds the expected maximum of so many trials without skill.

    Bailey & López de Prado (2014). Give the annualised Sharpe ratio of every trial where they were logged. With a count
    alone (by default that of `trial_sharpes`) the spread over trials without skill is taken to be the sampling error of
    this series' own ratio. The returns are those [T] of the strategy that was selected.
    """
    values, risk_free = less_dated_rates(returns_array(returns), risk_free, periods)
    ratios = np.asarray([] if trial_sharpes is None else trial_sharpes, dtype=np.float64)
    ratios = ratios[np.isfinite(ratios)]
    count = trials if trials is not None else len(ratios)
    if len(ratios) > 1:
        deviation = float(ratios.std(ddof=1))
    else:
        ratio = float(sharpe(values, periods=periods, risk_free=risk_free)) / np.sqrt(periods)
        deviation = _sharpe_error(values, ratio) * float(np.sqrt(periods))
    benchmark = expected_maximum_sharpe(count, deviation)
    return probabilistic_sharpe(values, benchmark=benchmark, periods=periods, risk_free=risk_free)


def _sharpe_error(values: Array, ratio: float) -> float:
    """Standard error of a per-period Sharpe ratio (Mertens 2002)."""
    if len(values) < 3 or not np.isfinite(ratio):
        return float("nan")
    variance = 1 - float(skew(values)) * ratio + (float(kurtosis(values)) + 2) / 4 * ratio**2
    return float(np.sqrt(variance / (len(values) - 1))) if variance > 0 else float("nan")


def _long_run_deviation(values: Array, block: int) -> Array:
    """√ of the long-run variance [K] that the bootstrap implies (Politis & Romano 1994, equation 12)."""
    length = len(values)
    centred = values - values.mean(axis=0)
    padded = 2 ** int(np.ceil(np.log2(2 * length)))
    spectrum = np.fft.rfft(centred, padded, axis=0)
    covariances = np.fft.irfft(np.abs(spectrum) ** 2, padded, axis=0)[:length] / length
    lags = np.arange(length)
    survival = 1 - 1 / block
    kernel = (1 - lags / length) * survival**lags + lags / length * survival ** (length - lags)
    kernel[0] = 0.5
    variance = 2 * (kernel[:, None] * covariances).sum(axis=0)
    tiny = 1e-24 + 1e-18 * np.square(values).max(axis=0)
    return np.sqrt(np.where(variance > tiny, variance, 0.0))


def _require_columns(returns: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in returns.columns]
    if missing:
        known = ", ".join(map(str, returns.columns))
        raise DataError(f"strategy {missing[0]!r} not found among the returns; available: {known}")
