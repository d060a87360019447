"""Statistics over seeds: interquartile mean and stratified-bootstrap intervals.

Follows Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021):
the mean of the middle half of all runs is steadier than the mean and uses more data than the median, and its
interval comes from resampling seeds within each task.

Axes: S seeds, M tasks, T points of a learning curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Statistic = Callable[[Array], Array]

# Resamples drawn at once, so that memory stays near CHUNK · S · M · T numbers however many are asked for.
CHUNK = 256


@dataclass(frozen=True)
class Interval:
    """A point estimate with a confidence interval; a single seed has no spread, so NaN bounds."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    def overlaps(self, other: Interval) -> bool:
        """Return whether the two intervals share a point."""
        return self.low <= other.high and other.low <= self.high

    def excludes(self, value: float) -> bool:
        """Return whether `value` lies outside the interval."""
        return value < self.low or value > self.high


@dataclass(frozen=True)
class Band:
    """An estimate with pointwise bounds along a curve, each of shape [T]."""

    estimate: Array
    low: Array
    high: Array
    confidence: float = 0.95


def interquartile_mean(scores: npt.ArrayLike, axis: int = 0) -> Array:
    """Mean of the middle half along `axis`: the ⌊n/4⌋ lowest and highest values are left out.

    Equal to ``scipy.stats.trim_mean(scores, 0.25, axis)``.

    Parameters
    ----------
    scores
        Finite numbers of any shape.
    axis
        The axis of the runs.

    Returns
    -------
    ndarray
        The shape of `scores` without `axis` (zero-dimensional for a vector).
    """
    values = np.sort(np.asarray(scores, dtype=np.float64), axis=axis)
    count = values.shape[axis]
    if count == 0:
        raise ValueError(f"interquartile mean of no runs: axis {axis} of shape {values.shape} is empty")
    cut = count // 4
    middle = np.take(values, np.arange(cut, count - cut), axis=axis)
    return np.asarray(middle.mean(axis=axis), dtype=np.float64)


def stratified_bootstrap(
    scores: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    statistic: Statistic = interquartile_mean,
) -> Array:
    """Draws of a statistic with the seeds of each task resampled independently of the other tasks.

    Parameters
    ----------
    scores
        [S, M] or [S, M, T]: seeds, tasks and, for curves, points. A whole curve is resampled at once.
    generator
        Source of the resampling.
    resamples
        Number of draws.
    statistic
        Takes [S · M, …] runs and reduces the first axis.

    Returns
    -------
    ndarray
        [resamples, …] values of the statistic.
    """
    values = _checked(scores, dimensions=(2, 3))
    seeds, tasks = values.shape[:2]
    columns = np.arange(tasks)
    draws = []
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        rows = generator.integers(seeds, size=(count, seeds, tasks))
        sample = values[rows, columns].reshape(count, seeds * tasks, *values.shape[2:])
        # Runs first, so that the statistic reduces one axis for every draw at once.
        draws.append(statistic(np.moveaxis(sample, 1, 0)))
    return np.concatenate(draws)


def bootstrap_interval(
    scores: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
    statistic: Statistic = interquartile_mean,
) -> Interval:
    """Statistic of final scores with its stratified-bootstrap percentile interval.

    Parameters
    ----------
    scores
        [S] for one task, [S, M] for several.
    generator, confidence, resamples, statistic
        As in `stratified_bootstrap`; `confidence` is the share of draws inside the interval.
    """
    values = _columns(_checked(scores, dimensions=(1, 2)))[:, :, None]
    band = bootstrap_band(
        values, generator=generator, confidence=confidence, resamples=resamples, statistic=statistic
    )
    return Interval(float(band.estimate[0]), float(band.low[0]), float(band.high[0]), confidence)


def bootstrap_band(
    scores: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
    statistic: Statistic = interquartile_mean,
) -> Band:
    """Statistic of learning curves at each point, with pointwise intervals.

    Parameters
    ----------
    scores
        [S, T] for one task, [S, M, T] for several.
    generator, confidence, resamples, statistic
        As in `bootstrap_interval`.
    """
    values = _checked(scores, dimensions=(2, 3))
    values = values[:, None, :] if values.ndim == 2 else values
    if not 0 < confidence < 1:
        raise ValueError(f"confidence {confidence} is not between 0 and 1")
    estimate = statistic(values.reshape(-1, values.shape[2]))
    if values.shape[0] < 2:
        unknown = np.full_like(estimate, np.nan)
        return Band(estimate, unknown, unknown, confidence)
    draws = stratified_bootstrap(values, generator=generator, resamples=resamples, statistic=statistic)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    return Band(estimate, low, high, confidence)


def bootstrap_difference(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    paired: bool = False,
    confidence: float = 0.95,
    resamples: int = 2000,
    statistic: Statistic = interquartile_mean,
) -> Interval:
    """Statistic of `first` minus that of `second`, with its interval.

    Parameters
    ----------
    first, second
        [S] or [S, M] scores; the numbers of seeds may differ unless `paired`.
    paired
        Seed k of both saw the same noise: resample the seeds of the two together.
    generator, confidence, resamples, statistic
        As in `bootstrap_interval`.
    """
    a, b = (_columns(_checked(x, dimensions=(1, 2))) for x in (first, second))
    if a.shape[1] != b.shape[1] or (paired and a.shape != b.shape):
        raise ValueError(f"cannot compare scores of shapes {a.shape} and {b.shape} (seeds × tasks)")
    estimate = float(statistic(a.reshape(-1)) - statistic(b.reshape(-1)))
    if min(a.shape[0], b.shape[0]) < 2:
        return Interval(estimate, np.nan, np.nan, confidence)
    draw = partial(stratified_bootstrap, generator=generator, resamples=resamples, statistic=statistic)
    if paired:
        pairs = draw(np.stack([a, b], axis=2))
        draws = pairs[:, 0] - pairs[:, 1]
    else:
        draws = draw(a) - draw(b)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high), confidence)


def probability_of_improvement(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Probability that a run of `first` beats one of `second` on a task drawn at random (ties half).

    Parameters
    ----------
    first, second
        [S] or [S, M] scores.
    generator, confidence, resamples
        As in `bootstrap_interval`.
    """
    a, b = (_columns(_checked(x, dimensions=(1, 2))) for x in (first, second))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"cannot compare scores of shapes {a.shape} and {b.shape} (seeds × tasks)")
    wins = (np.sign(a[:, None] - b[None, :]) + 1) / 2  # [S, S', M]
    estimate = float(wins.mean())
    if min(a.shape[0], b.shape[0]) < 2:
        return Interval(estimate, np.nan, np.nan, confidence)
    draws = np.empty(resamples)
    columns = np.arange(a.shape[1])
    for i in range(resamples):
        rows = generator.integers(a.shape[0], size=a.shape)
        others = generator.integers(b.shape[0], size=b.shape)
        draws[i] = wins[rows[:, None], others[None, :], columns].mean()
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high), confidence)


def _columns(values: Array) -> Array:
    return values[:, None] if values.ndim == 1 else values


def _checked(scores: npt.ArrayLike, *, dimensions: tuple[int, ...]) -> Array:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim not in dimensions or values.size == 0:
        expected = " or ".join(str(d) for d in dimensions)
        raise ValueError(f"scores have shape {values.shape}; expected {expected} non-empty axes, seeds first")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        raise ValueError(
            f"score of seed {bad[0][0]} at {tuple(int(i) for i in bad[0])} is {values[tuple(bad[0])]}; "
            "give a diverged run a finite score, so that every run counts"
        )
    return values
