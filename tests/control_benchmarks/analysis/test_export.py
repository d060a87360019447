"""Files of the control study for dashboards: an index, figures, and the numbers behind them."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import plotly.io
import pytest

from control_benchmarks.analysis import dashboard
from control_benchmarks.analysis.claims import Study, curve
from control_benchmarks.analysis.export import INDEX, split, stamp
from control_benchmarks.analysis.report import write_figures
from control_benchmarks.experiments.results import read_directory


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, write_study):
    """A drawn study; copy it before a change."""
    folder = tmp_path_factory.mktemp("drawn")
    write_study(folder)
    write_figures(folder, folder / "figures", png=False)
    return folder


@pytest.fixture
def results(drawn, tmp_path, monkeypatch):
    """The drawn study in a home, and no results elsewhere."""
    monkeypatch.setattr(dashboard, "results_root", lambda: tmp_path / "nowhere")
    return shutil.copytree(drawn, tmp_path / "control" / "states-cpu")


def rows(folder, name):
    with (folder / "figures" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_figure_of_the_index_has_a_picture_and_data(results):
    index = json.loads((results / "figures" / INDEX).read_text())
    names = {entry["name"] for entry in index["figures"]}
    assert {"claims", "published", "cartpole_swingup-curves", "reacher_easy-policy-equivariance"} <= names
    for entry in index["figures"]:
        figure = plotly.io.from_json((results / "figures" / f"{entry['name']}.plotly.json").read_text())
        assert len(figure.data) > 0
        assert rows(results, entry["name"])
        assert entry["title"]
        assert entry["subtitle"]
        assert entry["view"] in ("", "cartpole_swingup", "reacher_easy")
    assert index["tables"][0]["caption"] == "Beside published results"
    assert any("(a) " in note for note in index["notes"])


def test_lines_lie_above_intervals_which_the_figure_explains(results):
    path = results / "figures" / "reacher_easy-curves.plotly.json"
    figure = plotly.io.from_json(path.read_text())
    assert "95 % bootstrap interval" in figure.layout.title.subtitle.text
    for axis in ("x", "x2"):
        filled = [trace.fill == "toself" for trace in figure.data if (trace.xaxis or "x") == axis]
        assert filled == [True] * 3 + [False] * 3


def test_few_seeds_come_with_a_warning(results, tmp_path, write_run):
    def notes(folder):
        return json.loads((folder / "figures" / INDEX).read_text())["notes"]

    assert not any("too few" in note for note in notes(results))
    few = tmp_path / "few"
    write_run(few, "reacher_easy", "original", "dense", 500, seeds=2)
    write_figures(few, few / "figures", png=False)
    assert any("2 seeds, which is too few" in note for note in notes(few))


def test_data_of_curves_is_every_seeds_return(results):
    study = Study(read_directory(results))
    run = study.run(("reacher_easy", "gravity"), "exact")
    own = [
        r for r in rows(results, "reacher_easy-curves") if (r["variant"], r["agent"]) == ("gravity", "exact")
    ]
    found = np.array([float(row["return"]) for row in own]).reshape(6, 2)
    np.testing.assert_array_equal(found, curve(run).values)
    assert {row["variant"] for row in rows(results, "reacher_easy-noise")} == {"original", "gravity"}
    assert rows(results, "reacher_easy-weights")[0]["layer"] == "actor head"
    assert float(rows(results, "reacher_easy-critic-equivariance")[0]["scale"]) == 2.0


def test_published_returns_stand_beside_ours(results):
    found = [row for row in rows(results, "published") if row["task"] == "cartpole_swingup"]
    assert found[0]["source"] == "ours (dense)"
    assert float(found[0]["low"]) <= float(found[0]["return"]) <= float(found[0]["high"])
    group = {row["source"]: row["group"] for row in found}
    assert group["pytorch_sac"] == "plain SAC"
    assert group["SAC+SimBa"] == "other methods"


def test_offer_tells_current_outdated_and_undrawn_results_apart(results, tmp_path, write_run):
    (one,) = dashboard.offer(tmp_path)["results"]
    assert (one["name"], one["state"], one["folder"]) == ("states-cpu", "current", results / "figures")
    write_run(results, "pendulum_swingup", "original", "dense", 500)
    (one,) = dashboard.offer(tmp_path)["results"]
    assert one["state"] == "outdated"
    assert "equitrade control figures --results" in one["advice"]
    (results / "figures" / INDEX).write_text("{")
    assert dashboard.offer(tmp_path)["results"][0]["state"] == "undrawn"


def test_no_results_come_with_advice(tmp_path, monkeypatch):
    monkeypatch.setattr(dashboard, "results_root", lambda: tmp_path / "nowhere")
    found = dashboard.offer(tmp_path)
    assert found["results"] == []
    assert "equitrade control run" in found["advice"]


def test_stamp_changes_with_the_results(results, write_run):
    before = stamp(results)
    assert stamp(results) == before
    write_run(results, "pendulum_swingup", "original", "dense", 500)
    assert stamp(results) != before


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("claims", ("", "claims")),
        ("published", ("", "published")),
        ("walker_walk-policy-equivariance", ("walker_walk", "policy-equivariance")),
    ],
)
def test_names_hold_task_and_kind(name, parts):
    assert split(name) == parts
