"""Objectives: return above a benchmark, its risk and a penalty of turnover, for accounts and their assets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import DataError
from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import BASELINES
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market

N, T, FIRST = 4, 200, 100
COSTS = CostModel(half_spread_bps=10, borrow_bps=200)


def made_prices(*, opens: bool = True) -> Prices:
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal((T, N)), axis=0))
    frames = {"close": close}
    if opens:
        frames["open"] = close * np.exp(0.004 * rng.standard_normal((T, N)))
    dates = pd.bdate_range("2020-01-01", periods=T)
    names = [f"A{i}" for i in range(N)]
    return Prices.from_frames("made", **{f: pd.DataFrame(v, dates, names) for f, v in frames.items()})


def market(prices: Prices, costs: CostModel = COSTS, **changes: Any) -> Market:
    settings: dict[str, Any] = {"actions": "tilt", "window": 3, "features": ("ret_1",), "reward": "active"}
    config = MarketConfig(**{**settings, **changes})
    return Market(prices, config=config, costs=costs, start=prices.dates[FIRST], dtype=torch.float64)


@pytest.mark.parametrize("opens", [True, False])
@pytest.mark.parametrize(
    ("name", "baseline"), [("base", "inverse-volatility"), ("min-variance", "min-variance")]
)
def test_a_benchmark_is_the_backtest_of_its_portfolio(name: str, baseline: str, opens: bool) -> None:
    prices = made_prices(opens=opens)
    env = market(
        prices, base="inverse-volatility", benchmark=name, rebalance="weekly", costs=CostModel.free()
    )
    targets = BASELINES[baseline](prices, prices.dates[FIRST], rebalance="weekly")
    assert env.benchmark is not None
    assert env.benchmark.targets is not None
    np.testing.assert_allclose(env.benchmark.targets[FIRST : T - 2], targets.to_numpy()[: T - 2 - FIRST])
    if not opens:  # returns are from the close of a fill to the next close, as those of the backtest
        start, account = prices.dates[FIRST], env.config.account
        result = backtest(prices, targets, costs=CostModel.free(), start=start, **account)
        growth = np.cumprod(1 + env.benchmark.returns[FIRST : T - 2])
        np.testing.assert_allclose(growth, result.equity.to_numpy()[2:], rtol=1e-10)


def test_the_base_itself_earns_nothing_above_it() -> None:
    env = market(made_prices(), rebalance="monthly")
    rules = env.account_rules(T)
    state = rules.start(np.int64(FIRST))
    for _ in range(FIRST, T - 2):
        outcome = rules.step(state, np.zeros(N))
        assert float(outcome.reward) == pytest.approx(0.0, abs=1e-12)
        np.testing.assert_allclose(rules.asset_rewards(outcome.fill), 0.0, atol=1e-12)
        state = outcome.state


@pytest.mark.parametrize("benchmark", ["base", "A2", "equal-weight"])
def test_the_active_reward_is_the_difference_less_its_risk(benchmark: str) -> None:
    prices = made_prices()
    changes: dict[str, Any] = {"benchmark": benchmark, "risk_aversion": 8.0, "turnover_penalty": 0.01}
    env = market(prices, reward_scale=100.0, **changes)
    plain = market(prices, reward="mean-variance", risk_aversion=0.0)
    assert env.benchmark is not None
    rng = np.random.default_rng(1)
    days = np.arange(FIRST + 1, FIRST + 60)
    weights, action = rng.dirichlet(np.ones(N), 59), rng.uniform(-1, 1, (59, N))
    rules, other = env.account_rules(T), plain.account_rules(T)
    outcome = rules.step(rules.place(days, weights), action)
    own = other.step(other.place(days, weights), action).reward
    fill = outcome.fill
    turnover = 0.5 * np.abs(fill.target * fill.kept[:, None] - fill.held).sum(-1)
    active = own - env.benchmark.returns[days]
    np.testing.assert_allclose(outcome.reward, 100 * (active - 4 * active**2 - 0.01 * turnover), atol=1e-12)
    # The parts of the assets leave out the square alone.
    parts = rules.asset_rewards(fill).sum(-1)
    np.testing.assert_allclose(parts, 100 * (active - 0.01 * turnover), atol=1e-10)


def test_a_batch_of_made_transitions_sums_to_the_active_reward() -> None:
    env = market(made_prices(), turnover_penalty=0.05)
    batch = env.make_transitions(lambda x: torch.tanh(x[..., 0] * 30), 0, 64, discount=0.9)
    assert batch.reward.shape == (1, 64, N)
    assert torch.isfinite(batch.reward).all()


@pytest.mark.parametrize("opens", [True, False])
def test_levels_of_a_file_are_a_benchmark(tmp_path: Path, opens: bool) -> None:
    prices = made_prices(opens=opens)
    levels = prices.close["A1"]
    levels.to_csv(tmp_path / "index.csv")
    env = market(prices, benchmark=str(tmp_path / "index.csv"))
    assert env.benchmark is not None
    later = 1 if opens else 2
    expected = levels.to_numpy()[FIRST + later] / levels.to_numpy()[FIRST + later - 1] - 1
    assert env.benchmark.returns[FIRST] == pytest.approx(expected)
    levels.iloc[:-20].to_csv(tmp_path / "short.csv")
    with pytest.raises(DataError, match="do not cover"):
        _ = market(prices, benchmark=str(tmp_path / "short.csv")).benchmark
    (tmp_path / "text.csv").write_text("date,level\nsoon,high\n")
    with pytest.raises(DataError, match="not a table of dates"):
        _ = market(prices, benchmark=str(tmp_path / "text.csv")).benchmark


def test_a_benchmark_that_does_not_exist_is_refused() -> None:
    with pytest.raises(DataError, match=r"market\.benchmark is 'SPX'"):
        _ = market(made_prices(), benchmark="SPX").benchmark
    with pytest.raises(DataError, match="needs one"):
        MarketConfig(actions="long-only", reward="active")
    with pytest.raises(DataError, match=r"only market\.actions = 'tilt'"):
        MarketConfig(actions="long-only", reward="active", benchmark="base")
