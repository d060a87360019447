"""Distance of seeds from their base portfolio, and the parts of it that all seeds share and that each has alone.

Axes: S seeds, T time, N assets.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from data.errors import DataError
from trading_app.evaluation.bootstrap import SHORTEST, percentile_interval, resample

Floats = npt.NDArray[np.float64]

_NOTHING = 1e-24


def departure(active: Floats, *, level: float = 0.95, reps: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Return active shares, and how much of the squared active weights the seeds have in common.

    Each active weight is a part that all seeds share (what they learned alike: signal) plus a part of the seed's own
    (noise), as in a one-way analysis of variance: the own part has the variance between seeds, and the mean square of
    the seeds' mean, less this variance / S, is that of the shared part.

    Parameters
    ----------
    active
        Active weights of each seed on each day [S, T, N]; NaN counts as none.
    level, reps, seed
        Coverage of the intervals, number and seed of the resamples of blocks of dates.

    Returns
    -------
    dict
        ``active_share``: mean over days of ½ Σ |active weight| of the seeds' mean; ``seed_active_shares``: that of each
        seed; ``shared``: the shared part's fraction of the mean square of one seed's active weights, with ``value``,
        ``low`` and ``high``; below 0 where the seeds contradict one another. Undefined (NaN) with one seed, or without
        active weights; the bounds also with fewer than 20 days. They cover the draw of the dates, not that of seeds.

    Raises
    ------
    DataError
        If the weights are not [S, T, N].
    """
    if active.ndim != 3:
        raise DataError(f"active weights have shape {active.shape}; give [seeds, sessions, assets]")
    known = np.nan_to_num(active)
    count, days = known.shape[:2]
    mean = known.mean(axis=0)
    own = known.var(axis=0, ddof=1).sum(axis=-1) if count > 1 else np.full(days, np.nan)
    squares = np.column_stack([(mean**2).sum(axis=-1), own])

    def fraction(sample: Floats) -> Floats:
        total, alone = sample.mean(axis=0)
        shared = total - alone / count
        return np.asarray((shared / (shared + alone)) if shared + alone > _NOTHING else np.nan)

    low = high = np.asarray(np.nan)
    value = fraction(squares)
    if days >= SHORTEST and np.isfinite(value):
        low, high = percentile_interval(resample(fraction, squares, reps=reps, seed=seed), level)
    return {
        "active_share": _active_share(mean),
        "seed_active_shares": [_active_share(weights) for weights in known],
        "shared": {"value": float(value), "low": float(low), "high": float(high), "unit": "fraction"},
    }


def _active_share(weights: Floats) -> float:
    return float(0.5 * np.abs(weights).sum(axis=-1).mean())
