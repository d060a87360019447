"""Sizing: how far an ensemble of seeds leaves its base, and how fast, by what that earned on dates new to the seeds.

With cross-fitting, half of a run's seeds learn from the first half of the training dates and half from the second, so
that each half of the dates is new to half of the seeds. There, and on the validation dates, the ensemble trades with
several sizes and speeds; the best one is used if it earns more than the base by clear evidence, else the base is held.

An agent that may treat assets differently also has a size for each asset: the slope of the asset's returns on its
active weights, on dates new to the seeds, shrunk over the assets by empirical Bayes. So assets are treated alike as far
as the data do not show that they differ.

Axes: T sessions, N assets, P settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from trading_app.evaluation.agreement import Agreement
from trading_app.evaluation.hac import mean_estimate
from trading_app.evaluation.shrinkage import shrink

__all__ = ["SETTINGS", "Sizing", "best_sizing", "sizes_by_asset", "trainings_at_base"]

Floats = npt.NDArray[np.float64]

SIZES = (0.5, 1.0, 2.0, 4.0)
"""Factors of the seeds' active weights."""
SPEEDS = (0.25, 0.5, 1.0)
"""Shares of the way to them that are traded at a decision."""
BASE = (0.0, 1.0)
SETTINGS: tuple[tuple[float, float], ...] = (BASE, *((size, speed) for size in SIZES for speed in SPEEDS))
"""Sizes and speeds that are compared, the base first."""
NEEDED = 2.0
"""Standard errors by which a setting must earn more than the base."""
LARGEST = 3.0
"""Largest size of an asset, in multiples of their mean."""
_LEAST_RETURNS = 60


@dataclass(frozen=True)
class Sizing:
    """Size and speed of an ensemble, as a run's manifest records it.

    Attributes
    ----------
    size
        Factor of the seeds' active weights; 0 holds the base.
    speed
        Share of the way from the active weights held to those that is traded at a decision.
    gain, error
        Reward of a session above that of the base under the best size and speed but the base, and its HAC standard
        error, on the dates of the choice.
    sessions
        Number of these dates.
    by_asset
        Size of each asset relative to `size` [N]; None where all are alike.
    """

    size: float
    speed: float
    gain: float
    error: float
    sessions: int
    by_asset: tuple[float, ...] | None = None

    @property
    def holds_base(self) -> bool:
        """Whether the ensemble holds its base since nothing else earned clearly more."""
        return self.size == 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Sizing:
        """Return the sizing in a manifest; members of later versions are ignored."""
        known = {f.name: record[f.name] for f in fields(cls) if f.name in record}
        sizes = known.get("by_asset")
        return cls(**known | {"by_asset": None if sizes is None else tuple(sizes)})

    def on_assets(self, places: Sequence[int | None]) -> Sizing:
        """Return the sizing for assets at these places among those of now; None for a new one, of size 1."""
        if self.by_asset is None:
            return self
        sizes = tuple(1.0 if place is None else self.by_asset[place] for place in places)
        return replace(self, by_asset=sizes)


def best_sizing(rewards: Floats, settings: Sequence[tuple[float, float]] = SETTINGS) -> Sizing:
    """Return the size and speed with the highest mean reward [T, P], or the base (the first setting) without evidence.

    Evidence is a mean of at least `NEEDED` HAC standard errors above the base.
    """
    gains = rewards[:, 1:] - rewards[:, :1]
    best = int(gains.mean(axis=0).argmax())
    found = mean_estimate(gains[:, best], level=0.95, unit="reward of a session")
    size, speed = settings[1 + best] if found.value > NEEDED * found.error else settings[0]
    return Sizing(size, speed, found.value, found.error, len(rewards))


def sizes_by_asset(aims: Floats, returns: Floats) -> Floats:
    """Return a size for each asset, about 1 on average [N]: the shrunk slope of its returns on its active weights.

    Parameters
    ----------
    aims
        Active weights that seeds wanted, on dates new to them [T, N].
    returns
        Returns of the assets over the sessions in which these weights would have been held [T, N]; NaN where an asset
        was not available.
    """
    known = np.isfinite(returns) & np.isfinite(aims)
    aims, returns = np.where(known, aims, 0.0), np.where(known, returns, 0.0)
    spread = (aims**2).sum(axis=0)
    usable = (known.sum(axis=0) >= _LEAST_RETURNS) & (spread > 0)
    sizes = np.ones(aims.shape[1])
    if usable.sum() < 2:
        return sizes
    slopes = (aims * returns).sum(axis=0)[usable] / spread[usable]
    residual = returns[:, usable] - slopes * aims[:, usable]
    variances = (residual**2).sum(axis=0) / known.sum(axis=0)[usable] / spread[usable]
    shrunk = shrink(slopes, variances)
    if shrunk.mean() > 0:
        sizes[usable] = np.clip(shrunk / shrunk.mean(), 0.0, LARGEST)
    return sizes


def trainings_at_base(document: Mapping[str, Any]) -> list[bool]:
    """Return for each training of a run whether its ensemble holds the base.

    `document` is a manifest or the evidence of a backtest, with ``agreement`` and ``sizing`` as lists of records.
    """
    agreements = [Agreement.from_record(record).holds_base for record in document.get("agreement") or ()]
    sizings = [Sizing.from_record(record).holds_base for record in document.get("sizing") or ()]
    return [any(held) for held in zip_longest(agreements, sizings, fillvalue=False)]
