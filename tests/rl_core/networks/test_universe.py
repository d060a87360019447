"""Agents on rows that they were not trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.networks.universe import agent_on_rows
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, sign, trivial
from tests.rl_core.problems import batch

SIZE = 3


def trained(kind: str, rows: int = 5, sectors: tuple[int, ...] | None = None, **settings: object) -> SAC:
    group = cyclic(2)
    symmetry = Symmetry(
        group, sign(group) + trivial(group, SIZE - 1), sign(group), rows=rows, sectors=sectors
    )
    config = {
        "width": 16,
        "batch_size": 16,
        "banks": 2,
        "relaxed_lr_multiplier": 50.0,
        "actor_average": 0.9,
        "relaxation": "free",
    }
    agent = SAC(symmetry, SACConfig.from_dict({"agent": kind, **config, **settings}), (0, 1))
    for step in range(5):
        agent.update(batch(symmetry, (0, 1), step))
    return agent


def observation(rows: int) -> Tensor:
    return torch.randn(2, 4, rows, SIZE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", ["exact", "relaxed", "rpp", "gated"])
@pytest.mark.parametrize("settings", [{}, {"normalize_observations": True}, {"interaction": "attention"}])
def test_the_same_rows_in_another_order_get_the_same_answers(kind: str, settings: dict[str, object]) -> None:
    agent, order = trained(kind, **settings), [3, 1, 4, 0, 2]
    agent.observe(observation(5) * 2 + 1)
    moved = agent_on_rows(agent, order)
    x, a = observation(5), torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(1)) - 0.5
    torch.testing.assert_close(
        moved.act(x[:, :, order], True), agent.act(x, True)[..., order], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        moved.values(x[:, :, order], a[..., order]), agent.values(x, a), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("relax_over", ["assets", "sectors"])
def test_unknown_rows_get_the_answers_of_the_symmetric_weights(relax_over: str) -> None:
    """The exact agent of a relaxed one has the mean over rows in place of each row's relaxed weights."""
    sectors = (0, 0, 1, 1, 2) if relax_over == "sectors" else None
    agent = trained("relaxed", sectors=sectors, relax_over=relax_over)
    assert (
        min(float(w.detach().std(dim=2).max()) for w in agent.actor.relaxed_parameters() if w.ndim == 4)
        > 1e-3
    )
    sectors = None if sectors is None else (0, 1, 0, 0, 1, 1, 0)
    strange = agent_on_rows(agent, [None] * 7, sectors, [None, None])
    for network in agent.networks.values():
        for w in network.relaxed_parameters():
            if w.ndim == 4:
                w.data = w.data.mean(dim=2, keepdim=True).expand_as(w).clone()
    agent.refresh()
    exact = agent_on_rows(agent, [0] * 7, sectors, [0, 0])
    x = observation(7)
    torch.testing.assert_close(strange.act(x, True), exact.act(x, True), atol=1e-6, rtol=1e-5)
    order = torch.tensor([2, 5, 3, 0, 4, 1, 6])  # within sectors
    torch.testing.assert_close(
        strange.act(x[:, :, order], True), strange.act(x, True)[..., order], atol=1e-5, rtol=1e-4
    )


def test_an_unknown_row_beside_known_ones_has_their_mean_weights() -> None:
    agent = trained("relaxed")
    other = agent_on_rows(agent, [4, None, 0])
    old, new = (a.actor.relaxed_weights()["lifting.w"] for a in (agent, other))
    torch.testing.assert_close(new, torch.stack([old[:, :, 4], old.mean(2), old[:, :, 0]], dim=2))


def test_an_exact_agent_is_the_same_on_any_rows() -> None:
    agent = trained("exact")
    assert agent.average is not None
    x = observation(9)
    expected = agent.average(x)[..., :9].tanh()
    torch.testing.assert_close(agent_on_rows(agent, [None] * 9).act(x, True), expected, atol=1e-6, rtol=1e-5)


def test_agents_tied_to_their_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="the dense agent has weights of its own for each asset"):
        agent_on_rows(trained("dense"), [None] * 3)
    many = trained("relaxed", banks=8)
    with pytest.raises(ConfigError, match="2 assets are too few"):
        agent_on_rows(many, [0, None])
    vectors = SAC(replace(many.symmetry, rows=None), SACConfig(agent="exact", width=8), (0,))
    with pytest.raises(ConfigError, match="cannot decide on others"):
        agent_on_rows(vectors, [0])
