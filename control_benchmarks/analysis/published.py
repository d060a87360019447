"""Results that others published for the same tasks, as bars to hold ours against."""

from __future__ import annotations

import csv
from importlib.resources import files
from typing import NamedTuple


class Bar(NamedTuple):
    """One published mean return of an episode, from 0 to 1,000, on ``"state"`` or ``"pixels"``.

    Sources: "pytorch_sac" and "DrQ-v2" are the result files of those repositories, "SimBa repo SAC" and "SAC+SimBa"
    those of SimBa's, "TD-MPC2 repo SAC" and "TD-MPC2" those of TD-MPC2's.
    """

    task: str
    source: str
    observation: str
    seeds: str
    frames: int
    mean_return: float


def published_bars() -> tuple[Bar, ...]:
    """Return all published results that come with this package."""
    text = files("control_benchmarks").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Bar(task, source, observation, seeds, int(frames), float(mean))
        for task, source, observation, seeds, frames, mean in list(csv.reader(text.splitlines()))[1:]
    )
