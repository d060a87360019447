"""Allocations: targets with their spread beside what was and is held, the largest on top."""

from __future__ import annotations

import numpy as np
import pandas as pd

from trading_app.report.figures import allocation as f

ALLOCATION = pd.DataFrame(
    {"weight": [0.1, -0.4, 0.3], "spread": [0.01, 0.02, 0.0], "before": [0.2, -0.4, 0.1], "held": np.nan},
    ["A", "B", "C"],
)


def test_bars_are_targets_by_size_with_spread() -> None:
    figure = f.allocation_bars(ALLOCATION, as_of="2024-03-28")
    bars = figure.data[0]
    assert list(bars.y) == ["B", "C", "A"]
    np.testing.assert_allclose(bars.x, [-40, 30, 10], rtol=1e-6)
    np.testing.assert_allclose(bars.error_x.array, [2, 0, 1], rtol=1e-6)
    assert [trace.name for trace in figure.data] == ["Target", "Last target"]
    assert "2024-03-28: 80" in figure.layout.title.text


def test_change_is_against_what_is_known() -> None:
    figure = f.change_bars(ALLOCATION)
    assert [trace.name for trace in figure.data] == ["Against the last target"]
    np.testing.assert_allclose(dict(zip(figure.data[0].y, figure.data[0].x, strict=True))["C"], 20, rtol=1e-6)
    assert "15.0" in figure.layout.title.text  # (0.1 + 0 + 0.2) / 2
    both = f.change_bars(ALLOCATION.assign(held=[0.1, 0.0, 0.0]))
    assert [trace.name for trace in both.data] == ["Against the last target", "Against holdings"]


def test_last_target_is_named_by_its_close() -> None:
    bars = f.allocation_bars(ALLOCATION, as_of="2024-03-28", before="2024-03-27")
    assert [trace.name for trace in bars.data] == ["Target", "Target of 2024-03-27"]
    change = f.change_bars(ALLOCATION, before="2024-03-27")
    assert change.layout.title.text.endswith("against the target of 2024-03-27")
    assert change.data[0].name == "Against the target of 2024-03-27"


def test_nothing_to_compare_with_is_said() -> None:
    alone = ALLOCATION[["weight", "spread"]]
    assert [trace.name for trace in f.allocation_bars(alone, as_of="2024-03-28").data] == ["Target"]
    figure = f.change_bars(alone)
    assert not figure.data
    assert "no earlier target" in figure.layout.title.text


def test_large_universe_shows_the_largest_and_says_so() -> None:
    many = pd.DataFrame({"weight": np.linspace(0, 0.02, 500), "spread": 0.0}, [f"S{k}" for k in range(500)])
    figure = f.allocation_bars(many, as_of="2024-03-28")
    assert len(figure.data[0].y) == 30
    assert figure.data[0].y[0] == "S499"
    assert "30 largest of 500" in figure.layout.title.subtitle.text
