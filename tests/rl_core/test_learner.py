"""Gradient strategies: equal steps, the choice between them, compilers and CUDA graphs."""

from __future__ import annotations

import logging

import pytest
import torch

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.fused.sac_gradient import FusedGradient
from rl_core.layers import RegularLinear
from rl_core.learner import Autograd, choose_gradient
from rl_core.networks.vectors import VectorNetwork
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, sign
from tests.rl_core.problems import KINDS, batch, make, symmetries


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["C2", "rows"])
def test_fused_steps_equal_those_of_autograd(kind: str, name: str) -> None:
    symmetry = symmetries()[name]
    readable = make(kind, symmetry, gradient="autograd")
    fast, joined = (make(kind, symmetry) for _ in range(2))
    assert fast.metrics() == {}
    batches = [batch(symmetry, (0, 1), step) for step in range(6)]
    for sample in batches:
        readable.update(sample)
        fast.update(sample)
    expected = readable.metrics()
    together = Batch(*(torch.cat(parts, 1) for parts in zip(*batches, strict=True)))
    joined.update(together, count=6)
    assert readable.updates == fast.updates == joined.updates == 6
    for agent in (fast, joined):
        # Adam divides by gradients, so that rounding shows where they are near zero.
        torch.testing.assert_close(agent.flat.values, readable.flat.values, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(agent.target_values, readable.target_values, atol=2e-5, rtol=1e-4)
    for key, value in expected.items():
        torch.testing.assert_close(fast.metrics()[key], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("place", ["observation", "hidden weight"])
@pytest.mark.parametrize("name", ["C2", "D4", "rows"])
def test_fused_gradients_show_nan_where_autograd_does(name: str, place: str) -> None:
    symmetry = symmetries()[name]
    seen = []
    for gradient in ("autograd", "auto"):
        agent = make("relaxed", symmetry, gradient=gradient)
        sample = batch(symmetry, (0, 1), 0)
        if place == "observation":
            sample.observation[1, 0] = torch.nan
        else:
            with torch.no_grad():
                for layer in (agent.actor.layers["hidden1"], agent.critic.layers["hidden1"]):
                    bias = next(p for key, p in layer.named_parameters() if key.endswith("bias"))
                    bias[len(bias) // 2 :] = torch.nan
        agent.update(sample)
        metrics = torch.stack(list(agent.metrics().values()))
        assert metrics[:, 0].isfinite().all()
        assert metrics[:3, 1].isnan().all()
        spoiled = [
            p.view(2, -1).isnan().any(1) for p in [*agent.actor.parameters(), *agent.critic.parameters()]
        ]
        seen.append(torch.stack([metrics.isnan().any(0), torch.stack(spoiled).any(0)]))
        assert not seen[-1][:, 0].any()
        assert seen[-1][:, 1].all()
    assert torch.equal(*seen)


def test_equal_seeds_take_equal_steps_bit_for_bit() -> None:
    symmetry = symmetries()["C2"]
    first, second = make("relaxed", symmetry), make("relaxed", symmetry)
    for agent in (first, second):
        for step in range(4):
            agent.update(batch(symmetry, (0, 1), step))
    assert torch.equal(first.flat.values, second.flat.values)


def test_a_seed_alone_steps_as_in_a_batch() -> None:
    symmetry = symmetries()["C2"]
    many, one = make("relaxed", symmetry, (4, 9)), make("relaxed", symmetry, (9,))
    for agent in (many, one):
        for step in range(5):
            agent.update(batch(symmetry, agent.seeds, step))
    x = torch.randn(1, 6, symmetry.observation.dimension)
    together = many.act(x.expand(2, -1, -1), deterministic=True)
    torch.testing.assert_close(together[1:], one.act(x, deterministic=True))


def test_without_a_working_compiler_it_goes_on_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> object:
        def fail(*_: object) -> object:
            raise RuntimeError("no C++ compiler found")

        return fail

    symmetry = symmetries()["C2"]
    plain, compiled = make("dense", symmetry), make("dense", symmetry, compile=True)
    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level(logging.WARNING):
        for step in range(2):
            compiled.update(batch(symmetry, (0, 1), step))
    assert caplog.text.count("no C++ compiler found") == 1
    for step in range(2):
        plain.update(batch(symmetry, (0, 1), step))
    torch.testing.assert_close(compiled.flat.values, plain.flat.values)


def test_one_step_task_is_solved() -> None:
    """Reward −(a − 0.5 x)², each step the end: the best action is known."""
    group = cyclic(2)
    symmetry = Symmetry(group, sign(group), sign(group))
    rates = {"actor_lr": 5e-3, "critic_lr": 5e-3, "alpha_lr": 1e-2}
    agent = make("relaxed", symmetry, **rates, width=32, depth=2, initial_alpha=0.05)
    noise = Noise(agent.seeds)
    for step in range(400):
        x = noise.normal("x", step, (64, 1))
        action = noise.uniform("a", step, (64, 1)) * 2 - 1
        reward = -(action - 0.5 * x).square().sum(-1)
        agent.update(Batch(x, action, reward, torch.zeros_like(reward), x))
    x = torch.linspace(-1, 1, 9)[None, :, None].expand(2, -1, -1)
    # The best fixed action would be wrong by 0.1 on average.
    assert float((agent.act(x, deterministic=True) - 0.5 * x).square().mean()) < 0.01


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["dense", "exact", "relaxed"])
@pytest.mark.parametrize("count", [1, 4])
def test_graph_equals_steps_of_autograd(kind: str, count: int) -> None:
    symmetry = symmetries()["C2"]
    readable = make(kind, symmetry, device="cuda", cuda_graph=False, gradient="autograd")
    fast = make(kind, symmetry, device="cuda", cuda_graph=True)
    batches = [Batch(*(p.cuda() for p in batch(symmetry, (0, 1), step))) for step in range(8)]
    for sample in batches:
        readable.update(sample)
    for start in range(0, 8, count):
        parts = zip(*batches[start : start + count], strict=True)
        fast.update(Batch(*(torch.cat(part, 1) for part in parts)), count)
    torch.testing.assert_close(fast.flat.values, readable.flat.values, atol=1e-4, rtol=1e-3)


class Doubled(RegularLinear):
    """A user's layer: it computes something else than the layer that it extends."""

    def expand(self) -> list[torch.Tensor]:
        weight, bias = super().expand()
        return [2 * weight, bias]


class Shifted(VectorNetwork):
    """A user's network, likewise."""

    def apply(self, expanded, x):
        return super().apply(expanded, x) + expanded[-1].sum()


def test_fused_gradients_are_for_known_classes_only() -> None:
    symmetry = symmetries()["D4"]
    changed_layer, changed_network = make("relaxed", symmetry), make("relaxed", symmetry)
    for network in (changed_layer.actor, changed_layer.critic):
        network.layers["hidden1"].__class__ = Doubled
    changed_network.critic.__class__ = Shifted
    for agent in (changed_layer, changed_network):
        assert isinstance(agent.gradient, Autograd)
        sample = batch(symmetry, (0, 1), 0)
        noise = agent.update_noise(sample)
        loss, _ = agent.losses(sample, noise)
        agent.flat.gradients.zero_()
        torch.autograd.backward(loss)
        expected = agent.flat.gradients.clone()
        agent.gradient(sample, noise)
        torch.testing.assert_close(agent.flat.gradients, expected)
        forced = agent.config.replace(gradient="fused")
        agent.config = forced
        with pytest.raises(ConfigError, match="there is no fused code for VectorNetwork and"):
            choose_gradient(agent)
    assert isinstance(make("relaxed", symmetry).gradient, FusedGradient)
    assert isinstance(make("relaxed", symmetry, gradient="autograd").gradient, Autograd)


@pytest.mark.parametrize("name", ["lifting", "hidden1", "head"])
def test_a_changed_layer_on_rows_trains_by_autograd(name: str) -> None:
    symmetry = symmetries()["rows"]
    agent = make("relaxed", symmetry)
    layer = agent.actor.layers[name]
    layer.__class__ = type("Changed", (type(layer),), {})
    assert isinstance(agent.gradient, Autograd)
    assert not isinstance(make("relaxed", symmetry).gradient, Autograd)


class Cautious(SAC):
    """A user's agent with losses of its own."""

    def penalty(self) -> torch.Tensor:
        return super().penalty() + self.actor.layers["head"].bias.square().sum()


class Named(SAC):
    """A user's agent with the losses of SAC."""

    def __str__(self) -> str:
        return "named"


def test_losses_of_a_subclass_are_followed() -> None:
    symmetry = symmetries()["C2"]
    config = SACConfig(agent="relaxed", width=16, relaxed_penalty=0.5)
    assert isinstance(Named(symmetry, config, (0, 1)).gradient, FusedGradient)
    agent = Cautious(symmetry, config, (0, 1))
    assert isinstance(agent.gradient, Autograd)
    forced = Cautious(symmetry, config.replace(gradient="fused"), (0, 1))
    with pytest.raises(ConfigError, match="Cautious has losses of its own; use 'auto' or 'autograd'"):
        forced.update(batch(symmetry, (0, 1), 0))
