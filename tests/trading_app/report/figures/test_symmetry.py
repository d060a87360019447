"""Figures of symmetry by their data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_app.experiments.equivariance import RelaxedWeights
from trading_app.report.figures import symmetry as f
from trading_app.report.payload import payload
from trading_app.report.theme import DARK, LIGHT


def years_of(*p_values: float, symmetry: str = "mirror") -> list[dict[str, Any]]:
    return [
        {"symmetry": symmetry, "period": 2000 + k, "statistic": 0.01 * k - 0.005, "expected": 0.004,
         "p_value": p, "blocks": 12}
        for k, p in enumerate(p_values)
    ]  # fmt: skip


@pytest.fixture
def weights() -> RelaxedWeights:
    """Two seeds, three assets, two elements; one weight of the actor stands out, and only of the first seed."""
    actor = np.ones((2, 1, 2, 3, 2))
    actor[0, 0, 1, 2, 1] = 3.0
    layers = {
        "actor lifting": actor,
        "critic hidden1": np.full((2, 2, 1, 3, 2), 1.3),
        "critic head": np.ones((2, 2, 2, 1, 2)),
    }
    return RelaxedWeights(layers, (4, 7), ("AAA", "BBB", "CCC"), ("identity", "mirror"), 600)


def progress() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"step": step, "seed": seed, "alpha": 0.1, "eval_relaxation_actor lifting": 0.1 * step + seed}
            for step in (1, 2)
            for seed in (0, 1)
        ]
    )


ERRORS = {
    "mirror": {
        "policy": {"mean": [0.1, 0.3], "maximum": [1.0, 2.0], "scale": [1.0, 1.0]},
        "critic": {"mean": [0.5, None], "maximum": [1.0, None], "scale": [2.0, None]},
    }
}


def test_years_that_broke_a_symmetry_are_filled_and_counted() -> None:
    # 0.05 is the least that 19 permutations can give, and breaks it at that level.
    found = f.market_distance([*years_of(0.01, 0.2, 0.05), *years_of(0.01, symmetry="exchange")], "mirror")
    assert found.layout.title.text == "Mirror: rejected in 2 of 3 years"
    bars, chance = found.data
    assert list(bars.x) == [2000, 2001, 2002]
    assert [colour.endswith(",0.6)") for colour in bars.marker.color] == [True, False, True]
    # A distance that is negative by chance is drawn as none, and said as it is.
    assert bars.y[0] == 0
    assert bars.customdata[0][0] == pytest.approx(-0.005)
    np.testing.assert_allclose(chance.y, 0.004, rtol=1e-6)


def test_equal_weights_are_all_one_whatever_their_size(weights: RelaxedWeights) -> None:
    heat = f.relaxed_heatmap(weights, "critic").data[0]
    values = np.asarray(heat.z, dtype=float)
    np.testing.assert_allclose(values[np.isfinite(values)], 1.0, rtol=1e-6)
    assert (heat.zmin + heat.zmax) / 2 == pytest.approx(1.0)
    raw = np.asarray(f.relaxed_heatmap(weights, "critic", relative=False).data[0].z, dtype=float)
    assert np.nanmax(raw) == pytest.approx(1.3)


def test_weight_that_stands_out_is_where_it_belongs(weights: RelaxedWeights) -> None:
    heat = f.relaxed_heatmap(weights, "actor", relative=False, seed=4).data[0]
    row, column = np.unravel_index(np.argmax(heat.z), np.shape(heat.z))
    assert heat.y[row] == "First layer · 2 · mirror"
    assert heat.x[column] == "CCC"
    assert np.max(heat.z) == pytest.approx(3.0)
    assert np.max(f.relaxed_heatmap(weights, "actor", relative=False).data[0].z) == pytest.approx(2.0)
    np.testing.assert_allclose(f.relaxed_heatmap(weights, "actor", seed=7).data[0].z, 1.0)


def test_layers_without_assets_stand_in_a_column_of_their_own(weights: RelaxedWeights) -> None:
    heat = f.relaxed_heatmap(weights, "critic").data[0]
    values = np.asarray(heat.z, dtype=float)
    assert list(heat.x) == ["AAA", "BBB", "CCC", "all assets"]
    heads = [k for k, row in enumerate(heat.y) if row.startswith("Output")]
    assert np.isnan(values[heads][:, :3]).all()
    assert np.isfinite(values[heads][:, 3]).all()


def test_phone_shows_short_labels_for_the_same_rows(weights: RelaxedWeights) -> None:
    found = f.relaxed_heatmap(weights, "actor")
    narrow = found.layout.meta["narrow"]
    assert list(narrow["layout.yaxis.tickvals"]) == list(found.data[0].y)
    assert list(narrow["layout.yaxis.ticktext"]) == ["First·1", "First·1 −", "First·2", "First·2 −"]


def test_table_holds_every_weight(weights: RelaxedWeights) -> None:
    table = f.weights_table(weights)
    assert len(table) == sum(weights.raw(layer).size for layer in weights.layers)
    odd = table[table["weight"] == 3.0]
    assert odd[["network", "layer", "seed", "bank", "asset", "element"]].to_numpy().tolist() == [
        ["actor", "lifting", 4, 2, "CCC", "mirror"]
    ]
    assert set(f.weights_table(weights, "critic")["network"]) == {"critic"}
    assert len(f.weights_table(RelaxedWeights({}, (0,), (), (), 0))) == 0


def test_layers_show_the_mean_over_seeds_in_percent(weights: RelaxedWeights) -> None:
    found = f.layer_deviations(weights)
    bars = {
        str(name): x
        for trace in found.data
        if trace.type == "bar"
        for name, x in zip(trace.y, trace.x, strict=True)
    }
    apart = weights.deviation("actor lifting")
    assert apart[1] == 0
    assert bars["Actor, first layer"] == pytest.approx(100 * apart.mean())
    assert bars["Critic, hidden layer 1"] == 0
    assert f.layers_table(weights)["deviation"].max() == pytest.approx(apart[0])


def test_training_shows_a_line_a_layer() -> None:
    (line,) = f.deviations_over_training(progress()).data
    assert line.name == "Actor, first layer"
    np.testing.assert_allclose(line.y, [60, 70], rtol=1e-6)
    assert len(f.deviations_table(progress())) == 4
    assert f.deviations_table(pd.DataFrame([{"step": 1, "seed": 0}])).empty


def test_errors_are_shares_of_their_scale() -> None:
    table = f.errors_table(ERRORS, [3, 5])
    assert table["seed"].tolist() == [3, 5, 3, 5]
    np.testing.assert_allclose(table["relative"], [0.1, 0.3, 0.25, np.nan])
    found = f.equivariance_errors(ERRORS)
    bars = {
        str(name): x
        for trace in found.data
        if trace.type == "bar"
        for name, x in zip(trace.y, trace.x, strict=True)
    }
    assert bars["Policy, mirror"] == pytest.approx(20.0)
    assert bars["Critic, mirror"] == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("layer", "label"),
    [
        ("actor lifting", "Actor, first layer"),
        ("critic hidden2", "Critic, hidden layer 2"),
        ("actor attention1", "Actor, attention 1"),
        ("critic pooled", "Critic, after the pool"),
    ],
)
def test_layers_have_names_that_people_read(layer: str, label: str) -> None:
    assert f.layer_label(layer) == label


def test_both_looks_have_the_same_data(weights: RelaxedWeights) -> None:
    made = [
        {
            "market": f.market_distance(years_of(0.01, 0.5), "mirror", theme=theme),
            "weights": f.relaxed_heatmap(weights, "critic", theme=theme),
            "layers": f.layer_deviations(weights, theme=theme),
            "training": f.deviations_over_training(progress(), theme=theme),
            "errors": f.equivariance_errors(ERRORS, theme=theme),
        }
        for theme in (LIGHT, DARK)
    ]
    document = payload(*made)
    for figure in document["figures"].values():
        assert not [path for path, _ in figure["dark"] if path[-1] in ("x", "y", "z")]
