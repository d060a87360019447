"""Marks of the planted benchmark and the stored results, as rows of the page of measurements."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from benchmarks.learning.planted.figures import Record, band, first_reaching, main_cell, under_noise
from benchmarks.learning.planted.run import NOISE_LEVELS
from trading_app.synthetic.planted_problem import PlantedConfig
from trading_app.synthetic.planted_score import PlantedScore

Row = tuple[str, str, str, bool | None]
"""Measure, result, mark, and True if the mark is reached."""

SYMMETRIC, BROKEN = (0.0, 0.0), (1.0, 1.0)
FROM = 1000
"""Updates from which on the relaxed agent is to lie above the others where symmetries are broken."""


def verdicts(records: dict[str, Record]) -> Iterator[Row]:
    """Rows of the marks whose cells are stored; cells by name, from `benchmarks.learning.planted.figures.load`."""
    for agent in ("relaxed", "exact"):
        yield from _within(records, agent, SYMMETRIC, 0.97, 1500)
    yield from _times_as_many(records, SYMMETRIC, 0.97, 5)
    yield from _within(records, "relaxed", BROKEN, 0.95, 2500)
    for other in ("exact", "dense", "rpp", "augmented"):
        yield from _above(records, other, to_reach=other in ("exact", "dense"))
    yield from _times_as_many(records, BROKEN, 0.95, 4)
    for market in (SYMMETRIC, BROKEN):
        yield from _noise(records, market)


def optimum_under_noise(exchange: float, mirror: float) -> dict[str, float]:
    """Return the share that the optimal policy itself loses at each level of noise on observations."""
    score = PlantedScore(PlantedConfig().broken(exchange=exchange, mirror=mirror), episodes=128, periods=60)

    def best(x: Tensor) -> Tensor:
        return score.best(x) / score.config.max_position

    return {str(s): 1 - float(score.share(best, observation_noise=s)[0]) for s in NOISE_LEVELS if s > 0}


def _name(market: tuple[float, float]) -> str:
    return "both symmetries intact" if market == SYMMETRIC else "both symmetries broken"


def _within(
    records: dict[str, Record], agent: str, market: tuple[float, float], share: float, mark: int
) -> Iterator[Row]:
    """Updates to a share."""
    record = main_cell(records, agent, market)
    if record is None:
        return
    first = first_reaching(record, share)
    shown = f"{first:,}" if first else f"not within {record['updates'][-1]:,}"
    reached = first is not None and first <= mark
    yield f"{_name(market)}: {agent}, updates to {share:.0%}", shown, f"at most {mark:,}", reached


def _times_as_many(
    records: dict[str, Record], market: tuple[float, float], share: float, times: int
) -> Iterator[Row]:
    """The dense agent's updates to a share over the relaxed one's."""
    relaxed, dense = (main_cell(records, agent, market) for agent in ("relaxed", "dense"))
    first = None if relaxed is None else first_reaching(relaxed, share)
    if first is None or dense is None:
        return
    other, length = first_reaching(dense, share), dense["updates"][-1]
    ratio = (other or length) / first
    shown = f"{ratio:.1f} ×" if other else f"more than {ratio:.1f} × (not within {length:,})"
    # A run that ended before has shown no more than its length.
    reached = ratio >= times if other or ratio >= times else None
    what = f"{_name(market)}: dense over relaxed, updates to {share:.0%}"
    yield what, shown, f"at least {times} ×", reached


def _above(records: dict[str, Record], other: str, to_reach: bool) -> Iterator[Row]:
    """The least distance between the intervals of the relaxed agent and another, at all common budgets."""
    relaxed, record = (main_cell(records, agent, BROKEN) for agent in ("relaxed", other))
    if relaxed is None or record is None:
        return
    ours, theirs = band(relaxed), band(record)
    places = {count: i for i, count in enumerate(record["updates"])}
    common = [(i, places[c]) for i, c in enumerate(relaxed["updates"]) if c >= FROM and c in places]
    if not common:
        return
    gaps = [float(ours.low[i] - theirs.high[j]) for i, j in common]
    least = int(np.argmin(gaps))
    at = relaxed["updates"][common[least][0]]
    what = f"{_name(BROKEN)}: relaxed's interval above {other}'s, least distance from {FROM:,} on"
    goal = "above 0 throughout" if to_reach else ""
    yield what, f"{gaps[least]:+.3f} (at {at:,})", goal, gaps[least] > 0 if to_reach else None


def _noise(records: dict[str, Record], market: tuple[float, float]) -> Iterator[Row]:
    """Which agent loses least of its share to noise on observations, at each level."""
    losses: dict[str, dict[str, float]] = {}
    for agent in ("relaxed", "exact", "dense", "rpp", "augmented"):
        record = main_cell(records, agent, market)
        if record is not None:
            shares = under_noise(record)
            clean = shares["0.0"].estimate
            losses[agent] = {k: clean - v.estimate for k, v in shares.items() if float(k) > 0}
    if len(losses) < 2 or "relaxed" not in losses:
        return
    best = optimum_under_noise(*market)
    for level in losses["relaxed"]:
        ranked = sorted(losses, key=lambda agent: losses[agent][level])
        shown = ", ".join(f"{agent} {losses[agent][level]:.3f}" for agent in ranked)
        shown += f"; the optimum itself {best[level]:.3f}"
        yield f"{_name(market)}: share lost to noise {level}", shown, "relaxed least", ranked[0] == "relaxed"
