"""Which results there are for a dashboard to show: the entry point ``control`` of the group ``equitrade.dashboard``.

Drawing a study takes seconds and reading it too, so `equitrade control figures` writes pictures and data once
(`control_benchmarks.analysis.export`), and this only says where they are and whether they are of today's results.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from control_benchmarks.analysis.export import FORMAT, INDEX, stamp
from control_benchmarks.experiments.folders import results_root


def offer(home: Path) -> dict[str, Any]:
    """Return the folders of results, the package's own and those under ``control/`` of the home, for dashboards.

    ``advice`` is for a place without results. ``results`` has for each folder its ``name``, the ``folder`` of its
    figures, ``state`` (``"current"``, ``"outdated"`` or ``"undrawn"``) and ``advice``.
    """
    return {
        "title": "Control experiments",
        "advice": "`equitrade control run --suite smoke` runs the smallest suite in minutes, `--suite states` the "
        "whole one; `equitrade control figures --results FOLDER` draws what a suite found.",
        "results": [_describe(folder) for folder in _folders(home)],
    }


def _folders(home: Path) -> list[Path]:
    """Folders with results, those of the home first; in each place the one with most runs first."""
    places = [
        place for root in (home / "control", results_root()) for place in _by_runs(root, *root.glob("*/"))
    ]
    return [place for place in places if _runs(place)]


def _by_runs(*places: Path) -> list[Path]:
    return sorted(places, key=lambda place: (-_runs(place), place))


def _runs(place: Path) -> int:
    return len(list(place.glob("*.jsonl")))


def _describe(results: Path) -> dict[str, Any]:
    folder = results / "figures"
    here = os.path.relpath(results)
    command = f"`equitrade control figures --results {results if here.startswith('..') else here}`"
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        drawn, format_ = index["stamp"], index["format"]
    except (OSError, ValueError, KeyError, TypeError):
        drawn = format_ = None
    if format_ != FORMAT:
        state, advice = (
            "undrawn",
            f"There are results in {results.name}, but no figures yet: {command} draws them.",
        )
    elif drawn != stamp(results):
        state, advice = (
            "outdated",
            f"The results have grown since these figures were drawn: {command} draws them anew.",
        )
    else:
        state, advice = "current", ""
    return {"name": results.name, "folder": folder, "state": state, "advice": advice}
