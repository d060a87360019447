from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from control_benchmarks import ControlError
from control_benchmarks.cli import app
from control_benchmarks.envs.symmetry import state_symmetry
from control_benchmarks.envs.variants import load_variant
from control_benchmarks.experiments.results import Writer, file_name
from control_benchmarks.experiments.runner import RunOptions, identity, learner_config
from control_benchmarks.experiments.suites import load_suite
from control_benchmarks.tasks.registry import load_task
from equitrade.errors import EquitradeError

runner = CliRunner()


def test_list_shows_tasks_agents_and_suites():
    rows = json.loads(runner.invoke(app, ["list", "--json"]).stdout)
    tasks = {row["task"]: row for row in rows if "task" in row}
    assert len(tasks) == 9
    assert tasks["reacher_easy"]["group"] == "D2"
    assert "gravity" not in tasks["walker_walk"]["variants"]
    text = runner.invoke(app, ["list"]).stdout
    assert "relaxed" in text
    assert "smoke" in text


def test_list_of_a_suite_marks_what_is_done(tmp_path):
    done, other, *_ = load_suite("smoke").jobs
    for job, frames in ((done, done.settings.frames), (other, 10)):
        learner = learner_config(job, state_symmetry(load_task(job.task)), RunOptions())
        for variant in job.variants:
            header = {**identity(job, load_variant(load_task(job.task), variant), learner)}
            header["settings"] = {**job.settings.as_dict(), "frames": frames}
            writer = Writer(tmp_path / file_name(job.task, variant, job.agent), header)
            writer.write([{"kind": "end", "frames": 1}])
    found = runner.invoke(app, ["list", "--suite", "smoke", "--out", str(tmp_path), "--json"])
    rows = json.loads(found.stdout)
    assert [row["state"] for row in rows] == ["done", "of other settings", "open", "open"]


def test_run_does_nothing_without_budget_and_says_what_is_left(tmp_path):
    arguments = ["run", "--suite", "smoke", "--budget-seconds", "0", "--out", str(tmp_path)]
    assert "0 of 4 jobs are done" in runner.invoke(app, arguments).stdout
    summary = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert summary["done"] == []
    assert len(summary["open"]) == 4


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["run", "--tasks", "cartpole_swing"],
            "unknown task 'cartpole_swing'; did you mean cartpole_swingup",
        ),
        (["run", "--suite", "all"], "unknown suite 'all'"),
        (["run", "--suite", "states", "--tasks", "walker_walk", "--variants", "gravity"], "unknown variant"),
        (["list", "--suite", "state"], "did you mean states"),
    ],
)
def test_wrong_names_are_errors_of_the_user(tmp_path, arguments, reason):
    """The root command prints such an error in one line and exits with code 2."""
    found = runner.invoke(app, [*arguments, "--out", str(tmp_path)])
    assert isinstance(found.exception, ControlError)
    assert reason in str(found.exception)
    assert isinstance(found.exception, EquitradeError)


def test_figures_of_nothing_is_an_error_of_the_user(tmp_path):
    found = runner.invoke(app, ["figures", "--results", str(tmp_path)])
    assert isinstance(found.exception, ControlError)


def test_figures_print_claims_with_the_seeds_that_they_need(tmp_path, write_run):
    for agent in ("relaxed", "exact"):
        write_run(tmp_path, "reacher_easy", "gravity", agent, 500)
    arguments = ["figures", "--results", str(tmp_path), "--no-png"]
    found = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert found["claims"]["b"] == "undecided"
    assert found["seeds_needed"]["b"] > 6
    text = runner.invoke(app, arguments).stdout
    assert (
        f"(b) On variants relaxed is above exact: undecided, about {found['seeds_needed']['b']:,} seeds"
        in text
    )


def test_symmetry_measures_variants():
    arguments = ["symmetry", "--task", "pendulum_swingup", "--pairs", "64"]
    (first, *others) = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)["variants"]
    assert first["variant"] == "original"
    assert first["transition"][0] < 1e-12
    assert all(row["transition"][1] > 0.001 for row in others)
    assert "gravity:0.5: reward" in runner.invoke(app, [*arguments, "--variant", "gravity:0.5"]).stdout
