"""Decisions of an agent: causal, true to the backtest's accounts and independent of the batch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import DataError
from data.prices import Prices
from rl_core.config import SACConfig
from rl_core.sac import SAC
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.policies import AgentPolicy
from trading_app.market.costs import CostModel
from trading_app.market.env import Market, MarketConfig

CONFIG = MarketConfig(window=4, episode_length=20)
COSTS = CostModel(borrow_bps=300.0, risk_free=0.02)


def made_prices(sessions: int = 160, assets: int = 3, opens: bool = True, seed: int = 0) -> Prices:
    generator = np.random.default_rng(seed)
    dates = pd.bdate_range("2015-01-01", periods=sessions)
    symbols = [f"A{i}" for i in range(assets)]
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, assets)), axis=0))
    frames = {"close": pd.DataFrame(close, index=dates, columns=symbols)}
    if opens:
        frames["open"] = frames["close"].shift(1).bfill() * np.exp(
            generator.normal(0, 0.005, (sessions, assets))
        )
    return Prices.from_frames("made", **frames)


def policy(prices: Prices, seeds: tuple[int, ...] = (0, 1)) -> AgentPolicy:
    market = Market(prices, config=CONFIG, costs=COSTS, seeds=seeds)
    agent = SAC(market.symmetry, SACConfig(width=8, batch_size=8), seeds)
    with torch.no_grad():
        # Far from zero, so that it trades.
        agent.actor.get_parameter(next(name for name, _ in agent.actor.named_parameters()))
        for parameter in agent.actor.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    agent.refresh()
    return AgentPolicy(agent, CONFIG, COSTS, prices.symbols)


@pytest.mark.parametrize("opens", [True, False])
def test_holdings_along_a_rollout_are_those_of_the_backtest(opens: bool) -> None:
    prices = made_prices(opens=opens)
    one = policy(prices, seeds=(0,))
    path = one.rollout(prices, prices.dates[100])
    result = backtest(prices, path.ensemble, costs=COSTS, start=prices.dates[100])
    assert np.abs(path.ensemble.to_numpy()).max() > 1e-3
    # Replayed with the account's own holdings, the decisions are the same: both moved the same account.
    market = one.market(prices)
    held = np.vstack([np.zeros((1, 3)), _close_weights(prices, result.weights, path.ensemble)])
    for day in range(100, 159):
        again = one.targets(market, day, torch.as_tensor(held[day - 100])[None, None])
        assert np.allclose(again[0, 0].numpy(), path.ensemble.to_numpy()[day - 100], atol=2e-5)


def _close_weights(prices: Prices, filled: pd.DataFrame, targets: pd.DataFrame) -> np.ndarray:
    """Weights at each close after the first, from targets filled at the open (or close) of that session."""
    close = prices.field("close").to_numpy()[100:]
    fill = prices.field("open").to_numpy()[100:] if prices.has_opens else close
    value = targets.to_numpy()[:-1] * (close / fill)[1:]
    cash = 1 - targets.to_numpy()[:-1].sum(axis=1, keepdims=True)
    return np.asarray(value / (value.sum(axis=1, keepdims=True) + cash))


def test_future_prices_change_no_decision() -> None:
    prices = made_prices()
    own = policy(prices)
    changed = {name: frame.copy() for name, frame in prices.fields.items()}
    for frame in changed.values():
        frame.iloc[140:] *= 1.7
    other = Prices.from_frames("made", **changed)
    before, after = own.rollout(prices, prices.dates[100]), own.rollout(other, prices.dates[100])
    assert np.array_equal(before.per_seed[:, :40], after.per_seed[:, :40])
    assert not np.array_equal(before.per_seed[:, 40:], after.per_seed[:, 40:])


def test_decisions_at_a_close_are_those_of_the_rollout() -> None:
    prices = made_prices()
    own = policy(prices)
    cash = np.zeros((1, 3))
    for day in (140, 159):
        decided = own.decide(prices, prices.dates[day], cash)
        assert np.allclose(decided[:, 0], own.rollout(prices, prices.dates[day]).per_seed[:, 0], atol=1e-6)


def test_an_account_gets_the_same_bits_in_every_batch() -> None:
    prices = made_prices()
    own = policy(prices)
    held = np.random.default_rng(1).uniform(-0.2, 0.2, (19, 3))
    together = own.decide(prices, prices.dates[-1], held)
    assert together.shape == (2, 19, 3)
    for place, weights in enumerate(held):
        alone = own.decide(prices, prices.dates[-1], weights[None])
        np.testing.assert_array_equal(together[:, place], alone[:, 0])


def test_unusable_prices_dates_and_holdings_are_refused() -> None:
    prices = made_prices()
    own, cash = policy(prices), np.zeros((1, 3))
    with pytest.raises(DataError, match="trained on 3 other symbols"):
        own.decide(made_prices(assets=2), prices.dates[-1], cash)
    with pytest.raises(DataError, match="is not a session"):
        own.decide(prices, "2015-06-06", cash)
    with pytest.raises(DataError, match="too few"):
        own.decide(prices, prices.dates[5], cash)
    with pytest.raises(DataError, match="held weights"):
        own.decide(prices, prices.dates[-1], np.zeros((1, 4)))


def test_own_holdings_get_no_target_in_what_does_not_trade() -> None:
    prices = made_prices(sessions=400, assets=20, opens=False)
    close = prices.close.copy()
    gone = list(prices.symbols[10:])
    close.loc[close.index[-300:], gone] = np.nan
    holed = Prices.from_frames("holed", close=close)
    held = np.zeros((1, 20))
    held[0, 10:] = 0.05
    targets = policy(holed).decide(holed, holed.dates[-1], held)
    assert (targets[..., 10:] == 0).all()
    assert (targets[..., :10] != 0).any()
