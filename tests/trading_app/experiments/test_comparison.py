"""Runs beside each other: common dates, differences, and what does not compare."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.experiments.comparison import compare_runs
from trading_app.files import RunError
from trading_app.market.costs import CostModel
from trading_app.runs.backtests import save_backtest
from trading_app.runs.run import Run, create_run

DAYS = pd.bdate_range("2020-01-01", periods=300)


@pytest.fixture(scope="module")
def prices() -> Prices:
    steps = np.random.default_rng(0).normal(0.0, 0.01, size=(len(DAYS), 2)) + np.array([0.004, 0.0])
    return Prices.from_frames("two", close=pd.DataFrame(100 * np.exp(steps.cumsum(0)), DAYS, ["UP", "FLAT"]))


def made(
    prices: Prices, home: Path, name: str, weights: tuple[float, float], start: int = 0, costs: float = 1.0
) -> Run:
    run = create_run({"seeds": [0], "data": {}, "split": {}}, "", home=home, name=name)
    frames = {
        key: pd.DataFrame([row] * (len(DAYS) - start), DAYS[start:], list(prices.symbols))
        for key, row in (("agent", weights), ("seed-0", weights), ("equal-weight", (0.5, 0.5)))
    }
    model = CostModel(commission_bps=costs)
    save_backtest(run, backtest(prices, frames, costs=model, start=DAYS[start]), data_hash="a", reps=50)
    return run


def test_the_better_run_is_found_on_the_dates_that_both_have(prices: Prices, tmp_path: Path) -> None:
    flat = made(prices, tmp_path, "flat", (0.0, 1.0))
    up = made(prices, tmp_path, "up", (1.0, 0.0), start=40)
    document = compare_runs([flat, up], reps=200)
    assert list(document["strategies"]) == ["flat", "up", "equal-weight"]
    assert document["strategies"]["equal-weight"]["kind"] == "baseline"
    assert document["start"] == f"{DAYS[41]:%Y-%m-%d}"
    assert document["sessions"] == len(DAYS) - 41
    against = {row["baseline"]: row for row in document["comparisons"]}
    assert against["up"]["verdict"] == "worse"
    assert document["spa"]["consistent"] < 0.05
    assert document["notes"] == []
    low, high = document["strategies"]["up"]["intervals"]["sharpe"]
    assert low < document["strategies"]["up"]["metrics"]["sharpe"] < high


def test_a_run_is_not_ahead_of_its_like(prices: Prices, tmp_path: Path) -> None:
    runs = [made(prices, tmp_path, name, (0.3, 0.7)) for name in ("one", "two")]
    document = compare_runs(runs, reps=50)
    (row, _) = document["comparisons"]
    assert (row["sharpe_difference"], row["sharpe_low"], row["sharpe_high"]) == (0.0, 0.0, 0.0)
    assert document["spa"]["consistent"] == 1.0
    assert compare_runs(runs[:1], reps=50)["spa"] is None


def test_unlike_conditions_are_said(prices: Prices, tmp_path: Path) -> None:
    runs = [made(prices, tmp_path, f"c{bps:g}", (0.3, 0.7), costs=bps) for bps in (1.0, 20.0)]
    (note,) = compare_runs(runs, reps=50)["notes"]
    assert "different costs" in note


def test_what_cannot_be_compared_is_refused(prices: Prices, tmp_path: Path) -> None:
    one = made(prices, tmp_path, "one", (0.3, 0.7))
    with pytest.raises(DataError, match="once"):
        compare_runs([one, one])
    late = made(prices, tmp_path, "late", (0.3, 0.7), start=len(DAYS) - 30)
    cut = pd.read_parquet(one.path / "equity.parquet").iloc[:-20]
    cut.to_parquet(one.path / "equity.parquet", index=False)
    with pytest.raises(DataError, match="common dates"):
        compare_runs([one, late])
    bare = create_run({"seeds": [0], "data": {}, "split": {}}, "", home=tmp_path, name="bare").finish(1.0)
    with pytest.raises(RunError, match="equitrade backtest bare"):
        compare_runs([late, bare])
