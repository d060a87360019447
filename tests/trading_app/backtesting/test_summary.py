"""The evidence document of a backtest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trading_app.backtesting.results import trading_costs
from trading_app.backtesting.summary import evidence
from trading_app.evaluation.metrics import metrics


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
