"""Run directories: whole or absent, found by name, honest about their state."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices
from trading_app import backtest
from trading_app.backtesting.baselines import equal_weight, inverse_volatility
from trading_app.backtesting.results import trading_costs
from trading_app.backtesting.summary import evidence
from trading_app.evaluation.metrics import metrics
from trading_app.files import RunError
from trading_app.runs.backtests import load_backtest, save_backtest
from trading_app.runs.provenance import code_revision
from trading_app.runs.run import Run, create_run, list_runs, open_run, runs_directory, unused_name

MANIFEST = {"config": {"sac": {"agent": "relaxed"}}, "seeds": [0, 1], "data": {"symbols": ["A", "B", "C"]}}


@pytest.fixture(scope="module")
def results() -> Any:
    generator = np.random.default_rng(0)
    dates = pd.bdate_range("2018-01-01", periods=500)
    close = pd.DataFrame(
        100 * np.exp(np.cumsum(generator.normal(0.0003, 0.01, (500, 3)), axis=0)), dates, list("ABC")
    )
    prices = Prices.from_frames("made", close=close, open=close.shift(1).bfill(), notes=("made up",))
    start = dates[100]
    seeds = {
        f"seed-{k}": pd.DataFrame(generator.dirichlet(np.ones(3), 400), dates[100:], list("ABC"))
        for k in range(3)
    }
    agent = sum(seeds.values()) / 3
    baselines = {
        "equal-weight": equal_weight(prices, start),
        "inverse-volatility": inverse_volatility(prices, start),
    }
    return backtest(prices, {"agent": agent, **seeds, **baselines}, start=start)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(MANIFEST, "[sac]\nagent = 'relaxed'\n", home=tmp_path, name="demo")


def test_create_and_open(tmp_path: Path, run: Run) -> None:
    assert run.path == tmp_path / "runs" / "demo"
    for name in ("demo", run.path, str(run.path)):
        again = open_run(name, tmp_path)
        assert again.manifest == run.manifest
        assert again.name == "demo"
    assert run.seeds == [0, 1]
    assert run.symbols == ["A", "B", "C"]
    assert "relaxed" in run.config_text
    for key in ("schema", "created_at", "code", "versions", "machine"):
        assert run.manifest[key]
    assert run.manifest["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "-x", "a b", "x" * 101])
def test_bad_names_write_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is invalid"):
        create_run(MANIFEST, "", home=tmp_path, name=name)
    assert list(tmp_path.rglob("*")) == []


def test_taken_name(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RunError, match="already exists"):
        create_run(MANIFEST, "other", home=tmp_path, name="demo")
    assert run.config_text != "other"
    assert unused_name(tmp_path, "demo") == "demo-2"
    assert unused_name(tmp_path, "relaxed on S&P 500") == "relaxed-on-S-P-500"


def test_failed_creation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        create_run({"config": object()}, "", home=tmp_path, name="bad")
    assert list(runs_directory(tmp_path).glob("*")) == []
    assert list_runs(tmp_path) == []


def test_unknown_run_names_the_near_ones(tmp_path: Path, run: Run) -> None:
    with pytest.raises(RunError, match=r"run 'dmeo' not found .*did you mean 'demo'\?") as raised:
        open_run("dmeo", tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(RunError, match="available: demo"):
        open_run("zzz", tmp_path)
    with pytest.raises(RunError, match="no runs yet"):
        open_run("demo", tmp_path / "empty")


def test_damaged_manifest_is_named(tmp_path: Path, run: Run) -> None:
    (run.path / "manifest.json").write_text('{"a": 1,\n oops')
    with pytest.raises(RunError, match=r"manifest\.json: not valid JSON in line 2"):
        open_run("demo", tmp_path)
    assert list_runs(tmp_path) == []
    assert run.status == "incomplete"


def test_status_and_finish(tmp_path: Path, run: Run, results: Any) -> None:
    assert run.status == "incomplete"
    with run.training():
        assert open_run("demo", tmp_path).status == "training"
        with pytest.raises(RunError, match="another process"), open_run("demo", tmp_path).training():
            pass
    assert run.status == "incomplete"
    run = run.finish(12.5, stopped=None).finish(1.5)
    assert run.status == "complete"
    assert open_run("demo", tmp_path).manifest["wall_time_seconds"] == 14.0
    save_backtest(run, results, reps=20)
    assert run.status == "backtested"


def _train_forever(path: Path, ready: Any) -> None:
    with Run(path, {}).training():
        ready.set()
        signal.pause()


def test_a_killed_training_is_incomplete(run: Run) -> None:
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_train_forever, args=(run.path, ready), daemon=True)
    process.start()
    assert ready.wait(60)
    assert run.status == "training"
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert run.status == "incomplete"


def test_progress_leaves_out_a_torn_line(run: Run) -> None:
    assert run.progress().empty
    (run.path / "progress.jsonl").write_text(
        '{"step": 1, "seed": 0}\n{"step": 2, "seed": 0}\n{"step": 3, "se'
    )
    assert run.progress()["step"].tolist() == [1, 2]


def test_list_is_newest_first(tmp_path: Path) -> None:
    for name, stamp in (("b", "2024-01-02"), ("a", "2024-01-03"), ("c", "2024-01-01")):
        create_run(MANIFEST, "", home=tmp_path, name=name).with_manifest(created_at=stamp)
    (runs_directory(tmp_path) / "stray").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == ["a", "b", "c"]


def test_backtest_round_trip(run: Run, results: Any) -> None:
    save_backtest(run, results, data_hash="abc", reps=20, trials=7)
    saved = load_backtest(run)
    assert saved.strategies == ("agent", "seed-0", "seed-1", "seed-2", "equal-weight", "inverse-volatility")
    assert saved.document["data"] == {"name": "made", "symbols": ["A", "B", "C"], "hash": "abc"}
    pd.testing.assert_frame_equal(
        saved.equity, results.equity, check_freq=False, check_names=False, check_index_type=False
    )
    np.testing.assert_allclose(saved.returns.to_numpy(), results.returns.to_numpy(), atol=1e-14)
    for name in ("agent", "seed-1", "equal-weight"):
        one = results.strategy(name)
        np.testing.assert_array_equal(saved.weights(name).to_numpy(), one.weights.to_numpy())
        np.testing.assert_array_equal(saved.costs(name)["turnover"].to_numpy(), one.turnover.to_numpy())
        np.testing.assert_array_equal(saved.costs(name).iloc[:, :6].to_numpy(), one.costs.to_numpy())
        assert saved.trades(name).shape == one.trades.shape
    with pytest.raises(RunError, match="strategy 'seed-9' not found"):
        saved.weights("seed-9")


def test_backtest_replaces_the_last_one_and_its_report(run: Run, results: Any) -> None:
    save_backtest(run, results, reps=20)
    run.report.write_text("old")
    save_backtest(run, results, reps=20)
    assert not run.report.exists()
    (run.path / "trades.parquet").unlink()
    with pytest.raises(RunError, match=r"trades\.parquet is missing"):
        load_backtest(run)


def test_no_backtest_yet(run: Run) -> None:
    assert run.metrics is None
    with pytest.raises(RunError, match="no backtest yet"):
        load_backtest(run)


def test_evidence_is_strict_json_and_complete(results: Any) -> None:
    document = evidence(results, reps=20, trials=3)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert set(document["strategies"]) == set(results.names)
    assert [entry["baseline"] for entry in document["comparisons"]] == ["equal-weight", "inverse-volatility"]
    assert [test["benchmark"] for test in document["spa"]] == ["equal-weight", "inverse-volatility"]
    assert document["spa"][0]["candidates"] == ["agent", "seed-0", "seed-1", "seed-2"]
    assert document["spa_reverse"]["benchmark"] == "agent"
    assert document["reference"] == "equal-weight"
    assert document["notes"][0] == "made up"
    assert document["fill"] == "next_open"
    assert 0 <= document["deflated_sharpe"] <= document["probabilistic_sharpe"] <= 1
    spread = document["seeds"]["sharpe"]
    assert spread["lowest"] <= spread["mean"] <= spread["highest"]
    assert evidence(results, reps=20, trials=3) == document


def test_evidence_metrics_are_those_of_the_parts(results: Any) -> None:
    entry = evidence(results, reps=20)["strategies"]["agent"]
    agent = results.strategy("agent")
    paid = trading_costs(agent.costs, agent.equity)[1:]
    expected = metrics(agent.returns, turnover=agent.turnover[1:], trading_costs=paid)
    assert entry["metrics"] == pytest.approx(expected)
    assert entry["metrics"] == pytest.approx(agent.metrics())
    assert (
        entry["metrics"]["break_even_bps"]
        > metrics(agent.returns, turnover=agent.turnover[1:])["break_even_bps"]
    )
    totals = entry["totals"]
    change = (
        totals["price_pnl"]
        + totals["interest"]
        - sum(totals[k] for k in ("commission", "spread", "impact", "borrow"))
    )
    assert change == pytest.approx(agent.equity.iloc[-1] - 1, abs=1e-9)


def test_evidence_without_an_agent(results: Any) -> None:
    from trading_app.backtesting.results import BatchResult

    keep = [4, 5]
    alone = BatchResult(
        results.panel,
        results.cost_model,
        results.targets[keep],
        tuple(results.names[k] for k in keep),
        results.nav[keep],
    )
    document = evidence(alone, reps=20)
    assert "comparisons" not in document
    assert document["seeds"] == {}
    with pytest.raises(ValueError, match="trials is 0"):
        evidence(alone, trials=0)


def test_revision_is_not_taken_from_a_foreign_repository(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("")
    assert code_revision(tmp_path / "module.py") == {"revision": None, "changed": None}
