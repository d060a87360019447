from __future__ import annotations

import pytest
import torch

from rl_core.config import SACConfig
from rl_core.experience.replay import Batch
from rl_core.fused import set_step as set_step
from rl_core.fused.sac_gradient import FusedGradient
from rl_core.fused.set_step import SetStep, supports_sets
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial

B, N = 12, 3


def symmetries() -> dict[str, Symmetry]:
    c1, c2, d4 = cyclic(1), cyclic(2), dihedral(4)
    return {
        "no group": Symmetry(c1, trivial(c1, 4), trivial(c1, 1), rows=N),
        "C2": Symmetry(c2, sign(c2) + trivial(c2, 2), sign(c2), rows=N),
        "C2, wide rows": Symmetry(c2, trivial(c2, 19) + sign(c2) + sign(c2), sign(c2), rows=N),
        "D4, wide rows": Symmetry(d4, standard(d4) + trivial(d4, 17), trivial(d4, 1), rows=N),
    }


def make(kind: str, symmetry: Symmetry, seeds: tuple[int, ...] = (0, 1), **settings: object) -> SAC:
    config = {"agent": kind, "width": 16, "batch_size": B, **settings}
    return SAC(symmetry, SACConfig.from_dict(config), seeds)


def disturbed(kind: str, symmetry: Symmetry, **settings: object) -> SAC:
    """Away from symmetry, with narrow bounds, so that some log standard deviations are clamped."""
    agent = make(kind, symmetry, relaxed_penalty=0.1, log_std_min=-0.05, log_std_max=0.05, **settings)
    with torch.no_grad():
        source = torch.Generator().manual_seed(5)
        agent.flat.values.add_(0.1 * torch.randn(agent.flat.values.shape, generator=source))
        agent.target_values.add_(0.1 * torch.randn(agent.target_values.shape, generator=source))
    return agent


def batch(symmetry: Symmetry, seeds: tuple[int, ...] = (0, 1), step: int = 0, *, rows: bool = False) -> Batch:
    noise = Noise(seeds)
    shape = (B, N, symmetry.observation.dimension)
    return Batch(
        noise.normal("observation", step, shape),
        noise.normal("action", step, (B, N)).tanh(),
        noise.normal("reward", step, (B, N) if rows else (B,)),
        noise.uniform("discount", step, (B,)),
        noise.normal("next", step, shape),
    )


def gradient_of_losses(
    agent: SAC, sample: Batch, noise: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    loss, metrics = agent.losses(sample, noise)
    agent.flat.gradients.zero_()
    torch.autograd.backward(loss)
    return agent.flat.gradients.clone(), metrics


@pytest.mark.parametrize("name", list(symmetries()))
@pytest.mark.parametrize("kind", ["exact", "relaxed"])
@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "relu", "depth": 1, "banks": 1},
        {"activation": "relu", "depth": 3, "banks": 3, "ensemble": 1},
        {"activation": "silu", "depth": 2, "banks": 2, "ensemble": 3},
        {"activation": "silu", "depth": 3, "banks": 3},
        {"activation": "silu", "depth": 2, "banks": 2, "row_values": True, "transitions": "made"},
        {"activation": "relu", "depth": 1, "ensemble": 3, "row_values": True, "transitions": "made"},
    ],
    ids=lambda settings: "-".join(str(value) for value in settings.values()),
)
def test_fused_gradient_is_that_of_autograd(kind: str, name: str, settings: dict[str, object]) -> None:
    symmetry = symmetries()[name]
    agent = disturbed(kind, symmetry, **settings)
    assert supports_sets(agent.actor)
    assert supports_sets(agent.critic)
    sample = batch(symmetry, rows=agent.config.row_values)
    noise = agent.update_noise(sample)
    gradients, expected = gradient_of_losses(agent, sample, noise)
    fused = FusedGradient(agent, SetStep)
    for _ in range(2):  # the second time in used buffers
        fused(sample, noise)
        metrics = fused.metrics()
        torch.testing.assert_close(agent.flat.gradients, gradients, atol=1e-5, rtol=1e-4)
        assert metrics.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(metrics[key], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["C2", "C2, wide rows"])
@pytest.mark.parametrize(
    "settings",
    [
        {"relax": "actor"},
        {"relax": "critic"},
        {"relax_layers": "first"},
        {"relax_layers": "inner"},
        {"relax_layers": "last"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_a_part_relaxed_alone(name: str, settings: dict[str, str]) -> None:
    symmetry = symmetries()[name]
    agent = disturbed("relaxed", symmetry, **settings)
    sample = batch(symmetry)
    noise = agent.update_noise(sample)
    gradients, _ = gradient_of_losses(agent, sample, noise)
    FusedGradient(agent, SetStep)(sample, noise)
    torch.testing.assert_close(agent.flat.gradients, gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["C2", "C2, wide rows"])
@pytest.mark.parametrize("kind", ["exact", "relaxed"])
def test_seeds_one_by_one_or_together(kind: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    symmetry = symmetries()[name]
    seeds = (0, 1, 2)
    sample, found = batch(symmetry, seeds), []
    for at_once in (1, 2 * 16 * B * N * 2, 2**30):
        monkeypatch.setattr(set_step, "AT_ONCE", at_once)
        agent = make(kind, symmetry, seeds)
        FusedGradient(agent, SetStep)(sample, agent.update_noise(sample))
        found.append(agent.flat.gradients.clone())
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], atol=1e-6, rtol=1e-5)


def test_batches_of_another_size_follow_one_another() -> None:
    symmetry = symmetries()["C2"]
    agent = make("relaxed", symmetry)
    fused = FusedGradient(agent, SetStep)
    whole = batch(symmetry)
    for size in (B, B // 2, B):
        sample = Batch(*(part[:, :size] for part in whole))
        noise = agent.update_noise(sample)
        gradients, _ = gradient_of_losses(agent, sample, noise)
        fused(sample, noise)
        torch.testing.assert_close(agent.flat.gradients, gradients, atol=1e-5, rtol=1e-4)


def test_equal_seeds_take_equal_steps_bit_for_bit() -> None:
    symmetry = symmetries()["C2"]
    first, second = make("relaxed", symmetry), make("relaxed", symmetry)
    for agent in (first, second):
        for step in range(4):
            agent.update(batch(symmetry, step=step))
    assert torch.equal(first.flat.values, second.flat.values)


@pytest.mark.parametrize("kind", ["exact", "relaxed"])
def test_bfloat16_fused_stays_close(kind: str) -> None:
    symmetry = symmetries()["C2, wide rows"]
    agent = make(kind, symmetry, matmul_dtype="bfloat16", activation="silu")
    sample = batch(symmetry)
    noise = agent.update_noise(sample)
    with agent.precision():
        gradients, _ = gradient_of_losses(agent, sample, noise)
        FusedGradient(agent, SetStep)(sample, noise)
    assert (agent.flat.gradients - gradients).norm() < 0.05 * gradients.norm()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [("rpp", {}), ("relaxed", {"layer_norm": True}), ("exact", {"interaction": "attention"}), ("dense", {})],
)
def test_other_networks_are_left_to_autograd(kind: str, settings: dict[str, object]) -> None:
    agent = make(kind, symmetries()["C2"], **settings)
    assert not supports_sets(agent.actor)
    assert not supports_sets(agent.critic)
