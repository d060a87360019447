"""The gated agent: symmetric at the start, opens its gate where the symmetry is broken, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core.agents.kinds.gated import GatedNetwork
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.learner import Autograd
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial
from rl_core.training import train
from tests.rl_core.problems import SMALL, Point, batch, make, symmetries

C2 = cyclic(2)
MIRROR = Symmetry(C2, sign(C2) + trivial(C2), sign(C2))
PUSH = 0.8
"""Of the reward's best action, where the mirror is broken."""


def gate(agent: SAC, x: Tensor) -> Tensor:
    assert isinstance(agent.actor, GatedNetwork)
    return agent.actor.share(x)


def open_gates(agent: SAC) -> None:
    """Open every gate, and let corrections differ from zero."""
    with torch.no_grad():
        for network in agent.networks.values():
            assert isinstance(network, GatedNetwork)
            network.gate.offset.fill_(1.0)
            for parameter in network.correction.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))


def half_broken(noise: Noise, step: int, size: int, broken: bool) -> Batch:
    """Transitions of a place (x, z): the best action is −x, and in the half z > 0 (if ``broken``) PUSH more."""
    place = noise.uniform("place", step, (size, 2)) * 2 - 1
    action = noise.uniform("action", step, (size, 1)) * 2 - 1
    x, z = place.split(1, dim=-1)
    reward = -((x + action - PUSH * ((z > 0) & broken)) ** 2) + 0.5 * noise.normal("reward", step, (size, 1))
    following = torch.cat([x + 0.3 * action, noise.uniform("next", step, (size, 1)) * 2 - 1], -1)
    return Batch(place, action, reward[..., 0], torch.full(reward.shape[:2], 0.5), following)


def learned(agent: str, broken: bool, updates: int = 220) -> SAC:
    config = SACConfig.from_dict(
        {
            "agent": agent,
            "width": 32,
            "activation": "silu",
            "actor_lr": 3e-3,
            "critic_lr": 3e-3,
            "initial_alpha": 0.1,
        }
    )
    learner, noise = SAC(MIRROR, config, (0, 1)), Noise((0, 1))
    for step in range(updates):
        learner.update(half_broken(noise, step, 128, broken))
    return learner


def corners(z: float) -> Tensor:
    x = torch.linspace(-0.8, 0.8, 9)
    return torch.stack([x, torch.full_like(x, z)], -1).expand(2, -1, -1)


def test_gate_opens_in_the_broken_half_and_stays_shut_in_the_intact_one() -> None:
    agent, exact = learned("gated", broken=True), learned("exact", broken=True)
    assert gate(agent, corners(0.6)).mean() > 0.9
    assert gate(agent, corners(-0.6)).mean() < 0.1
    place = corners(0.6)
    best = (PUSH - place[..., :1]).clamp(-1, 1)
    errors = [(a.act(place, deterministic=True) - best).square().mean() for a in (agent, exact)]
    assert errors[0] < 0.3 * errors[1]


def test_gate_stays_shut_where_the_symmetry_holds() -> None:
    agent = learned("gated", broken=False, updates=120)
    for z in (0.6, -0.6):
        assert gate(agent, corners(z)).mean() < 0.1


@pytest.mark.parametrize("name", symmetries())
def test_start_is_the_exact_agent(name: str) -> None:
    symmetry = symmetries()[name]
    agent, exact = make("gated", symmetry), make("exact", symmetry)
    assert isinstance(agent.gradient, Autograd)
    for network, alone in ((agent.actor, exact.actor), (agent.critic, exact.critic)):
        assert isinstance(network, GatedNetwork)
        assert network.check_equivariance() < 2e-6
        x = torch.randn(2, 3, *network.example_shape())
        a = torch.rand(2, 3, symmetry.action_size)
        inputs = (x, x) if network.ensemble is None else (network.pack(x, a), alone.pack(x, a))
        torch.testing.assert_close(network(inputs[0]), alone(inputs[1]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", symmetries())
def test_gate_is_invariant_and_an_open_one_breaks_the_symmetry(name: str) -> None:
    symmetry = symmetries()[name]
    agent = make("gated", symmetry)
    open_gates(agent)
    assert agent.actor.check_equivariance() > 1e-3
    assert agent.critic.check_equivariance() > 1e-3
    assert isinstance(agent.actor, GatedNetwork)
    network = agent.actor.gate
    with torch.no_grad():
        for parameter in network.model.parameters():
            parameter.add_(torch.randn_like(parameter))
    x = torch.randn(2, 5, *agent.actor.example_shape())
    for g in range(symmetry.group.order):
        torch.testing.assert_close(
            network(symmetry.transform_observation(g, x)), network(x), atol=1e-4, rtol=1e-4
        )


def test_exact_path_learns_nothing_where_the_gate_is_open_but_passes_the_gradient_of_actions() -> None:
    symmetry = symmetries()["C2"]
    agent = make("gated", symmetry)
    critic = agent.critic
    assert isinstance(critic, GatedNetwork)
    for opened in (False, True):
        if opened:
            open_gates(agent)
        x, a = torch.randn(2, 4, critic.example_shape()[0]), torch.rand(2, 4, symmetry.action_size)
        a.requires_grad_()
        critic.zero_grad()
        critic(critic.pack(x, a)).sum().backward()
        exact, free = (
            sum(float(p.grad.abs().sum()) for p in part.parameters() if p.grad is not None)
            for part in (critic.exact, critic.correction)
        )
        assert (exact == 0) == opened
        assert (free > 0) == opened
        assert a.grad is not None
        assert float(a.grad.abs().sum()) > 0


def test_training_resumes_bit_for_bit_and_loads(tmp_path: Path) -> None:
    config = SMALL.replace(agent="gated")
    whole = train(Point((0, 1)), config, seeds=(0, 1), steps=14)
    train(Point((0, 1)), config, seeds=(0, 1), steps=8, directory=tmp_path, checkpoint_every=8)
    resumed = train(Point((0, 1)), config, seeds=(0, 1), steps=14, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)
    states = [result.agent.relaxation.state_dict() for result in (whole, resumed)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    loaded = SAC.load(tmp_path)
    for name, network in loaded.networks.items():
        for own, saved in zip(network.parameters(), whole.agent.networks[name].parameters(), strict=True):
            assert torch.equal(own, saved)


@pytest.mark.parametrize(
    "settings",
    [
        {"layer_norm": True, "residual": True},
        {"normalize_observations": True, "actor_average": 0.9},
        {"relaxed_penalty": 0.1, "relaxed_decay": 0.1, "bank_start": "first"},
    ],
)
def test_it_takes_the_settings_of_other_agents_and_stays_symmetric_without_evidence(
    settings: dict[str, object],
) -> None:
    symmetry = symmetries()["D4"]
    agent = make("gated", symmetry, **settings)
    for step in range(2):
        agent.update(batch(symmetry, (0, 1), step))
    assert all(torch.isfinite(value).all() for value in agent.metrics().values())
    for network in agent.networks.values():
        assert network.check_equivariance() < 1e-5


def test_seed_learns_alone_what_it_learns_beside_others() -> None:
    for symmetry in (symmetries()["C2"], symmetries()["rows"]):
        both, alone = make("gated", symmetry), make("gated", symmetry, seeds=(1,))
        for step in range(3):
            both.update(batch(symmetry, (0, 1), step))
            alone.update(batch(symmetry, (1,), step))
        for name, network in both.networks.items():
            for own, other in zip(alone.networks[name].parameters(), network.parameters(), strict=True):
                torch.testing.assert_close(own, other[len(own) :], atol=1e-4, rtol=1e-4)


def test_rewards_of_rows_open_the_gate_of_the_row_that_differs() -> None:
    agent = make("gated", Symmetry(C2, sign(C2), sign(C2), rows=4), row_values=True, transitions="made")
    noise, slopes = Noise((0, 1)), torch.tensor([1.0, 1.0, 1.0, -1.0])
    for step in range(300):
        x, following = (noise.normal(name, step, (64, 4, 1)) for name in ("x", "next"))
        action = noise.uniform("a", step, (64, 4)) * 2 - 1
        sample = Batch(x, action, slopes * x[..., 0] * action, torch.ones(2, 64), following)
        agent.relaxation.prepare(sample, torch.empty(0))
    opened = gate(agent, noise.normal("x", 1000, (64, 4, 1))).mean((0, 1))
    assert opened[3] > 0.8
    assert opened[:3].max() < 0.2


def test_images_are_refused() -> None:
    d1 = dihedral(1)
    pixels = Symmetry(d1, trivial(d1, 2), sign(d1), plane=standard(d1))
    with pytest.raises(ConfigError, match="no networks on images"):
        make("gated", pixels)
