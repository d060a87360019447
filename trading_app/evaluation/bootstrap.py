"""Stationary bootstrap of time series: random blocks preserve the dependence between neighbouring days.

Politis & Romano (1994) through ``arch``; the mean block length follows Politis & White (2004) with the
correction of Patton, Politis & White (2009).

Axes: R resamples, T time, K strategies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from data.errors import DataError

Array = npt.NDArray[np.float64]

#: Fewest periods for an interval: fewer carry no information about dependence.
SHORTEST = 20


def block_length(values: npt.ArrayLike) -> int:
    """Mean block length in periods for the stationary bootstrap of [T] or [T, K]: 1 to T / 3, for every column.

    The larger of the optimal lengths for the series and for its squares, since returns are nearly
    uncorrelated but their volatility is not, and ratios such as Sharpe's depend on both. DataError with fewer than 20
    periods.
    """
    from arch.bootstrap import optimal_block_length

    columns = _columns(values)
    centred = columns - columns.mean(axis=0)
    moving = centred.std(axis=0) > 0  # a constant column has no dependence and no optimum
    if not moving.any():
        return 1
    both = np.concatenate([centred[:, moving], centred[:, moving] ** 2], axis=1)
    lengths = np.asarray(optimal_block_length(both)["stationary"], dtype=np.float64)
    longest = float(np.max(lengths, initial=1.0, where=np.isfinite(lengths)))
    return int(np.clip(np.ceil(longest), 1, len(columns) // 3))


def resample(
    statistic: Callable[[Array], Array],
    values: npt.ArrayLike,
    *,
    block: int | None = None,
    reps: int = 1000,
    seed: int = 0,
) -> Array:
    """Return a statistic over R stationary-bootstrap resamples [R, …] of values [T] or [T, K], without NaN.

    Columns are resampled on the same dates. The statistic maps [T, K] (time contiguous in memory) to an array of fixed
    shape. The mean block length in periods is `block_length` by default. The same seed gives the same draws.
    """
    from arch.bootstrap import StationaryBootstrap

    columns = _columns(values)
    bootstrap = StationaryBootstrap(block or block_length(columns), columns, seed=np.random.default_rng(seed))
    # One contiguous row a column: statistics reduce over time, and gathering such rows is fastest.
    rows = np.ascontiguousarray(columns.T)
    return np.stack([statistic(rows[:, bootstrap.update_indices()].T) for _ in range(reps)])


def percentile_interval(draws: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Return the central interval of coverage `level` over the first axis; NaN where a draw is undefined."""
    if not 0 < level < 1:
        raise DataError(f"level {level} is not between 0 and 1")
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.asarray(low), np.asarray(high)


def _columns(values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise DataError(f"resampling needs [T] or [T, K] values, not shape {array.shape}")
    if len(array) < SHORTEST:
        raise DataError(f"{len(array)} periods are too few for a bootstrap; give at least {SHORTEST}")
    return array
