from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.blocks import BLOCK, day_of
from rl_core.experience.replay import Batch
from rl_core.experience.transitions import HeldByDay, MakesTransitions, disturb
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.training import train
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_problem import PlantedConfig

SEEDS = (0, 1)
SETTINGS = {
    "width": 8,
    "batch_size": 32,
    "activation": "silu",
    "transitions": "made",
    "row_values": True,
    "actor_average": 0.9,
}


def market(seeds: tuple[int, ...] = SEEDS, **config: float) -> PlantedHistory:
    return PlantedHistory(PlantedConfig(assets=3, **config), periods=90, seeds=seeds, reward_scale=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("days", [2, 3, 40, 42, 63, 70, 90, 2500])
def test_halves_of_a_batch_are_from_blocks_apart_and_cover_the_history(days: int) -> None:
    uniform = torch.linspace(0, 1 - 1e-6, 20_000).repeat(2, 2)
    day = day_of(uniform, days)
    first, second = (set(half.flatten().tolist()) for half in day.chunk(2, dim=1))
    assert first | second == set(range(days))
    assert not first & second
    if days >= 2 * BLOCK:
        assert all((d // BLOCK) % 2 == 0 for d in first)


def test_holdings_are_those_of_the_policy_the_day_before() -> None:
    held = HeldByDay(2, 10, 3, torch.device("cpu"))
    day = torch.tensor([[1, 4], [2, 2]])
    held.store(day, torch.ones(2, 2, 3))
    assert held.at(torch.tensor([[1, 0], [2, 9]]))[..., 0].tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_of_equal_days_the_last_one_of_the_batch_is_stored() -> None:
    held = HeldByDay(1, 50, 3, torch.device("cpu"))
    day = torch.arange(50).repeat(1000)[None]
    held.store(day, torch.arange(50_000.0)[None, :, None].expand(-1, -1, 3))
    assert held.values[0, :, 0].tolist() == list(range(49_950, 50_000))


def test_holdings_are_disturbed_within_their_bounds() -> None:
    held = torch.tensor([[[0.5, -1.0]]]).expand(1, 4000, 2)
    moved = disturb(Noise((0,)), 0, held)
    assert (moved[..., 0] - 0.5).std().item() == pytest.approx(0.1, rel=0.1)
    assert moved.abs().max() <= 1


def test_made_transitions_are_those_that_the_environment_steps() -> None:
    """The same day, holdings and action: reward and next observation agree."""
    env = market(return_noise=2.0)
    assert isinstance(env, MakesTransitions)

    def act(observation: Tensor) -> Tensor:
        return 0.3 * observation[..., 0].tanh() + 0.2

    batch = env.make_transitions(act, 3, 64, discount=0.95)
    day = (env.signals[:, :, None] == batch.observation[:, None, :, :, 0]).all(-1).float().argmax(1)
    stepped = market(return_noise=2.0)
    stepped.n_envs = 64
    stepped._day, stepped._position, stepped._age = day, batch.observation[..., 1], 0
    outcome = stepped.step(batch.action)
    torch.testing.assert_close(outcome.reward, batch.reward.sum(-1))
    torch.testing.assert_close(outcome.final_observation, batch.next_observation)
    assert (batch.discount == 0.95).all()


def test_a_seed_makes_alone_what_it_makes_in_a_batch() -> None:
    def act(observation: Tensor) -> Tensor:
        return observation[..., 0].tanh()

    both, alone = market(), market((1,))
    for draw in range(3):
        together = both.make_transitions(act, draw, 16, discount=0.9)
        own = alone.make_transitions(act, draw, 16, discount=0.9)
    for part, expected in zip(together, own, strict=True):
        torch.testing.assert_close(part[1:], expected, rtol=0, atol=0)


@pytest.mark.parametrize("agent", ["relaxed", "exact", "dense"])
def test_training_on_made_transitions_resumes_bit_for_bit(agent: str, tmp_path: Path) -> None:
    config = SACConfig.from_dict({**SETTINGS, "agent": agent})
    whole = train(market(), config, seeds=SEEDS, steps=8)
    train(market(), config, seeds=SEEDS, steps=5, directory=tmp_path, checkpoint_every=5)
    resumed = train(market(), config, seeds=SEEDS, steps=8, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)
    assert whole.agent.average is not None
    assert torch.equal(whole.agent.average_values, resumed.agent.average_values)
    assert whole.agent.updates == 8


def test_a_share_of_the_actions_explores_and_a_training_resumes(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Watched(PlantedHistory):
        def make_transitions(self, *arguments: Any, **options: Any) -> Batch:
            batch = super().make_transitions(*arguments, **options)
            seen.append(batch.action)
            return batch

    config = SACConfig.from_dict({**SETTINGS, "exploration": 0.25, "batch_size": 400})
    whole = train(
        Watched(PlantedConfig(assets=3), periods=90, seeds=SEEDS, reward_scale=0.1),
        config,
        seeds=SEEDS,
        steps=4,
    )
    plain = config.replace(exploration=0.0)
    train(
        Watched(PlantedConfig(assets=3), periods=90, seeds=SEEDS, reward_scale=0.1),
        plain,
        seeds=SEEDS,
        steps=1,
    )
    explored = (seen[0] != seen[4]).any(-1).float().mean()
    assert 0.2 < explored < 0.3
    train(market(), config, seeds=SEEDS, steps=2, directory=tmp_path, checkpoint_every=2)
    resumed = train(market(), config, seeds=SEEDS, steps=4, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)


@pytest.mark.parametrize("agent", ["relaxed", "exact", "dense"])
def test_critics_that_start_at_zero_value_nothing(agent: str) -> None:
    env = market()
    started = SAC(
        env.symmetry, SACConfig.from_dict({**SETTINGS, "agent": agent, "critic_start": "zero"}), SEEDS
    )
    batch = env.make_transitions(started.act, 0, 32, discount=0.9)
    values = started.critic(started.critic.pack(batch.observation, batch.action))
    assert not values.any()


def test_an_agent_with_one_value_learns_from_the_sum_of_rows() -> None:
    config = SACConfig.from_dict({**SETTINGS, "row_values": False})
    result = train(market(), config, seeds=SEEDS, steps=2)
    assert result.agent.updates == 2


class TotalRewards(PlantedHistory):
    def make_transitions(
        self, act: Callable[[Tensor], Tensor], draw: int, size: int, *, discount: float
    ) -> Batch:
        batch = super().make_transitions(act, draw, size, discount=discount)
        return batch._replace(reward=batch.reward.sum(-1))


def test_values_of_rows_need_rewards_of_rows() -> None:
    env = TotalRewards(PlantedConfig(assets=3), periods=90, seeds=SEEDS)
    with pytest.raises(ConfigError, match="row_values needs rewards of rows"):
        train(env, SACConfig.from_dict(SETTINGS), seeds=SEEDS, steps=1)


def test_what_made_transitions_need_is_said() -> None:
    from trading_app.synthetic.planted import PlantedMarket

    config = SACConfig.from_dict(SETTINGS)
    with pytest.raises(ConfigError, match="PlantedMarket has no make_transitions"):
        train(PlantedMarket(seeds=SEEDS), config, seeds=SEEDS, steps=1)
    with pytest.raises(ConfigError, match="action_repeat: made transitions"):
        train(market(), config, seeds=SEEDS, steps=1, action_repeat=2)
    with pytest.raises(ConfigError, match="n_step is 3"):
        config.replace(n_step=3)
    with pytest.raises(ConfigError, match="row_values needs rewards by row"):
        config.replace(transitions="stored")


def test_a_made_transition_that_is_not_finite_stops_training() -> None:
    env = market()
    env.returns[0, 5] = float("nan")
    result = train(env, SACConfig.from_dict(SETTINGS), seeds=SEEDS, steps=20, log_every=1)
    assert result.stopped == "environment: a made transition is not finite; correct the environment"


def test_deterministic_actions_are_those_of_the_averaged_actor() -> None:
    config = SACConfig.from_dict(SETTINGS)
    agent = train(market(), config, seeds=SEEDS, steps=6).agent
    x = torch.randn(2, 4, 3, 2)
    averaged = agent.act(x, deterministic=True)
    agent.average_values.copy_(agent.actor_values)
    agent.refresh()
    assert not torch.equal(agent.act(x, deterministic=True), averaged)
