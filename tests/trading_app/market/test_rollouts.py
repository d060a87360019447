"""Rewards of paths: those of the accounts that trade, with the gradient that a policy can follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from data.providers.planted import PanelConfig, planted_panel
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.rollouts import RollsOut
from rl_core.training import train
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market
from trading_app.synthetic.planted import PlantedMarket
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_problem import PlantedConfig
from trading_app.synthetic.planted_score import PlantedScore

LEARNER = SACConfig(
    agent="direct",
    width=16,
    banks=2,
    batch_size=64,
    activation="silu",
    actor_lr=3e-3,
    relaxed_lr_multiplier=2.0,
)


def market(seeds: tuple[int, ...] = (0, 1), **config: Any) -> Market:
    panel = planted_panel("world", PanelConfig(assets=4, sessions=450, r2=0.05, seed=2))
    settings = {"window": 2, "features": ("ret_1", "world:forecast"), "actions": "tilt", **config}
    return Market(
        panel.prices.with_signals([panel.signals]),
        config=MarketConfig(**settings),
        costs=CostModel(half_spread_bps=10),
        seeds=seeds,
        start=panel.prices.dates[260],
        end=panel.prices.dates[-1],
        dtype=torch.float64,
    )


def policy(scale: Tensor | float = 1.0) -> Any:
    return lambda x: torch.tanh(scale * (0.5 * x[..., -4] + 3.0 * x[..., 0]))


@pytest.mark.parametrize("actions", ["tilt", "long-only", "long-short"])
@pytest.mark.parametrize("band", [0.0, 0.02])
@pytest.mark.parametrize("rebalance", ["daily", "weekly"])
def test_rewards_are_those_of_accounts_that_were_stepped(actions: str, band: float, rebalance: str) -> None:
    env = market((0,), actions=actions, no_trade_band=band, rebalance=rebalance)
    assert isinstance(env, RollsOut)
    found = env.roll_out(policy(), 3, 5, 12)
    other = market((0,), actions=actions, no_trade_band=band, rebalance=rebalance)
    _, day, weights = other.transitions.draw_holdings(3, 5, 12)
    rules = other.account_rules(50)
    state = rules.place(day.numpy(), weights.double().numpy())
    rewards = []
    for _ in range(12):
        action = policy()(other.encode(torch.from_numpy(rules.observation(state))))
        state, reward, *_ = rules.step(state, action.double().numpy())
        rewards.append(reward)
    assert found.detach().numpy() == pytest.approx(np.mean(rewards, axis=(0, 2)), abs=1e-6)


@pytest.mark.parametrize("rebalance", ["daily", "weekly"])
def test_the_gradient_goes_through_holdings_and_costs(rebalance: str) -> None:
    def value(scale: Tensor | float) -> Tensor:
        return market((0,), rebalance=rebalance).roll_out(policy(scale), 0, 8, 15)[0]

    scale = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    value(scale).backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    step = 1e-3
    expected = (value(0.7 + step) - value(0.7 - step)) / (2 * step)
    assert float(scale.grad) == pytest.approx(float(expected), rel=0.02)


def test_inside_the_band_the_gradient_is_that_of_an_order() -> None:
    scale = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    market((0,), no_trade_band=0.5).roll_out(policy(scale), 0, 8, 10).sum().backward()
    assert scale.grad is not None
    assert float(scale.grad.abs()) > 0


@pytest.mark.parametrize(("breaking", "least"), [(0.0, 0.85), (1.0, 0.75)], ids=["intact", "broken"])
def test_it_learns_a_planted_problem(breaking: float, least: float) -> None:
    config = PlantedConfig(assets=4).broken(exchange=breaking, mirror=breaking)
    env = PlantedHistory(config, periods=500, seeds=(0, 1))
    learner = LEARNER.replace(relaxed_lr_multiplier=20.0)
    agent = train(env, learner, seeds=env.seeds, steps=150).agent
    shares = PlantedScore(config).share(lambda x: agent.act(x, deterministic=True), seeds=2)
    assert float(shares.min()) > least


def test_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    learner = LEARNER.replace(batch_size=8, horizon=5, actor_average=0.9)
    options: dict[str, Any] = {"seeds": (0, 1), "checkpoint_every": 3, "log_every": 1}
    whole = train(market(), learner, steps=6, **options)
    train(market(), learner, steps=3, directory=tmp_path, **options)
    rest = train(market(), learner, steps=6, directory=tmp_path, resume=True, **options)
    assert torch.equal(whole.agent.flat.values, rest.agent.flat.values)
    assert torch.isfinite(whole.agent.flat.values).all()
    assert "objective" in whole.history[-1]
    start = type(whole.agent)(market().symmetry, learner, (0, 1))
    assert not torch.equal(start.actor_values, whole.agent.actor_values)
    assert torch.equal(start.critic_values, whole.agent.critic_values)


def test_an_environment_without_such_rewards_is_refused() -> None:
    env = PlantedMarket(PlantedConfig(assets=2))
    with pytest.raises(
        ConfigError, match="agent 'direct' follows the gradient of rewards, but PlantedMarket"
    ):
        train(env, LEARNER, seeds=env.seeds, steps=1)
