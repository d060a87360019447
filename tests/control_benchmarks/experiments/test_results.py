from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import control_benchmarks
from control_benchmarks import ControlError, load_task, load_variant, state_symmetry
from control_benchmarks.analysis.published import published_bars
from control_benchmarks.experiments.results import Writer, file_name, read_directory, read_results
from control_benchmarks.experiments.runner import RunOptions, identity, is_done, learner_config
from control_benchmarks.experiments.suites import load_suite

HEADER = {"task": "t", "variant": "v", "agent": "a", "seeds": [0, 1], "settings": {"levels": (0.0, 0.5)}}
LINES = [{"kind": "evaluation", "frames": 10, "seed": seed, "returns": [1.0, 2.0]} for seed in (0, 1)]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / file_name("t", "gravity:0.5", "a")
    assert path.name == "t__gravity_0.5__a.jsonl"
    writer = Writer(path, HEADER)
    writer.write(LINES)
    results = read_results(path)
    assert results is not None
    assert not results.done
    assert [line["seed"] for line in results.of_kind("evaluation")] == [0, 1]
    writer.write([{"kind": "end", "frames": 10}])
    assert read_directory(tmp_path)[0].done


def test_nothing_is_written_twice(tmp_path):
    path = tmp_path / "run.jsonl"
    Writer(path, HEADER).write(LINES)
    before = path.read_bytes()
    again = Writer(path, HEADER)
    again.write(LINES)
    assert path.read_bytes() == before
    again.write([*LINES, {**LINES[0], "frames": 20}])
    assert len(path.read_text().splitlines()) == 4


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_file_cut_short_by_a_kill_goes_on_cleanly(tmp_path, cut):
    path = tmp_path / "run.jsonl"
    Writer(path, HEADER).write(LINES)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    results = read_results(path)
    assert results is not None
    assert len(results.lines) == 1
    Writer(path, HEADER).write(LINES)
    assert path.read_bytes() == whole


def test_a_file_cut_within_its_first_line_starts_anew(tmp_path):
    path = tmp_path / "run.jsonl"
    Writer(path, HEADER).write(LINES)
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    assert read_results(path) is None
    Writer(path, HEADER).write(LINES)
    assert path.read_bytes() == whole
    assert read_results(tmp_path / "absent.jsonl") is None


def test_damage_in_the_middle_names_the_line(tmp_path):
    path = tmp_path / "run.jsonl"
    Writer(path, HEADER).write(LINES)
    lines = path.read_text().splitlines()
    lines[1] = lines[1][:-5]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ControlError, match=r"run\.jsonl, line 2: not JSON"):
        read_results(path)
    path.write_text(json.dumps({"kind": "evaluation"}) + "\n")
    with pytest.raises(ControlError, match="line 1: expected the description"):
        read_results(path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("agent", "else", "other agent"),
        ("seeds", [9], "other seeds"),
        ("settings", {"frames": 7}, r"frames .*, not 7"),
        ("settings", {}, "other settings"),
        ("learner", {"width": 7}, "width 256, not 7"),
    ],
)
def test_results_of_other_settings_are_not_mixed(tmp_path, key, value, words):
    path = tmp_path / "run.jsonl"
    Writer(path, HEADER)
    with pytest.raises(ControlError, match=f"results of {words}; remove it"):
        Writer(path, {**HEADER, key: value})


def test_numbers_that_are_not_finite_are_refused(tmp_path):
    writer = Writer(tmp_path / "run.jsonl", HEADER)
    with pytest.raises(ValueError):
        writer.write([{"kind": "evaluation", "frames": 1, "returns": [float("nan")]}])


def test_published_bars_come_with_their_sources():
    bars = published_bars()
    assert len(bars) > 100
    assert {bar.observation for bar in bars} == {"state", "pixels"}
    assert all(
        0 <= bar.mean_return <= 1000 and bar.frames in (50_000, 100_000, 500_000, 1_000_000) for bar in bars
    )
    assert all(bar.low <= bar.mean_return <= bar.high for bar in bars if bar.low is not None)
    swingup = [bar for bar in bars if (bar.task, bar.frames) == ("cartpole_swingup", 100_000)]
    returns = {
        seen: [bar.mean_return for bar in swingup if bar.observation == seen] for seen in ("state", "pixels")
    }
    assert (min(returns["state"]), max(returns["state"])) == (829, 872)
    assert returns["pixels"] == [626]


def test_files_without_younger_settings_are_of_the_same_runs(tmp_path):
    chosen = {"tasks": ["cartpole_swingup"], "agents": ["exact"], "variants": ["original"]}
    (job,) = load_suite("states", preset="paper", **chosen).jobs
    task = load_task("cartpole_swingup")
    config = learner_config(job, state_symmetry(task), RunOptions())
    header = identity(job, load_variant(task, "original"), config)
    older = json.loads(json.dumps(header))
    for part, names in (
        ("settings", ("preset", "updates_per_decision")),
        ("learner", ("normalize_observations", "relaxation")),
    ):
        for name in names:
            del older[part][name]
    path = tmp_path / "run.jsonl"
    Writer(path, older)
    Writer(path, header)
    assert read_results(path).header["settings"] == header["settings"] | {
        "noise_levels": list(job.settings.noise_levels)
    }
    with pytest.raises(ControlError, match="updates_per_decision 1, not 2"):
        Writer(path, {**header, "settings": {**header["settings"], "updates_per_decision": 2}})


def test_stored_results_are_those_of_the_suite():
    folder = Path(control_benchmarks.__file__).parent / "results" / "states-paper-cpu"
    there = {path.name for path in folder.glob("*.jsonl")}
    made_with = {"width": 128, "n_envs": 2, "frames": 40_000, "evaluations": 8, "episodes": 2}
    suite = load_suite("states", preset="paper", **made_with)
    jobs = [job for job in suite.jobs if file_name(job.task, "original", job.agent) in there]
    assert len(jobs) == 15
    check_done(folder, jobs)


def test_stored_results_of_the_strong_learner_are_those_of_the_suite():
    folder = Path(control_benchmarks.__file__).parent / "results" / "states-cpu"
    there = {path.name for path in folder.glob("*.jsonl")}
    jobs = [job for job in load_suite("states").jobs if file_name(job.task, "original", job.agent) in there]
    assert len(jobs) >= 6
    check_done(folder, jobs)


def check_done(folder, jobs):
    there = {path.name for path in folder.glob("*.jsonl")}
    for job in jobs:
        chosen = tuple(v for v in job.variants if file_name(job.task, v, job.agent) in there)
        assert is_done(dataclasses.replace(job, variants=chosen), folder)
