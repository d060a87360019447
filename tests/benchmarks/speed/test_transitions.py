"""Contenders of the benchmark of transitions: the same task, timed for batches and for whole steps of training."""

from __future__ import annotations

from benchmarks.speed.transitions import Sources, market, run


def test_made_and_stored_transitions_are_timed_on_the_same_task() -> None:
    sources = Sources(market(assets=3, sessions=200, seeds=2), batch=16, stored=20)
    assert sources.difference() < 1e-3
    result = run(repeats=2, sources=sources)
    assert (result["seeds"], result["batch"], result["assets"]) == (2, 16, 3)
    assert {row["task"] for row in result["ratios"]} == {"batch", "step of training"}
    assert all(row["ratio"] > 0 for row in result["ratios"])
    assert sources.agent.updates == 2 * 3
