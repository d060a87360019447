"""The claims on made-up results whose answers are known, and the figures and page of them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from control_benchmarks import ControlError
from control_benchmarks.analysis.claims import (
    Study,
    claims,
    curve,
    last_returns,
    noise_loss,
    scores,
)
from control_benchmarks.analysis.published import published_comparison
from control_benchmarks.analysis.report import write_figures
from control_benchmarks.experiments.results import Results, read_directory
from rl_core.statistics import interquartile_mean


def answers(directory):
    return {claim.letter: claim.answer for claim in claims(Study(read_directory(directory)))}


def test_claims_that_hold_are_answered_yes(tmp_path, write_study):
    write_study(tmp_path)
    assert answers(tmp_path) == dict.fromkeys("abcde", "yes")


def test_claims_that_fail_are_answered_no(tmp_path, write_study):
    write_study(tmp_path, variant_exact=900, relaxation=0.01, dense=900)
    assert answers(tmp_path) == {"a": "no", "b": "no", "c": "no", "d": "no", "e": "yes"}


def test_claims_without_a_difference_are_undecided(tmp_path, write_study):
    write_study(tmp_path, variant_exact=700, relaxation=0.1)
    found = answers(tmp_path)
    assert found["b"] == "undecided"
    assert found["d"] == "undecided"


def test_claims_without_results_are_left_out(tmp_path, write_run):
    write_run(tmp_path, "reacher_easy", "original", "dense", 500)
    assert answers(tmp_path) == {}


def test_scores_and_curves(tmp_path, write_run):
    write_run(tmp_path, "reacher_easy", "original", "dense", 500)
    (run,) = read_directory(tmp_path)
    found = curve(run)
    assert found.frames.tolist() == [50_000, 100_000]
    assert found.values.shape == (6, 2)
    np.testing.assert_allclose(scores(run), 0.375, atol=0.02)
    np.testing.assert_allclose(scores(run, frames=50_000), 0.25, atol=0.03)
    np.testing.assert_allclose(last_returns(run), 500, atol=30)
    loss = noise_loss(run)
    assert loss is not None
    np.testing.assert_allclose(loss, (100 * 0.25 + 100) / 2 / 1000, atol=0.02)


def test_an_evaluation_that_a_kill_cut_in_half_does_not_count():
    header = {"task": "t", "variant": "v", "agent": "dense", "seeds": [0, 1]}
    line = {"kind": "evaluation", "frames": 10, "returns": [1.0]}
    run = Results(header, ({**line, "seed": 0}, {**line, "seed": 1}, {**line, "frames": 20, "seed": 0}))
    assert curve(run).frames.tolist() == [10]


def test_the_page_holds_everything_and_no_address(tmp_path, write_study):
    write_study(tmp_path / "results")
    written = write_figures(tmp_path / "results", tmp_path / "figures", png=False)
    page = written.page.read_text()
    for text in ("Claims", "published", "reacher_easy: return", "(e)", "within", "gravity"):
        assert text in page
    assert len(written.files) == 12
    assert '"letter": "a"' in (tmp_path / "figures" / "claims.json").read_text()
    assert all(path.is_file() for path in written.files)
    study = Study(read_directory(tmp_path / "results"))
    with (tmp_path / "figures" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(study.runs)
    for row in rows:
        run = study.run((row["task"], row["variant"]), row["agent"])
        assert run is not None
        assert float(row["score_low"]) <= float(row["score"]) <= float(row["score_high"])
        assert float(row["return"]) == pytest.approx(interquartile_mean(last_returns(run)))


def test_the_table_beside_published_bars(tmp_path, write_run):
    write_run(tmp_path, "cartpole_swingup", "original", "dense", 840)
    write_run(tmp_path, "reacher_easy", "original", "dense", 100)
    write_run(tmp_path, "reacher_easy", "original", "relaxed", 990)
    *rows, relaxed = published_comparison(Study(read_directory(tmp_path)))
    assert {row["task"]: row["compared with plain SAC"] for row in rows} == {
        "cartpole_swingup": "within",
        "reacher_easy": "below",
    }
    swingup = next(row for row in rows if row["task"] == "cartpole_swingup" and row["frames"] == "100,000")
    assert "pytorch_sac 829, " in swingup["plain SAC"]
    assert "SimBaV2 repo SAC 861 [855, 864]" in swingup["plain SAC"]
    assert relaxed["agent"] == "ours (relaxed)"
    assert relaxed["compared with other methods"] == "above"


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ControlError, match="no results; run"):
        write_figures(tmp_path, tmp_path / "figures")


def test_layers_of_a_seed_are_no_more_evidence_than_the_seed(tmp_path, write_study):
    write_study(tmp_path)
    intervals = []
    for kept in (("actor", "critic"), ("actor",)):
        runs = []
        for run in read_directory(tmp_path):
            gains = [line for line in run.lines if line["kind"] == "gains" and line["network"] == "actor"]
            others = [line for line in run.lines if line["kind"] != "gains"]
            copies = [{**line, "network": network} for line in gains for network in kept]
            runs.append(Results(run.header, (*others, *copies)))
        (found,) = [claim for claim in claims(Study(runs)) if claim.letter == "d"]
        intervals.append(found.parts[0].interval)
    assert intervals[0] == intervals[1]
