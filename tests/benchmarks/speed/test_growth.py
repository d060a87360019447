"""The benchmark of growth: ratios are taken within a round, and what grows faster than linearly is shown as missed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.page import page
from benchmarks.speed import growth, growth_point

MACHINE = {"processor": "p", "cores": 2, "torch_threads": 2, "versions": {}, "time": "2026-01-01T00:00:00Z"}


def test_growth_is_compared_round_by_round(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rounds = iter(range(1, 100))
    # Every round the machine is slower; seeds alone grow faster than linearly.
    factors = {"base": 1.0, "seeds": 5.0}
    speed = {"round": 0.0}

    def measured(what: str, axis: str) -> dict[str, float]:
        if (what, axis) == ("training", "base"):
            speed["round"] = float(next(rounds))
        return {"seconds": speed["round"] * factors.get(axis, 3.0), "bytes": 100.0 * factors.get(axis, 3.0)}

    monkeypatch.setattr(growth, "_measured", measured)
    payload = growth.run(repeats=3)
    found = {(row["what"], row["axis"]): row["seconds_growth"] for row in payload["rows"]}
    assert found.pop(("training", "seeds")) == 5.0
    assert set(found.values()) == {3.0}
    (tmp_path / "growth.json").write_text(json.dumps({"machine": MACHINE, **payload}))
    lines = [line for line in page(tmp_path).splitlines() if line.startswith("| time of a training")]
    assert [line.split("|")[-2].strip() for line in lines] == ["reached", "reached", "**missed**"]


def test_the_points_do_the_work_that_is_timed() -> None:
    assert growth_point.backtest(sessions=50, assets=3, strategies=2) > 0
