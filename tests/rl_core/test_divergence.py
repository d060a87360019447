"""Diverged seeds: frozen at their last good parameters, while the others train on as if nothing had been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.sac import SAC
from rl_core.training import TrainResult, train
from tests.rl_core.problems import SMALL, Point
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_problem import PlantedConfig


class Steep(Point):
    """A point whose second seed has huge rewards from a step on."""

    def __init__(self, seeds: tuple[int, ...], factor: float, since: int) -> None:
        super().__init__(seeds)
        self.factor, self.since = factor, since

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        x, reward, *rest = super().step(action)
        if self.draws >= self.since:
            reward = torch.cat([reward[:1], self.factor * reward[1:2], reward[2:]])
        return x, reward, *rest  # type: ignore[return-value]


def run(
    steps: int,
    *,
    factor: float = 1e30,
    since: int = 20,
    directory: Path | None = None,
    config: SACConfig = SMALL,
    seeds: tuple[int, ...] = (3, 4, 5),
) -> TrainResult:
    return train(
        Steep(seeds, factor, since),
        config,
        seeds=seeds,
        steps=steps,
        directory=directory,
        resume=directory is not None,
        log_every=5,
        checkpoint_every=20,
    )


def of_seed(agent: SAC, place: int) -> Tensor:
    """All parameters of a seed, its target's included."""
    networks = (agent.actor, agent.critic, agent.target)
    parameters = [*(p for network in networks for p in network.parameters()), agent.log_alpha]
    return torch.cat([p.detach().view(len(agent.seeds), -1)[place] for p in parameters])


@pytest.mark.parametrize("gradient", ["autograd", "fused"])
@pytest.mark.parametrize(("factor", "since"), [(1e30, 20), (1e9, 20), (1e30, 0)])
def test_other_seeds_train_on_bit_for_bit(
    gradient: str, factor: float, since: int, caplog: pytest.LogCaptureFixture
) -> None:
    config = SMALL.replace(gradient=gradient, updates_per_step=2, relaxed_decay=0.1)
    result = run(120, factor=factor, since=since, config=config)
    whole = run(120, factor=1.0, config=config)
    assert result.diverged == (False, True, False)
    assert result.stopped is None
    assert not any(whole.diverged)
    for place in (0, 2):
        assert torch.equal(of_seed(result.agent, place), of_seed(whole.agent, place))
    for line, expected in zip(result.history, whole.history, strict=True):
        if line["seed"] != 4:
            assert line.pop("diverged", 0.0) == 0.0
            assert line == expected
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith("seed 4 diverged by step")
    assert "healthy and unaffected: seed 3, 5" in message
    assert "lower the learning rate" in message
    assert "\n" not in message


def test_diverged_seed_keeps_its_last_good_parameters() -> None:
    result = run(120)
    marks = [line["step"] for line in result.history if line["seed"] == 4 and line.get("diverged") == 1.0]
    assert marks == list(range(marks[0], 121, 5))
    good = run(marks[0] - 5)
    assert not any(good.diverged)
    kept = of_seed(result.agent, 1)
    assert kept.isfinite().all()
    assert torch.equal(kept, of_seed(good.agent, 1))
    assert not torch.equal(kept, of_seed(run(5).agent, 1))
    assert result.agent.act(torch.zeros(3, 1, 1), deterministic=True).isfinite().all()


def test_resume_keeps_the_mark(tmp_path: Path) -> None:
    whole = run(120)
    first = run(80, directory=tmp_path)
    assert first.diverged == (False, True, False)
    resumed = run(120, directory=tmp_path)
    assert resumed.diverged == first.diverged
    for place in range(3):
        assert torch.equal(of_seed(resumed.agent, place), of_seed(whole.agent, place))
    assert resumed.history == whole.history
    lines = [json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines()]
    assert lines == whole.history


def test_parameter_that_is_not_finite_is_a_divergence() -> None:
    # The losses of a step show what its parameters were before it.
    config = SMALL.replace(actor_lr=1e38, learning_starts=8)
    result = train(Point((0,)), config, seeds=(0,), steps=4, log_every=1)
    assert result.diverged == (True,)
    assert of_seed(result.agent, 0).isfinite().all()


def test_training_stops_when_all_seeds_have_diverged() -> None:
    wild = SMALL.replace(divergence_limit=1e-9)
    result = train(Point((0,)), wild, seeds=(0,), steps=50, log_every=5)
    assert result.stopped is not None
    assert "seed 0" in result.stopped
    assert len(result.history) == 1
    steep = SMALL.replace(actor_lr=1e38, critic_lr=1e38)
    both = train(Point((0, 1)), steep, seeds=(0, 1), steps=60, log_every=5)
    assert both.diverged == (True, True)
    assert both.stopped is not None
    assert both.stopped.startswith("all seeds diverged: ")
    assert "lower the learning rate" in both.stopped
    for place in range(2):
        assert of_seed(both.agent, place).isfinite().all()


def test_the_averaged_actor_of_a_diverged_seed_keeps_its_last_good_parameters() -> None:
    config = SMALL.replace(actor_average=0.9)
    result = run(120, config=config)
    marks = [line["step"] for line in result.history if line.get("diverged") == 1.0]
    good, x = run(marks[0] - 5, config=config), torch.zeros(3, 1, 1)
    actions = result.agent.act(x, deterministic=True)
    assert actions.isfinite().all()
    assert torch.equal(actions[1], good.agent.act(x, deterministic=True)[1])


def test_a_diverged_seed_of_made_transitions_leaves_the_others_as_they_are() -> None:
    def trained(factor: float) -> TrainResult:
        env = PlantedHistory(PlantedConfig(assets=3), periods=90, seeds=(0, 1))
        env.returns[1] *= factor
        config = SACConfig(
            agent="relaxed",
            relaxation="evidence",
            transitions="made",
            row_values=True,
            actor_average=0.9,
            width=8,
            batch_size=16,
            activation="silu",
        )
        return train(env, config, seeds=(0, 1), steps=100, log_every=5)

    result, whole = trained(1e15), trained(1.0)
    assert result.diverged == (False, True)
    x = torch.randn(2, 4, 3, 2)
    actions = result.agent.act(x, deterministic=True)
    assert torch.equal(actions[0], whole.agent.act(x, deterministic=True)[0])
    assert actions.isfinite().all()
