"""The fused gradient of networks on vectors is that of autograd."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from rl_core.fused.sac_gradient import FusedGradient
from rl_core.fused.vector_step import VectorStep, supports_vectors
from rl_core.sac import SAC
from tests.rl_core.problems import KINDS, batch, make, symmetries


@pytest.mark.parametrize("layers", ["plain", "layer_norm", "residual"])
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["C2", "swap", "D2", "D4", "rows"])
def test_fused_gradient_is_that_of_autograd(kind: str, name: str, activation: str, layers: str) -> None:
    symmetry = symmetries()[name]
    if name == "rows" and kind not in ("dense", "augmented"):
        assert not supports_vectors(make(kind, symmetry).actor)
        return
    # Narrow bounds: some log standard deviations are clamped.
    bounds = {"log_std_min": -0.05, "log_std_max": 0.05}
    form = {} if layers == "plain" else {layers: True}
    agent = make(kind, symmetry, relaxed_penalty=0.1, activation=activation, **form, **bounds)
    assert supports_vectors(agent.actor)
    with torch.no_grad():
        moves = torch.randn(agent.flat.values.shape, generator=torch.Generator().manual_seed(0))
        agent.flat.values.add_(0.1 * moves)
    sample = batch(symmetry, (0, 1), 0)
    noise = agent.update_noise(sample)
    loss, expected = agent.losses(sample, noise)
    agent.flat.gradients.zero_()
    torch.autograd.backward(loss)
    gradients = agent.flat.gradients.clone()
    fused = FusedGradient(agent, VectorStep)
    for _ in range(2):  # the second time in used buffers
        fused(sample, noise)
        metrics = fused.metrics()
        torch.testing.assert_close(agent.flat.gradients, gradients, atol=1e-5, rtol=1e-4)
        assert metrics.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(metrics[key], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["dense", "exact", "relaxed", "rpp"])
def test_gradient_fused_follows_batch_sizes_and_changes_from_outside(kind: str) -> None:
    symmetry = symmetries()["C2"]
    agent = make(kind, symmetry)
    fused = FusedGradient(agent, VectorStep)
    for step, size in enumerate((16, 5, 16, 5)):
        sample = batch(symmetry, (0, 1), step, size)
        noise = agent.update_noise(sample)
        agent.flat.gradients.zero_()
        torch.autograd.backward(agent.losses(sample, noise)[0])
        gradients = agent.flat.gradients.clone()
        fused(sample, noise)
        torch.testing.assert_close(agent.flat.gradients, gradients, atol=1e-5, rtol=1e-4)
        for values in (agent.flat.values, agent.target_values):
            values.add_(0.1 * torch.randn(values.shape, generator=torch.Generator().manual_seed(step)))
    agent.flat.values.fill_(torch.nan)
    fused(sample, noise)
    assert bool(fused.metrics()["critic_loss"].isnan().all())


def products_are_rounded(agent: SAC) -> bool:
    """Whether this processor rounds factors under the agent's setting; some only take another float32 kernel."""
    a, b = torch.randn(2, 256, 256, generator=torch.Generator().manual_seed(0))
    with agent.precision():
        rough = a @ b
    return float((rough - a @ b).norm() / rough.norm()) > 1e-4


@pytest.mark.parametrize("kind", ["dense", "exact", "relaxed"])
def test_bfloat16_fused_stays_close(kind: str) -> None:
    symmetry = symmetries()["C2"]
    agent = make(kind, symmetry, matmul_dtype="bfloat16")
    sample = batch(symmetry, (0, 1), 0)
    noise = agent.update_noise(sample)
    gradients = []
    for precision in (agent.precision, nullcontext):
        with precision():
            loss, _ = agent.losses(sample, noise)
            agent.flat.gradients.zero_()
            torch.autograd.backward(loss)
            gradients.append(agent.flat.gradients.clone())
    rough, full = gradients
    if products_are_rounded(agent):
        assert float((rough - full).norm()) > 1e-5 * float(full.norm())
    with agent.precision():
        FusedGradient(agent, VectorStep)(sample, noise)
    assert float((agent.flat.gradients - rough).norm()) < 0.05 * float(rough.norm())
    assert float((agent.flat.gradients - full).norm()) < 0.05 * float(full.norm())
