from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from data.errors import DataError
from data.prices import Prices
from rl_core.config import SACConfig
from rl_core.experience.transitions import MakesTransitions
from rl_core.training import train
from trading_app.market.accounts import AccountRules
from trading_app.market.costs import CostModel
from trading_app.market.env import Market, MarketConfig

N, T = 4, 140
LEARNER = SACConfig(
    agent="relaxed",
    width=8,
    banks=2,
    batch_size=16,
    activation="silu",
    transitions="made",
    row_values=True,
    actor_average=0.9,
)


def prices(*, gaps: bool = False, seed: int = 0, volatility: float = 0.02) -> Prices:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(volatility * rng.standard_normal((T, N)), axis=0))
    opens = close * np.exp(0.005 * rng.standard_normal((T, N)))
    volume = rng.uniform(1e4, 1e6, (T, N))
    if gaps:
        for t, i in ((70, 0), (71, 0), (90, 1), (91, 2)):
            close[t, i] = opens[t, i] = np.nan
        volume[100, 3] = 0.0
    dates = pd.bdate_range("2020-01-01", periods=T)
    names = [f"A{i}" for i in range(N)]
    frames = {"open": opens, "close": close, "volume": volume}
    columns = {field: pd.DataFrame(values, dates, names) for field, values in frames.items()}
    return Prices.from_frames("made", **columns)


def market(panel: Prices | None = None, seeds: tuple[int, ...] = (0, 1), **config: Any) -> Market:
    costs = config.pop("costs", CostModel(half_spread_bps=20, borrow_bps=300, risk_free=0.02))
    settings = {"window": 2, "features": ("ret_1",), **config}
    return Market(
        prices() if panel is None else panel,
        config=MarketConfig(**settings),
        costs=costs,
        seeds=seeds,
        start="2020-03-02",
        end="2020-06-30",
        dtype=torch.float64,
    )


def act(observation: Tensor) -> Tensor:
    return torch.tanh(20 * observation[..., 0] + observation[..., -2])


@pytest.mark.parametrize("gaps", [False, True], ids=["every session", "gaps"])
@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize("actions", ["long-only", "long-short"])
@pytest.mark.parametrize("impact", [0.0, 0.1])
def test_made_transitions_are_those_of_accounts_that_were_stepped(
    actions: str, fill: str, gaps: bool, impact: float
) -> None:
    """An account is stepped day by day; from its weights on each day the same action has the same outcome."""
    costs = CostModel(half_spread_bps=20, borrow_bps=300, risk_free=0.02, impact_coefficient=impact)
    env = market(prices(gaps=gaps), (0,), actions=actions, fill=fill, costs=costs, gross_limit=1.5)
    rules = env.account_rules(200)
    first, last = env.decisions
    state = rules.start(np.full((1, 1), first))
    rng = np.random.default_rng(1)
    for day in range(first, last + 1):
        action = rng.uniform(-1, 1, (1, 1, N))
        outcome = rules.step(state, action)
        if day > first:
            made = rules.place(np.full((1, 1), day), state["weights"].copy())
            np.testing.assert_allclose(made["held"], state["held"], atol=1e-12)
            own = rules.step(made, action)
            np.testing.assert_allclose(own.reward, outcome.reward, atol=1e-12)
            np.testing.assert_allclose(own.state["weights"], outcome.state["weights"], atol=1e-12)
        state = outcome.state


@pytest.mark.parametrize("reward", ["log", "mean-variance"])
def test_rewards_of_assets_sum_to_the_reward_and_are_what_each_earned(reward: str) -> None:
    env = market(reward=reward, reward_scale=100.0)
    assert isinstance(env, MakesTransitions)
    batch = env.make_transitions(act, 0, 32, discount=0.9)
    assert batch.reward.shape == (2, 32, N)
    rules, day = env.account_rules(9), np.arange(80, 96)
    state = rules.place(day, np.random.default_rng(0).uniform(-0.2, 0.2, (16, N)))
    outcome = rules.step(state, np.random.default_rng(1).uniform(-1, 1, (16, N)))
    growth = 1 + rules.asset_returns(outcome.fill).sum(-1)
    # Returns less costs explain the reward but for interest and terms of second order.
    np.testing.assert_allclose(outcome.reward / 100, np.log(growth), atol=2e-3)
    assert batch.observation.shape == batch.next_observation.shape
    assert (batch.discount == 0.9).all()


@pytest.mark.parametrize("gaps", [False, True], ids=["every session", "gaps"])
@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_parts_of_assets_sum_to_the_return_of_an_account(fill: str, gaps: bool, backend: str) -> None:
    """Without interest on cash, nothing is left to share: trading costs, impact and borrow fees belong to assets."""
    costs = CostModel(
        half_spread_bps=20, borrow_bps=3000, impact_coefficient=0.1, risk_free=0.0, financing_spread_bps=0.0
    )
    env = market(prices(gaps=gaps), (0,), actions="long-short", fill=fill, costs=costs, gross_limit=1.5)
    first, last = env.decisions
    day = np.arange(first + 1, last + 1)
    weights, action = np.random.default_rng(2).uniform(-0.3, 0.3, (2, len(day), N))
    options: dict[str, Any] = {"dtype": np.float64}
    convert: Any = np.asarray
    if backend == "torch":
        options, convert = {"backend": torch, "dtype": torch.float64}, torch.from_numpy
    rules = AccountRules(env.panel, env.config, env.costs, length=9, **options)
    before = rules.place(convert(day), convert(weights))
    outcome = rules.step(before, convert(action))
    growth = outcome.state["value"] / before["value"]
    np.testing.assert_allclose(rules.asset_returns(outcome.fill).sum(-1), growth - 1, atol=1e-12)


def test_an_asset_pays_its_own_borrow_fee_and_trading_cost() -> None:
    costs = CostModel(commission_bps=10, half_spread_bps=0, borrow_bps=500)
    env = market(actions="long-short", fill="next_close", costs=costs)
    rules = env.account_rules(9)
    action = np.array([0.4, -0.3, 0.0, 0.0])
    outcome = rules.step(rules.place(np.int64(90), np.zeros(N)), action)
    target = env.targets(torch.from_numpy(action), 90).numpy()
    growth = env.panel.close[92] / env.panel.close[91]
    kept = 1 / (1 + 10e-4 * np.abs(target).sum())
    fee = np.maximum(-target, 0) * 0.05 / 252
    wanted = kept * (target * (growth - 1) - fee - 10e-4 * np.abs(target))
    np.testing.assert_allclose(rules.asset_returns(outcome.fill), wanted, atol=1e-12)


def test_a_ruined_account_ends_without_weights() -> None:
    wild = prices(volatility=0.15)
    env = market(wild, actions="long-short", gross_limit=20.0, max_weight=20.0, costs=CostModel.free())
    env.encode = lambda observation: observation  # type: ignore[method-assign]  # compact: day and weights
    policy = lambda x: torch.sin(1e3 * x[..., :1] * torch.arange(1.0, N + 1))  # noqa: E731
    for draw in range(20):
        batch = env.make_transitions(policy, draw, 128, discount=0.9)
        ruined = batch.discount == 0
        assert all(torch.isfinite(part).all() for part in batch)
        assert (batch.next_observation[ruined][:, 1:] == 0).all()
    assert ruined.any()
    assert not ruined.all()
    assert torch.isfinite(env.transitions.held.values).all()


@pytest.mark.parametrize("actions", ["long-only", "long-short"])
def test_weights_before_an_action_are_feasible(actions: str) -> None:
    env = market(prices(gaps=True), actions=actions)
    env.encode = lambda observation: observation  # type: ignore[method-assign]  # compact: day and weights
    for draw in range(60):
        batch = env.make_transitions(lambda x: x[..., 1:].cos(), draw, 64, discount=0.9)
        weights = batch.observation[..., 1:]
        assert weights.abs().sum(-1).max() < 1.15
        assert actions == "long-short" or bool((weights >= 0).all() and (weights.sum(-1) <= 1 + 1e-6).all())


def test_holdings_follow_the_policy() -> None:
    env = market(seeds=(0,))
    for draw in range(60):
        env.make_transitions(lambda x: torch.ones_like(x[..., 0]), draw, 64, discount=0.9)
    target = env.targets(torch.ones(1, N, dtype=torch.float64), 90)
    held = env.transitions.held.values[0, 1:]
    torch.testing.assert_close(held.mean(0), target[0].float(), atol=0.02, rtol=0.05)


def test_no_price_after_the_end_is_read() -> None:
    whole = prices()
    frames = {field: whole.field(field).copy() for field in whole.fields}
    after = whole.dates > "2020-06-30"
    assert after.any()
    for frame in frames.values():
        frame.loc[after] *= 7.0
    other = Prices.from_frames("made", **frames)
    for k in range(4):
        own = market(whole).make_transitions(act, k, 64, discount=0.9)
        changed = market(other).make_transitions(act, k, 64, discount=0.9)
        for a, b in zip(own, changed, strict=True):
            assert torch.equal(a, b)


def test_a_seed_makes_alone_what_it_makes_in_a_batch() -> None:
    both, alone = market(), market(seeds=(1,))
    for draw in range(3):
        together = both.make_transitions(act, draw, 16, discount=0.9)
        own = alone.make_transitions(act, draw, 16, discount=0.9)
    for part, expected in zip(together, own, strict=True):
        assert torch.equal(part[1:], expected)


@pytest.mark.parametrize("actions", ["long-only", "long-short"])
def test_training_on_made_transitions_resumes_bit_for_bit(actions: str, tmp_path: Path) -> None:
    env = lambda: market(prices(gaps=True), actions=actions)  # noqa: E731
    whole = train(env(), LEARNER, seeds=(0, 1), steps=6)
    train(env(), LEARNER, seeds=(0, 1), steps=4, directory=tmp_path, checkpoint_every=4)
    resumed = train(env(), LEARNER, seeds=(0, 1), steps=6, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)


def test_a_reward_with_a_memory_is_refused() -> None:
    with pytest.raises(DataError, match="differential-sharpe depends on the rewards before"):
        market(reward="differential-sharpe").make_transitions(act, 0, 4, discount=0.9)
