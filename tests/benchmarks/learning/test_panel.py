"""Planted panels: the table of agents beside the plug-in."""

from __future__ import annotations

from typing import Any

from benchmarks.learning.panel import compare, panel_verdicts


def record(world: int, agent: str, sharpe: float) -> dict[str, Any]:
    return {
        "world": world,
        "agent": agent,
        "assets": 20,
        "heterogeneity": 1.0,
        "sharpe": {"agent": sharpe, "equal-weight": 0.1 * world, "plug-in": 1.0 + 0.1 * world},
        "turnover": {"agent": 5.0},
    }


def test_differences_are_taken_world_by_world() -> None:
    records = [record(world, "exact", 0.5 + 0.1 * world) for world in range(3)]
    records += [record(world, "relaxed", 0.9 + 0.1 * world) for world in range(3)]
    rows = {row["agent"]: row for row in compare(records)}
    assert "above exact" not in rows["exact"]
    relaxed = rows["relaxed"]
    assert [round(relaxed["above exact"][key], 6) for key in ("low", "mean", "high")] == [0.4, 0.4, 0.4]
    assert round(relaxed["above equal-weight"]["mean"], 6) == 0.9
    assert round(relaxed["plug-in above equal-weight"], 6) == 1.0
    assert relaxed["sharpe"]["low"] < relaxed["sharpe"]["mean"] < relaxed["sharpe"]["high"]
    verdicts = {what.split(": ")[1]: reached for what, _, _, reached in panel_verdicts([relaxed])}
    assert verdicts["net Sharpe above exact"]
    assert verdicts["net Sharpe"]  # 1.0 against 0.9 × 1.1
