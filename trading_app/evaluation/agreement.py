"""Agreement of a run's seeds: correlation of their active weights, and what an ensemble does where there is none.

Seeds that learned from the same prices and still act independently follow noise. Their mean then trades, but knows
no more than its base portfolio.

Axes: S seeds, P pairs of seeds, T time, N assets, M moments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from trading_app.evaluation.bootstrap import SHORTEST, block_length, percentile_interval, resample

Floats = npt.NDArray[np.float64]

# Mean squares of active weights below this are rounding.
_NOTHING = 1e-24


@dataclass(frozen=True)
class Agreement:
    """Agreement of a run's seeds, as its manifest records it.

    Attributes
    ----------
    correlation
        Mean over pairs of seeds of the correlation of their active weights; None with one seed, or where no seed has
        active weights.
    low, high, level
        Bootstrap interval over blocks of dates, and its coverage; None with fewer than 20 dates.
    seeds, sessions
        Numbers of seeds and of dates measured.
    start, end
        First and last date.
    needed
        Smallest correlation at which the ensemble departs from its base; 0 for any.
    base
        Base portfolio of a tilt; None for other actions.
    """

    correlation: float | None
    low: float | None
    high: float | None
    level: float
    seeds: int
    sessions: int
    start: str | None = None
    end: str | None = None
    needed: float = 0.0
    base: str | None = None

    @property
    def holds_base(self) -> bool:
        """Whether the ensemble holds its base since the seeds do not agree."""
        return (
            self.base is not None
            and self.correlation is not None
            and self.needed > 0
            and self.correlation < self.needed
        )

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Agreement:
        """Return the agreement in a manifest; members of later versions are ignored."""
        return cls(**{f.name: record[f.name] for f in fields(cls) if f.name in record})


def seed_agreement(active: Floats, *, level: float = 0.95, reps: int = 1000, seed: int = 0) -> Agreement:
    """Return the mean pairwise correlation over dates and assets of seeds' active weights, with an interval.

    Parameters
    ----------
    active
        Active weights [S, T, N]; NaN where a seed has none, for example on days without an order. A pair is compared
        where both have some. Of two seeds of which one never departs from the base, the correlation is 0; a pair in
        which neither does is left out.
    level, reps, seed
        Coverage of the interval, number and seed of the resamples.

    Raises
    ------
    DataError
        If the weights are not [S, T, N].
    """
    if active.ndim != 3:
        raise DataError(f"active weights have shape {active.shape}; give [seeds, sessions, assets]")
    moments = _daily_moments(active)
    moments = moments[(moments[:, :, 0] > 0).any(axis=1)]
    measured = level, len(active), len(moments)
    correlation = float(_mean_correlation(moments.sum(axis=0)))
    if not math.isfinite(correlation):
        return Agreement(None, None, None, *measured)
    low = high = None
    if len(moments) >= SHORTEST:
        shape, flat = moments.shape[1:], moments.reshape(len(moments), -1)
        draws = resample(
            lambda rows: _mean_correlation(rows.sum(axis=0).reshape(shape)),
            flat,
            block=block_length(moments[:, :, 5].sum(axis=1)),
            reps=reps,
            seed=seed,
        )
        bounds = percentile_interval(draws[np.isfinite(draws)], level)
        low, high = (float(bound) for bound in bounds)
    return Agreement(correlation, low, high, *measured)


def _daily_moments(active: Floats) -> Floats:
    """Return count, Σx, Σy, Σx², Σy² and Σxy over the assets of each day and pair of seeds [T, P, M = 6]."""
    pairs = list(combinations(range(len(active)), 2))
    result = np.empty((active.shape[1], len(pairs), 6))
    for place, (i, j) in enumerate(pairs):
        both = np.isfinite(active[i]) & np.isfinite(active[j])
        x, y = np.where(both, active[i], 0.0), np.where(both, active[j], 0.0)
        result[:, place] = np.stack([v.sum(axis=-1) for v in (both, x, y, x * x, y * y, x * y)], axis=-1)
    return result


def _mean_correlation(moments: Floats) -> Floats:
    """Return the mean over pairs of the correlation with these moments [P, M]; NaN where no pair has one."""
    count, x, y, xx, yy, xy = moments.T
    known = np.maximum(count, 1.0)
    first, second = xx / known - (x / known) ** 2, yy / known - (y / known) ** 2
    moving = (first > _NOTHING) & (second > _NOTHING)
    scale = np.sqrt(np.where(moving, first * second, 1.0))
    each = np.where(moving, np.clip((xy / known - x * y / known**2) / scale, -1.0, 1.0), 0.0)
    counted = (first > _NOTHING) | (second > _NOTHING)
    return np.asarray(each[counted].mean() if counted.any() else np.nan)
