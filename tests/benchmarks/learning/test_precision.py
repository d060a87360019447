"""Learning curves of two precisions are compared on equal terms."""

from __future__ import annotations

import torch

from benchmarks.learning.precision import compare, cost, curves


def test_curves_compare_equal_precisions_as_equal() -> None:
    run = curves("float32", (0, 1), 60, 20)
    assert run["stopped"] is None
    assert run["updates"] == sorted(set(run["updates"]))
    assert min(run["share"][-1]) > max(run["share"][0])
    result = compare({"float32": run, "bfloat16": run})
    assert result["inside"] == result["evaluations"] == len(run["updates"])
    assert result["differences"] == {"at the end": [0, 0, 0], "mean of the curve": [0, 0, 0]}
    worse = {**run, "share": [[-100.0, -100.0] for _ in run["share"]]}
    result = compare({"float32": run, "bfloat16": worse})
    assert result["inside"] == 0
    assert all(high < 0 for _, _, high in result["differences"].values())


def test_every_seed_is_scored_on_the_same_episodes() -> None:
    costs = cost(None, (3, 4, 5))
    assert torch.equal(costs, costs[:1].expand(3))
    assert float(costs[0]) > 0.1
