"""Results that others published for the same tasks, as bars to hold ours against."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Bar:
    """One published mean return.

    Attributes
    ----------
    task
        Name of the task.
    source
        Who published it: "pytorch_sac" and "DrQ-v2" are the result files of those repositories, "SimBa repo
        SAC" and "SAC+SimBa" those of SimBa's, "TD-MPC2 repo SAC" and "TD-MPC2" those of TD-MPC2's.
    observation
        ``"state"`` or ``"pixels"``.
    seeds
        How many seeds the mean is over, as published.
    frames
        Frames of training.
    mean_return
        Mean return of an episode, from 0 to 1,000.
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
        Bar(
            row["task"],
            row["source"],
            row["observation"],
            row["seeds"],
            int(row["frames"]),
            float(row["mean_return"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def published_range(
    task: str, frames: int, *, observation: str = "state", sac_only: bool = True
) -> tuple[float, float] | None:
    """Return the lowest and highest published mean return of a task at some frames; None where there is none.

    Parameters
    ----------
    task, frames, observation
        What to look up.
    sac_only
        Whether to leave out methods that are no plain SAC.
    """
    plain = ("pytorch_sac", "SimBa repo SAC", "TD-MPC2 repo SAC")
    returns = [
        bar.mean_return
        for bar in published_bars()
        if (bar.task, bar.frames, bar.observation) == (task, frames, observation)
        and (not sac_only or bar.source in plain)
    ]
    return (min(returns), max(returns)) if returns else None
