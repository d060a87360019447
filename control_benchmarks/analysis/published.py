"""Results that others published for the same tasks, as bars to hold ours against."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib.resources import files
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from control_benchmarks.analysis.claims import ORIGINAL, Array, Study, curve
from control_benchmarks.experiments.results import Results
from rl_core.statistics import bootstrap_interval

COMPARED = ("dense", "relaxed")
"""Our agents that are compared with published results."""
OWN, PLAIN, OTHER = "ours", "plain SAC", "other methods"
_PLAIN_SAC = ("pytorch_sac", "SimBa repo SAC", "TD-MPC2 repo SAC", "SimBaV2 repo SAC")
_NEAR = 0.02  # largest distance of an evaluation from the published number of frames, as a share of it


class Bar(NamedTuple):
    """One published mean return of an episode, from 0 to 1,000, on ``"state"`` or ``"pixels"``.

    Sources: "pytorch_sac" and "DrQ-v2" are the result files of those repositories, "SimBa repo SAC" and "SAC+SimBa"
    those of SimBa's, "SimBaV2 repo SAC", "SimBaV2", "BRO" (with two and ten updates a step) and "MR.Q" those of
    SimBaV2's, "TD-MPC2 repo SAC" and "TD-MPC2" those of TD-MPC2's. ``low`` and ``high`` are the ends of the 95 %
    bootstrap interval over seeds where each seed was published, None elsewhere.
    """

    task: str
    source: str
    observation: str
    seeds: str
    frames: int
    mean_return: float
    low: float | None
    high: float | None

    @property
    def group(self) -> str:
        """Plain SAC (from pixels, DrQ-v2), or another method."""
        return PLAIN if self.source in _PLAIN_SAC or self.source == "DrQ-v2" else OTHER


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
            float(row["low"]) if row["low"] else None,
            float(row["high"]) if row["high"] else None,
        )
        for row in csv.DictReader(text.splitlines())
    )


def ours(agent: str) -> str:
    """Return the name of one of our agents among published sources."""
    return f"ours ({agent})"


def published_points(study: Study) -> list[dict[str, Any]]:
    """Return rows of our agents' mean returns and of published ones at the same frames, those of one task together.

    ``source`` is `ours` of an agent or who published it, ``group`` one of `OWN`, `PLAIN` and `OTHER`; ``low`` and
    ``high`` are the ends of a 95 % interval over seeds, None where none was published.
    """
    rows: list[dict[str, Any]] = []
    for task, variant in study.cells:
        runs = {agent: study.run((task, variant), agent) for agent in COMPARED}
        there = [run for run in runs.values() if run is not None]
        if variant != ORIGINAL or not there:
            continue
        observed = "pixels" if there[0].header["settings"]["pixels"] else "state"
        bars = [bar for bar in published_bars() if bar.task == task and bar.observation == observed]
        for frames in sorted({bar.frames for bar in bars}):
            own = [
                row for agent, run in runs.items() if run is not None for row in _our_row(agent, run, frames)
            ]
            here = [
                {
                    "source": bar.source,
                    "return": bar.mean_return,
                    "low": bar.low,
                    "high": bar.high,
                    "group": bar.group,
                }
                for bar in bars
                if bar.frames == frames
            ]
            rows += [{"task": task, "frames": frames, **row} for row in (*own, *here) if own]
    return rows


def _our_row(agent: str, run: Results, frames: int) -> Iterator[dict[str, Any]]:
    """Yield the row of a run at a number of frames, if it was evaluated there."""
    found = curve(run)
    near = np.flatnonzero(np.abs(found.frames - frames) <= _NEAR * frames)
    if len(near):
        # Means, since those are what was published.
        at = bootstrap_interval(
            found.values[:, near[-1]], generator=np.random.default_rng(0), statistic=_mean
        )
        yield {"source": ours(agent), "return": at.estimate, "low": at.low, "high": at.high, "group": OWN}


def _mean(values: Array) -> Array:
    return np.asarray(values.mean(axis=0))


def published_comparison(study: Study) -> list[dict[str, str]]:
    """Return a row for each of our agents at each published number of frames, with its place among both groups."""
    rows = []
    for (task, frames), group in groupby(
        published_points(study), key=lambda row: (row["task"], row["frames"])
    ):
        here = list(group)
        others = {name: [row for row in here if row["group"] == name] for name in (PLAIN, OTHER)}
        for own in (row for row in here if row["group"] == OWN):
            found = {"task": task, "frames": f"{frames:,}", "agent": own["source"], "return": _text(own)}
            for name, theirs in others.items():
                found[name] = ", ".join(f"{row['source']} {_text(row)}" for row in theirs) or "none published"
                found[f"compared with {name}"] = _place(own, theirs)
            rows.append(found)
    return rows


def _text(row: dict[str, Any]) -> str:
    interval = "" if row["low"] is None else f" [{row['low']:.0f}, {row['high']:.0f}]"
    return f"{row['return']:.0f}{interval}"


def _place(own: dict[str, Any], theirs: list[dict[str, Any]]) -> str:
    """Return the place of our interval: below all of theirs, above all of them, or within."""
    if not theirs:
        return "none published"
    ends = [
        (row["return"], row["return"]) if row["low"] is None else (row["low"], row["high"]) for row in theirs
    ]
    if own["high"] < min(low for low, _ in ends):
        return "below"
    return "above" if own["low"] > max(high for _, high in ends) else "within"
