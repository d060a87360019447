"""Run directories: whole or absent, found by name, honest about their state."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trading_app.files import RunError
from trading_app.runs.backtests import save_backtest
from trading_app.runs.run import Run, create_run, list_runs, open_run, runs_directory, unused_name

MANIFEST = {"config": {"sac": {"agent": "relaxed"}}, "seeds": [0, 1], "data": {"symbols": ["A", "B", "C"]}}


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
