"""Small suites end to end on the learning core."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from control_benchmarks import ControlError, load_task
from control_benchmarks.envs.variants import Variant
from control_benchmarks.experiments.evaluator import Evaluator, observation_spread
from control_benchmarks.experiments.results import read_directory, read_results
from control_benchmarks.experiments.run_suite import app, run_suite
from control_benchmarks.experiments.runner import claim, is_done
from control_benchmarks.experiments.suites import SMOKE, load_suite
from equitrade.console import run_command
from equitrade.processes import module_command
from rl_core.config import SACConfig
from rl_core.divergence import FrozenSeeds
from rl_core.sac import SAC

ROOT = Path(__file__).parents[3]
SMALL = {
    "tasks": ["reacher_easy"],
    "frames": 400,
    "width": 8,
    "action_repeat": 50,
    "batch_size": 4,
    "learning_starts": 2,
    "noise_levels": (0.0, 0.2),
}


@pytest.fixture
def suite():
    return load_suite("smoke", **SMALL)


def lines_of(directory):
    return {run.header["variant"]: run.lines for run in read_directory(directory)}


def without_time(lines):
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_a_job_writes_a_file_a_cell_and_is_skipped_when_done(tmp_path, suite):
    (job,) = suite.jobs
    assert run_suite(suite, tmp_path, verbose=False) == {job.name: "done"}
    found = lines_of(tmp_path)
    assert set(found) == {"original", "worn-joint"}
    for lines in found.values():
        kinds = [line["kind"] for line in lines]
        assert kinds.count("evaluation") == 2 * job.settings.evaluations
        assert kinds.count("noise") == 2 * 2
        assert kinds.count("gains") == 2 * job.settings.evaluations * 6
        assert kinds[-1] == "end"
        assert lines[-1]["diverged"] == []
        for line in lines:
            if line["kind"] == "evaluation":
                assert 0 <= line["returns"][0] <= 1000
                assert line["frames"] in (200, 400)
    assert is_done(job, tmp_path)
    assert not (tmp_path / ".training" / job.name).exists()
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
    assert run_suite(suite, tmp_path, verbose=False) == {job.name: "skipped"}
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.jsonl")}


def test_a_killed_job_goes_on_to_the_same_results(tmp_path, suite, monkeypatch):
    run_suite(suite, tmp_path / "whole", verbose=False)
    calls = []
    evaluate = Evaluator.evaluate

    def killed(self, agent):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return evaluate(self, agent)

    monkeypatch.setattr(Evaluator, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path / "cut", verbose=False)
    for path in (tmp_path / "cut").glob("*.jsonl"):
        with path.open("a") as file:
            file.write('{"kind":"evaluation","returns":[1')  # a line cut short
    monkeypatch.setattr(Evaluator, "evaluate", evaluate)
    run_suite(suite, tmp_path / "cut", verbose=False)
    whole, cut = lines_of(tmp_path / "whole"), lines_of(tmp_path / "cut")
    assert set(whole) == set(cut)
    for variant in whole:
        key = json.dumps
        assert sorted(map(key, without_time(whole[variant]))) == sorted(map(key, without_time(cut[variant])))


def test_diverged_seed_is_stored_with_its_variant(tmp_path, suite, monkeypatch):
    def third_row(frozen, *_):
        return {} if frozen.diverged else {2: "q of seed 0 is inf"}

    monkeypatch.setattr(FrozenSeeds, "faults", third_row)
    run_suite(suite, tmp_path, verbose=False)
    ends = {variant: lines[-1] for variant, lines in lines_of(tmp_path).items()}
    assert {variant: end["diverged"] for variant, end in ends.items()} == {"original": [], "worn-joint": [0]}
    assert all(end["stopped"] is None for end in ends.values())


def test_cells_of_a_batch_are_what_they_are_alone(tmp_path, suite):
    run_suite(suite, tmp_path / "both", verbose=False)
    alone = load_suite("smoke", **SMALL, variants=["worn-joint"])
    run_suite(alone, tmp_path / "alone", verbose=False)
    both = read_results(next((tmp_path / "both").glob("*worn*")))
    one = read_results(next((tmp_path / "alone").glob("*worn*")))
    assert both is not None
    assert one is not None
    for a, b in zip(both.of_kind("evaluation"), one.of_kind("evaluation"), strict=True):
        assert a["returns"] == pytest.approx(b["returns"], rel=1e-3, abs=1e-3)
        assert a["policy_scale"] == pytest.approx(b["policy_scale"], rel=1e-2)


def test_a_spent_budget_begins_nothing(tmp_path, suite):
    assert set(run_suite(suite, tmp_path, budget_seconds=0, verbose=False).values()) == {"not begun"}
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_job_has_one_runner(tmp_path, suite):
    (job,) = suite.jobs
    with claim(job, tmp_path) as mine:
        assert mine
        assert run_suite(suite, tmp_path, verbose=False) == {job.name: "elsewhere"}


def test_other_settings_are_refused(tmp_path, suite):
    run_suite(suite, tmp_path, verbose=False)
    other = load_suite("smoke", **{**SMALL, "frames": 800})

    def refused() -> None:
        before = {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")}
        with pytest.raises(ControlError, match="of frames 400, not 800"):
            run_suite(other, tmp_path, verbose=False)
        with pytest.raises(ControlError, match=r"of actor_lr 0\.001, not 0\.002"):
            run_suite(suite, tmp_path, changes=[("actor_lr", 2e-3)], verbose=False)
        assert {path: path.read_bytes() for path in tmp_path.glob("*.jsonl")} == before

    refused()
    for path in tmp_path.glob("*original*"):
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))  # not done
    refused()


def test_a_learners_setting_that_is_younger_than_a_file_was_at_its_default(tmp_path, suite):
    (job,) = suite.jobs
    run_suite(suite, tmp_path, verbose=False)
    for path in tmp_path.glob("*.jsonl"):
        header, *rest = path.read_text().splitlines()
        old = json.loads(header)
        del old["learner"]["relax_layers"]
        old["learner"]["device"] = "cuda"
        path.write_text("\n".join([json.dumps(old), *rest, ""]))
    assert is_done(job, tmp_path)
    assert run_suite(suite, tmp_path, verbose=False) == {job.name: "skipped"}


def test_judges_see_the_same_episodes_each_time():
    task = load_task("cartpole_swingup")
    settings = SMOKE.replace(action_repeat=50, noise_levels=(0.0, 10.0), noise_episodes=2, episodes=2)
    with Evaluator(task, [0, 1], [Variant(), Variant("gravity")], settings) as evaluator:
        agents = [SAC(evaluator._env.symmetry, SACConfig(agent="exact", width=8), [0, 1]) for _ in range(2)]
        first, second = (evaluator.evaluate(agent) for agent in agents)
        assert torch.equal(first.returns, second.returns)
        assert first.returns.shape == (2, 2)
        assert float(first.policy_error.max()) < 1e-5
        assert float(first.critic_error.max()) < 1e-5
        noisy = evaluator.evaluate_noise(agents[0])
        assert noisy.shape == (2, 2, 2)
        assert torch.allclose(noisy[:, 0], first.returns, rtol=1e-4, atol=1e-3)
        assert not torch.allclose(noisy[:, 1], first.returns, rtol=1e-3)


def test_the_spread_of_observations_is_positive_and_fixed():
    spread = observation_spread(load_task("reacher_hard"), 2)
    assert spread.shape == (7,)
    assert float(spread.min()) > 0
    assert torch.equal(spread, observation_spread(load_task("reacher_hard"), 2))


def test_wrong_names_exit_with_code_2_and_one_line(tmp_path, capsys):
    assert run_command(app, ["--suite", "states", "--tasks", "cartpole_swing", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: unknown task 'cartpole_swing'; did you mean cartpole_swingup")
    assert error.count("\n") == 1
    assert run_command(app, ["--suite", "smoke", "--set", "width", "--out", str(tmp_path)]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
    assert run_command(app, ["--suite", "smoke", "--set", "widht=3", "--out", str(tmp_path)]) == 2
    assert "unknown setting 'widht'" in capsys.readouterr().err


SMALLEST = ["--frames=200", "--width=8", "--seeds=1", "--tasks=reacher_easy", "--set=learning_starts=5"]


def run_process(command, path, **options):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *SMALLEST, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"done": ["reacher_easy__relaxed"], "open": []}


def test_it_runs_side_by_side_on_a_machine_with_few_packages(tmp_path):
    """Of the packages that equitrade requires, only PyTorch, NumPy, safetensors, lazy-loader and Typer are needed."""
    blocked = tmp_path / "blocked"
    for name in ("dm_env", "lxml", "plotly", "gymnasium", "pandas", "fastapi"):
        (blocked / name).mkdir(parents=True)
        (blocked / name / "__init__.py").write_text("raise ImportError('not here')")
    command = module_command("control_benchmarks.experiments.run_suite", "--out", str(tmp_path / "out"))
    run_process([*command, "--parallel=2", f"--pack={tmp_path / 'all.zip'}"], (blocked, ROOT))
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert len(archive.namelist()) == 2


@pytest.mark.parametrize("parallel", [1, 2])
def test_it_runs_in_a_folder_with_files_named_like_packages(tmp_path, parallel):
    for name in ("data", "service", "torch", "numpy", "equitrade", "control_benchmarks"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not this one')")
    command = module_command("trading_app.cli.main", "control", "run", "--out=results", "--workers=1")
    run_process([*command, f"--parallel={parallel}"], (ROOT,), cwd=tmp_path)


@pytest.mark.slow
def test_the_smoke_suite(tmp_path):
    suite = load_suite("smoke")
    assert set(run_suite(suite, tmp_path, verbose=False).values()) == {"done"}
    assert len(read_directory(tmp_path)) == 8
