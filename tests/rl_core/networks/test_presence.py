"""Absent rows: the others decide and learn as if these did not exist."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.experience.replay import Batch
from rl_core.networks.universe import agent_on_rows
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, sign, trivial
from tests.rl_core.problems import batch

ROWS, SIZE, ABSENT = 5, 3, 2
OTHERS = [0, 1, 3, 4]
SECTORS = (0, 0, 0, 1, 1)
MADE = {"row_values": True, "transitions": "made"}
SETTINGS: list[dict[str, object]] = [
    {},
    {"layer_norm": True, "activation": "silu"},
    {"interaction": "attention", "heads": 2},
    {"normalize_observations": True},
    MADE,
]


def trained(kind: str, sectors: tuple[int, ...] | None = None, **settings: object) -> SAC:
    group = cyclic(2)
    symmetry = Symmetry(
        group, sign(group) + trivial(group, SIZE - 1), sign(group), rows=ROWS, sectors=sectors
    )
    config = {"width": 16, "batch_size": 16, "relaxed_lr_multiplier": 50.0, "relaxation": "free", **settings}
    agent = SAC(symmetry, SACConfig.from_dict({"agent": kind, **config}), (0, 1))
    agent.observe(1 + 2 * torch.randn(2, 8, ROWS, SIZE, generator=torch.Generator().manual_seed(3)))
    for step in range(3):
        agent.update(sample(symmetry, agent.config.row_values, step))
    return agent


def sample(symmetry: Symmetry, row_values: bool, step: int = 0) -> Batch:
    found = batch(symmetry, (0, 1), step)
    if not row_values:
        return found
    return found._replace(reward=found.reward[..., None] * torch.arange(1.0, 1.0 + symmetry.action_size))


def seen(x: Tensor, absent: Sequence[int]) -> Tensor:
    """Observations with the presence of their rows, in the first half of the batch without absent ones."""
    presence = torch.ones(*x.shape[:-1], 1)
    presence[:, x.shape[1] // 2 :, list(absent)] = 0.0
    return torch.cat([x, presence], dim=-1)


def smaller(agent: SAC) -> SAC:
    sectors = agent.symmetry.sectors
    chosen = None if sectors is None else tuple(sectors[row] for row in OTHERS)
    return agent_on_rows(agent, OTHERS, chosen, () if sectors is None else [0, 1])


@pytest.mark.parametrize("kind", ["exact", "relaxed", "rpp", "gated"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("sectors", [None, SECTORS])
def test_others_decide_as_if_an_absent_row_did_not_exist(
    kind: str, settings: dict[str, object], sectors: tuple[int, ...] | None
) -> None:
    agent = trained(kind, sectors, **settings)
    x = torch.randn(2, 6, ROWS, SIZE, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[:, :, ABSENT] = 7.0
    whole, half = agent.act(x, True), agent.act(seen(x, [ABSENT]), True)
    torch.testing.assert_close(half[:, :3], whole[:, :3], atol=1e-6, rtol=0.0)
    assert float((half[:, 3:] - whole[:, 3:])[..., OTHERS].abs().max()) > 1e-4
    assert torch.equal(agent.act(seen(changed, [ABSENT]), True)[:, 3:], half[:, 3:])
    torch.testing.assert_close(
        smaller(agent).act(x[:, 3:, OTHERS], True), half[:, 3:, OTHERS], atol=1e-6, rtol=0.0
    )
    assert torch.isfinite(agent.act(seen(x, range(ROWS)), True)).all()


@pytest.mark.parametrize("kind", ["exact", "relaxed", "rpp"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_losses_are_those_without_the_absent_row(kind: str, settings: dict[str, object]) -> None:
    agent = trained(kind, **settings)
    parts = sample(agent.symmetry, agent.config.row_values)
    noise = agent.update_noise(parts)
    absent = torch.ones(*parts.observation.shape[:-1], 1)
    absent[:, :, ABSENT] = 0.0
    full = parts._replace(
        observation=torch.cat([parts.observation, absent], -1),
        next_observation=torch.cat([parts.next_observation, absent], -1),
    )
    fewer = Batch(
        parts.observation[:, :, OTHERS],
        parts.action[..., OTHERS],
        parts.reward[..., OTHERS] if agent.config.row_values else parts.reward,
        parts.discount,
        parts.next_observation[:, :, OTHERS],
    )
    loss, metrics = agent.losses(full, noise)
    expected, others = smaller(agent).losses(fewer, noise[..., OTHERS])
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    for name, value in others.items():
        torch.testing.assert_close(metrics[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["exact", "gated"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_presence_moves_with_the_rows(kind: str, settings: dict[str, object]) -> None:
    agent = trained(kind, **settings)
    symmetry = agent.symmetry
    x = seen(torch.randn(2, 6, ROWS, SIZE, generator=torch.Generator().manual_seed(0)), [ABSENT])
    g = symmetry.random((2, 6), torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        agent.act(symmetry.transform_observation(g, x), True),
        symmetry.transform_action(g, agent.act(x, True)),
        atol=1e-5,
        rtol=1e-4,
    )


@pytest.mark.parametrize("kind", ["dense", "exact", "relaxed", "gated", "augmented"])
def test_agents_train_with_absent_rows(kind: str) -> None:
    """Where fused code computes the gradient otherwise, it is that of autograd."""
    found = []
    for gradient in ("auto", "autograd"):
        agent = trained(kind, gradient=gradient, **MADE)
        parts = sample(agent.symmetry, True, 9)
        parts = parts._replace(
            observation=seen(parts.observation, [ABSENT]),
            next_observation=seen(parts.next_observation, [ABSENT]),
        )
        agent.update(parts)
        assert torch.isfinite(agent.metrics()["critic_loss"]).all()
        found.append(agent.flat.values.clone())
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_statistics_of_inputs_leave_absent_rows_out() -> None:
    agent, other = (trained("exact", normalize_observations=True) for _ in range(2))
    x = torch.randn(2, 6, ROWS, SIZE, generator=torch.Generator().manual_seed(0))
    presence = torch.ones(2, 6, ROWS, 1)
    presence[:, :, ABSENT] = 0.0
    agent.observe(torch.cat([x, presence], -1))
    other.observe(x[:, :, OTHERS])
    assert agent.normalizer is not None
    assert other.normalizer is not None
    for name, value in other.normalizer.state.items():
        torch.testing.assert_close(agent.normalizer.state[name], value)
