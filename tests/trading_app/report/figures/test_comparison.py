"""Runs beside each other: each with its own colour, baselines in grey, values as given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trading_app.report.figures import comparison as f
from trading_app.report.figures.comparison import run_colours
from trading_app.report.theme import DARK, LIGHT

DATES = pd.bdate_range("2020-01-01", periods=300, name="date")
RUNS = pd.DataFrame({"one": np.linspace(1, 2, 300), "two": np.linspace(1, 1.5, 300)}, DATES)
BASELINES = pd.DataFrame({"equal-weight": np.linspace(1, 1.2, 300)}, DATES)
ENTRIES = {
    "one": {
        "metrics": {"sharpe": 0.5, "cagr": 0.1},
        "intervals": {"sharpe": [0.1, 0.9], "cagr": [None, None]},
    },
    "equal-weight": {"metrics": {"sharpe": None, "cagr": 0.2}, "intervals": {}},
}


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_curves_are_the_runs_and_the_baselines(theme: f.Theme) -> None:
    figure = f.run_curves(RUNS, BASELINES, theme=theme)
    lines = {trace.name: trace for trace in figure.data}
    assert set(lines) == {"one", "two", "Equal weight"}
    assert lines["Equal weight"].line.color == theme.reference
    assert lines["one"].line.color != lines["two"].line.color
    np.testing.assert_allclose(lines["one"].y[-1], 2)
    assert figure.layout.yaxis.type == "log"
    assert f.run_curves(RUNS, BASELINES, log=False).layout.yaxis.type == "linear"


def test_colours_repeat_only_after_all_are_used() -> None:
    colours = run_colours([f"run-{k}" for k in range(9)], LIGHT)
    assert len(set(colours.values())) == 9


def test_measure_has_a_row_each_and_leaves_out_what_is_undefined() -> None:
    figure = f.run_measures(ENTRIES, "sharpe", level=0.95, runs=["one"])
    assert [list(trace.x) for trace in figure.data[:2]] == [[np.float32(0.1), np.float32(0.9)], [0.5]]
    assert np.isnan(figure.data[3].x[0])
    assert f.run_measures(ENTRIES, "cagr", level=0.95, runs=["one"]).data[1].x[0] == np.float32(10)


def test_differences_count_who_is_ahead() -> None:
    entry = {"sharpe_difference": 0.2, "sharpe_low": 0.1, "sharpe_high": 0.3, "verdict": "better"}
    other = {**entry, "verdict": "indistinguishable", "sharpe_low": -0.1}
    figure = f.run_differences({"one": entry, "two": other}, "equal-weight")
    assert "1 of 2 higher, 0 lower" in figure.layout.title.text
    assert figure.data[1].marker.color == LIGHT.gain
    assert figure.data[3].marker.color == LIGHT.reference
