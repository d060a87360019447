from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.learning import hard_planted
from benchmarks.learning.hard_planted import Cell, cells, compare, run
from benchmarks.learning.planted.figures import load


def test_cells_begin_with_those_of_the_marks_and_are_told_apart_by_name() -> None:
    found = list(cells())
    assert {cell.market for cell in found[:8]} == {"intact", "both"}
    assert (found[0].noise, found[0].periods) == (3.0, 2500)
    assert len({cell.name for cell in found}) == len(found)
    local = next(cell for cell in found if cell.market == "local").config
    assert (local.exchange_share, local.mirror_threshold) == (0.25, 1.0)


def test_a_cell_is_trained_stored_once_and_compared_with_the_exact_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(hard_planted.COMMON, "batch_size", 16)
    for agent in hard_planted.AGENTS:
        monkeypatch.setitem(hard_planted.AGENTS, agent, {**hard_planted.AGENTS[agent], "width": 8})
    chosen = [replace(Cell(agent, "local", 3.0, 60, assets=3), updates=250) for agent in ("exact", "relaxed")]
    run(tmp_path, chosen, 2)
    stored = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    assert len(stored) == 2
    run(tmp_path, chosen, 2)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")} == stored
    rows = {row["agent"]: row for row in compare(load(tmp_path))}
    assert "above_exact" not in rows["exact"]
    record = json.loads((tmp_path / f"{chosen[1].name}.json").read_text())
    other = json.loads((tmp_path / f"{chosen[0].name}.json").read_text())
    assert record["plug_in"] == other["plug_in"]
    floor = hard_planted.FLOOR
    differences = [
        max(a, floor) - max(b, floor) for a, b in zip(record["share"], other["share"], strict=True)
    ]
    assert min(differences) - 1e-9 <= rows["relaxed"]["above_exact"].estimate <= max(differences) + 1e-9
