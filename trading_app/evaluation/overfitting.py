"""Probability of backtest overfitting by combinatorially symmetric cross-validation (CSCV).

Bailey, Borwein, López de Prado & Zhu (2017). The dates are cut into blocks; each half of the blocks once chooses the
best configuration, and the other half shows where that one ranks.

Axes: T time, K configurations, B blocks, C combinations.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from data.errors import DataError

Array = npt.NDArray[np.float64]

#: Blocks by default, as in the paper.
BLOCKS = 16
#: Fewest sessions in a block.
SHORTEST = 4
_NOTHING = 1e-24


@dataclass(frozen=True)
class Overfitting:
    """Results of the choice of a best configuration on halves of the dates.

    Attributes
    ----------
    probability
        Share of the combinations in which the configuration that is best on one half is below the median on the
        other; at the median counts half. About 0.5 where all are equally good, 0 where one is truly best.
    chosen, achieved
        Mean Sharpe ratio of the chosen configuration on the half that chose it and on the other half, annualised.
    loss
        Share of the combinations in which the chosen configuration loses on the other half.
    configurations, blocks, combinations, sessions
        Sizes of the test. The combinations share dates, so that they are no independent samples; no interval is given.
    """

    probability: float
    chosen: float
    achieved: float
    loss: float
    configurations: int
    blocks: int
    combinations: int
    sessions: int


def overfitting(returns: npt.ArrayLike, *, blocks: int | None = None, periods: int = 252) -> Overfitting:
    """Return the probability of backtest overfitting of a choice among configurations by their Sharpe ratio.

    Parameters
    ----------
    returns
        Net returns of each configuration that was tried, on the same dates [T, K].
    blocks
        Number of blocks of dates, even, from 2 to 20; by default 16, fewer where there are few sessions.
    periods
        Sessions a year.

    Raises
    ------
    DataError
        For fewer than 2 configurations or 4 sessions a block, values that are not finite, or a wrong number of blocks.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise DataError(
            f"returns have shape {values.shape}; give [sessions, configurations], at least 2 of them"
        )
    if blocks is None:
        blocks = max(2 * min(len(values) // (2 * SHORTEST), BLOCKS // 2), 2)
    if blocks % 2 or not 2 <= blocks <= 20:
        raise DataError(f"{blocks} blocks: give an even number from 2 to 20")
    if len(values) < SHORTEST * blocks:
        raise DataError(
            f"{len(values)} sessions are too few for {blocks} blocks; give at least {SHORTEST * blocks}"
        )
    if not np.isfinite(values).all():
        raise DataError("a return is missing or infinite; fill or drop it before measuring")
    halves = _halves(blocks)
    parts = np.array_split(values, blocks)
    sums = np.stack([np.stack([part.sum(axis=0), (part * part).sum(axis=0)]) for part in parts])
    lengths = np.array([len(part) for part in parts], dtype=np.float64)
    inside, outside = (_sharpes(half, sums, lengths) for half in (halves, 1.0 - halves))
    best = inside.argmax(axis=1)[:, None]
    achieved = np.take_along_axis(outside, best, axis=1)
    below, equal = (outside < achieved).sum(axis=1), (outside == achieved).sum(axis=1)
    # Rank from 1 to K; equal ones share the mean of their ranks.
    rank = below + (equal + 1) / 2
    middle = (values.shape[1] + 1) / 2
    year = np.sqrt(periods)
    return Overfitting(
        probability=float(((rank < middle) + 0.5 * (rank == middle)).mean()),
        chosen=float(year * np.take_along_axis(inside, best, axis=1).mean()),
        achieved=float(year * achieved.mean()),
        loss=float((achieved < 0).mean()),
        configurations=values.shape[1],
        blocks=blocks,
        combinations=len(halves),
        sessions=len(values),
    )


def _halves(blocks: int) -> Array:
    """Return every choice of half of the blocks as rows of 0 and 1 [C, B]."""
    chosen = np.array(list(combinations(range(blocks), blocks // 2)))
    halves = np.zeros((len(chosen), blocks))
    np.put_along_axis(halves, chosen, 1.0, axis=1)
    return halves


def _sharpes(halves: Array, sums: Array, lengths: Array) -> Array:
    """Return Sharpe ratios per session on halves of the blocks [C, K], 0 for a configuration without variation.

    `sums` are the sums of returns and of their squares in each block [B, 2, K].
    """
    count = (halves @ lengths)[:, None]
    mean, squares = (halves @ sums[:, k] / count for k in range(2))
    variance = (squares - mean**2) * count / (count - 1)
    moving = variance > _NOTHING
    return np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
