"""Evidence on the return above the reference: contributions, the asset a result depends on, capacity."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices
from trading_app import backtest
from trading_app.backtesting.above_reference import above_reference, capacity, drop_one_asset
from trading_app.backtesting.summary import evidence
from trading_app.market.costs import CostModel
from trading_app.report.tables import benchmark_table

DATES = pd.bdate_range("2018-01-01", periods=400)
IMPACT = CostModel(impact_coefficient=0.1, borrow_bps=80, risk_free=0.03, capital=1e6)


def market(volume: bool = True, star: float = 0.0, costs: CostModel = IMPACT) -> Any:
    """Backtests of an agent that holds more of the first of four assets, which gains `star` a session more."""
    rng = np.random.default_rng(1)
    drift = 0.0002 + star * (np.arange(4) == 0)
    close = pd.DataFrame(
        100 * np.exp(np.cumsum(rng.normal(drift, 0.01, (400, 4)), axis=0)), DATES, list("ABCD")
    )
    fields = {"close": close, "open": close.shift(1).bfill()}
    if volume:
        fields["volume"] = pd.DataFrame(1e5, DATES, list("ABCD"))
    prices = Prices.from_frames("made", **fields)
    even = pd.DataFrame(np.nan, DATES, list("ABCD"))
    even.iloc[::21] = 0.25
    tilted = pd.DataFrame(0.2, DATES, list("ABCD"))
    tilted["A"] = 0.4 + 0.05 * rng.standard_normal(400)
    tilted["D"] = -0.1
    return backtest(prices, {"agent": tilted, "equal-weight": even}, costs=costs)


def test_contributions_interest_and_fees_sum_to_the_returns() -> None:
    results = market()
    for name in results.names:
        result = results.strategy(name)
        account = result.equity.shift(1).iloc[1:]
        nightly = (result.costs["interest"] - result.costs["borrow"]).iloc[1:] / account
        pd.testing.assert_series_equal(
            result.contributions.sum(axis=1) + nightly, result.returns, check_names=False, atol=1e-12
        )


def test_the_asset_that_a_gain_comes_from_is_named() -> None:
    results = market(star=0.004)
    own, other = (results.strategy(name) for name in results.names)
    found = drop_one_asset(own, other)
    assert found["symbol"] == "A"
    total = 252 * float((own.returns - other.returns).mean())
    assert total > 0.1
    assert found["without"]["value"] == pytest.approx(total - found["contributions"]["A"])
    assert found["without"]["low"] < found["without"]["value"] < found["without"]["high"]


def test_an_index_is_a_benchmark_without_costs() -> None:
    results = market()
    index = (0.9 * results.returns["equal-weight"] - 0.0001).rename("index")
    document = evidence(results, reps=20, benchmark=index)
    found = document["above_benchmark"]
    assert found["name"] == "index"
    own = results.strategy("agent")
    fit = np.polyfit(index - 0.03 / 252, own.returns - 0.03 / 252, 1)
    assert found["estimates"]["beta"]["value"] == pytest.approx(fit[0])
    assert found["estimates"]["alpha"]["value"] == pytest.approx(252 * fit[1])
    table = benchmark_table(document)
    assert table is not None
    assert "benchmark index" in table.caption
    assert len(table.rows) == 10


def test_capacity_falls_with_the_size_of_the_account() -> None:
    found = capacity(market(star=0.004), "agent", "equal-weight")
    assert found["reason"] is None
    capitals = [point["capital"] for point in found["points"]]
    assert capitals == pytest.approx([1e5, 1e6, 1e7, 1e8, 1e9])
    means = [point["active_return"]["value"] for point in found["points"]]
    assert (np.diff(means) < 0).all()
    results = market(star=0.004)
    own = results.returns
    assert means[1] == pytest.approx(252 * float((own["agent"] - own["equal-weight"]).mean()))
    # At the limit the mean is zero, up to the interpolation.
    at_limit = market(star=0.004, costs=replace(IMPACT, capital=found["limit"])).returns
    assert 252 * float((at_limit["agent"] - at_limit["equal-weight"]).mean()) == pytest.approx(0, abs=0.02)


def test_capacity_states_why_there_is_none() -> None:
    assert capacity(market(volume=False), "agent", "equal-weight")["reason"] == "the prices have no volume"
    free = capacity(market(costs=CostModel()), "agent", "equal-weight")
    assert "impact_coefficient is 0" in free["reason"]
    assert free["points"] == []
    assert free["limit"] is None


def test_above_reference_is_part_of_the_evidence() -> None:
    results = market()
    document = evidence(results, reps=20, trials=7, active=np.zeros((2, 400, 4)))
    found = document["above_reference"]
    assert set(found["estimates"]) >= {"alpha", "beta", "tracking_error", "information_ratio"}
    assert found["sharpe"] == pytest.approx(found["estimates"]["information_ratio"]["value"])
    assert found["deflated_sharpe"] < found["probabilistic_sharpe"]
    held = [results.strategy(name).weights.to_numpy()[1:] for name in results.names]
    assert found["active_share"] == pytest.approx(0.5 * abs(held[0] - held[1]).sum(axis=1).mean())
    assert {name for name, entry in found["regimes"].items() if entry["sessions"]} == set(found["regimes"])
    assert document["departure"]["shared"]["value"] is None


def test_an_agent_that_is_its_reference_has_no_active_return() -> None:
    results = market()
    same = replace(results, targets=results.targets[[1, 1]], nav=results.nav[[1, 1]])
    found = above_reference(same, "agent", "equal-weight")
    assert found["active_share"] == 0.0
    assert found["estimates"]["active_return"]["value"] == 0.0
    assert found["drop_one"]["without"]["value"] == 0.0
