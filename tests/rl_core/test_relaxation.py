from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core import relaxation
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.relaxation import Evidence, Free, effects, register_rule, rule_names
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, sign, trivial
from rl_core.training import train
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_problem import PlantedConfig

SEEDS = (0, 1)
SETTINGS = {
    "width": 16,
    "batch_size": 64,
    "activation": "silu",
    "transitions": "made",
    "row_values": True,
    "relaxation": "evidence",
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "initial_alpha": 0.1,
}


def market(breaking: float, noise: float, seeds: tuple[int, ...] = SEEDS) -> PlantedHistory:
    config = PlantedConfig(assets=4, return_noise=noise).broken(exchange=breaking, mirror=breaking)
    return PlantedHistory(config, periods=1000, seeds=seeds, reward_scale=0.1)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 5, 4)])
def test_effects_add_up_to_the_deviation_and_are_orthogonal(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape, dtype=torch.float64)
    parts = effects(values)
    deviation = values - values.flatten(2).mean(2).view(*shape[:2], *[1] * (len(shape) - 2))
    torch.testing.assert_close(parts.sum(0), deviation)
    for i in range(len(parts)):
        for j in range(i):
            assert (parts[i] * parts[j]).sum().abs() < 1e-10


@pytest.mark.parametrize("kind", ["free", "evidence"])
def test_training_with_a_rule_resumes_bit_for_bit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaxation, "EVERY", 2)
    monkeypatch.setattr(relaxation, "FIRST", 2)
    config = SACConfig.from_dict({**SETTINGS, "relaxation": kind})
    env = lambda: market(1.0, 1.0)  # noqa: E731
    whole = train(env(), config, seeds=SEEDS, steps=9)
    train(env(), config, seeds=SEEDS, steps=5, directory=tmp_path, checkpoint_every=5)
    resumed = train(env(), config, seeds=SEEDS, steps=9, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)


def test_before_there_is_evidence_the_agent_stays_symmetric() -> None:
    env = market(1.0, 1.0)
    agents = {
        kind: SAC(env.symmetry, SACConfig.from_dict({**SETTINGS, "relaxation": kind}), SEEDS)
        for kind in ("free", "evidence")
    }
    for k in range(3):
        batch = env.make_transitions(agents["free"].act, k, 64, discount=0.99)
        for agent in agents.values():
            agent.update(batch)
    assert agents["evidence"].actor.check_equivariance() < 1e-5
    assert agents["evidence"].critic.check_equivariance() < 1e-5
    assert agents["free"].critic.check_equivariance() > 1e-4


def test_what_has_lost_its_evidence_decays() -> None:
    env = market(0.0, 1.0)
    agent = SAC(env.symmetry, SACConfig.from_dict({**SETTINGS, "critic_lr": 0.01}), SEEDS)
    with torch.no_grad():
        for w in agent.critic.relaxed_parameters():
            w.add_(torch.randn_like(w))
    before = [effects(w.detach()).abs().sum() for w in agent.critic.relaxed_parameters()]
    for _ in range(20):
        agent.relaxation.correct()
        agent.relaxation.settle()
    for w, size in zip(agent.critic.relaxed_parameters(), before, strict=True):
        assert 0 < effects(w.detach()).abs().sum() < 0.1 * size


def reliability_after(env: PlantedHistory, updates: int) -> Tensor:
    config = SACConfig.from_dict(SETTINGS)
    agent = SAC(env.symmetry, config, env.seeds)
    for k in range(updates):
        agent.update(env.make_transitions(agent.act, k, 64, discount=0.99))
    assert isinstance(agent.relaxation, Evidence)
    return agent.relaxation.reliability.mean(dim=1)


def test_evidence_is_strong_where_exchange_is_broken_and_weak_where_it_holds() -> None:
    seeds = (0, 1, 2)
    broken, intact = (reliability_after(market(b, 1.0, seeds), 120) for b in (1.0, 0.0))
    assert broken[0] > 0.9
    assert intact[0] < 0.6


def test_the_symmetric_look_leaves_the_weights_where_they_were() -> None:
    env = market(1.0, 1.0)
    agent = SAC(env.symmetry, SACConfig.from_dict(SETTINGS), SEEDS)
    with torch.no_grad():
        for w in agent.critic.relaxed_parameters():
            w.add_(torch.randn_like(w))
    before = agent.flat.values.clone()
    batch = env.make_transitions(agent.act, 0, 64, discount=0.99)
    agent.relaxation.prepare(batch, agent.update_noise(batch))
    assert torch.equal(agent.flat.values, before)


@pytest.mark.parametrize("residual", [False, True], ids=["constant noise", "noise of the residual"])
def test_quadratic_loss_comes_to_rest_at_the_reliable_share(
    residual: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradient H (δ − δ̂) less (1 − s) H (0 − δ̂) is zero at δ = s δ̂; noise that the fit removes does not count."""
    monkeypatch.setattr(relaxation, "FIRST", 1)
    c2 = cyclic(2)
    symmetry = Symmetry(c2, sign(c2) + trivial(c2, 1), sign(c2))
    agent = SAC(symmetry, SACConfig(agent="relaxed", relaxation="evidence", width=8, batch_size=4), (0,))
    best = [torch.randn_like(w) for w in agent.critic.relaxed_parameters()]

    def quadratic(batch: Batch, noise: Tensor) -> None:
        side = 0.2 * float(batch.reward.sum().sign())
        for w, b in zip(agent.critic.relaxed_parameters(), best, strict=True):
            deviation, wanted = effects(w.detach()).sum(0), effects(b).sum(0)
            noise_of = wanted - deviation if residual else wanted
            w.grad.copy_(deviation - wanted - side * noise_of)  # type: ignore[union-attr]

    agent.__dict__["gradient"] = quadratic
    one = torch.ones(1, 4)
    sample = Batch(
        torch.zeros(1, 4, 2),
        torch.zeros(1, 4, 1),
        torch.tensor([[1.0, 1, -1, -1]]),
        one,
        torch.zeros(1, 4, 2),
    )
    for _ in range(400):
        agent.relaxation.prepare(sample, torch.zeros(1, 2, 4, 1))
        quadratic(sample._replace(reward=torch.zeros(1, 4)), torch.zeros(1))
        agent.relaxation.correct()
        for w in agent.critic.relaxed_parameters():
            w.data.sub_(0.1 * w.grad)  # type: ignore[operator]
        agent.relaxation.settle()
    rule = agent.relaxation
    assert isinstance(rule, Evidence)
    s = 1.0 if residual else 1 - 0.2**2
    torch.testing.assert_close(rule.reliability, torch.full_like(rule.reliability, s))
    for w, b in zip(agent.critic.relaxed_parameters(), best, strict=True):
        torch.testing.assert_close(effects(w.detach()).sum(0), s * effects(b).sum(0), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_relaxed_agent_that_starts_in_its_first_bank_is_the_exact_one(depth: int) -> None:
    """Given the exact agent's filters, outputs and losses agree."""
    env = market(1.0, 1.0)
    settings = {**SETTINGS, "depth": depth, "banks": 3, "bank_start": "first"}
    relaxed = SAC(env.symmetry, SACConfig.from_dict(settings), SEEDS)
    exact = SAC(env.symmetry, SACConfig.from_dict({**settings, "agent": "exact"}), SEEDS)
    for name in ("actor", "critic", "target"):
        own, other = getattr(relaxed, name), getattr(exact, name)
        for (_, layer), (_, plain) in zip(own.named_layers(), other.named_layers(), strict=True):
            for key, value in plain.named_parameters():
                if key.startswith("psi"):  # drawn at the same scale
                    scale = float(getattr(layer, key).detach().std() / value.detach().std())
                    assert 0.5 < scale < 2.0
                value.data.copy_(getattr(layer, key).data[:, : value.shape[1]])
    batch = env.make_transitions(relaxed.act, 0, 32, discount=0.99)
    noise = relaxed.update_noise(batch)
    torch.testing.assert_close(relaxed.losses(batch, noise)[0], exact.losses(batch, noise)[0])


@pytest.mark.parametrize("rows", [True, False], ids=["values of rows", "one value"])
@pytest.mark.parametrize("bank_start", ["equal", "first"])
def test_evidence_goes_through_every_kind_of_layer(
    rows: bool, bank_start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A critic with one value has layers with and without rows."""
    monkeypatch.setattr(relaxation, "FIRST", 2)
    monkeypatch.setattr(relaxation, "EVERY", 1)
    settings = {**SETTINGS, "row_values": rows, "bank_start": bank_start, "banks": 2}
    result = train(market(1.0, 0.1), SACConfig.from_dict(settings), seeds=SEEDS, steps=30)
    rule = result.agent.relaxation
    assert isinstance(rule, Evidence)
    assert rule.reliability.shape == (3, 2)
    assert ((rule.reliability >= 0) & (rule.reliability <= 1)).all()
    if rows:  # one value for all assets holds their noise together: so few looks show little there
        assert rule.reliability[0].mean() > 0.5
    assert result.agent.critic.check_equivariance() > 1e-4


@pytest.mark.parametrize("kind", ["vectors", "images"])
def test_evidence_on_stored_transitions_without_rows(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaxation, "FIRST", 1)
    monkeypatch.setattr(relaxation, "EVERY", 1)
    c2 = cyclic(2)
    plane = sign(c2) + trivial(c2, 1) if kind == "images" else None
    observation = trivial(c2, 3) if kind == "images" else sign(c2) + trivial(c2, 2)
    symmetry = Symmetry(c2, observation, sign(c2), plane=plane)
    small = {"image_size": 21, "encoder_convolutions": 2, "encoder_channels": 4, "encoder_features": 8}
    config = SACConfig.from_dict(
        {"agent": "relaxed", "relaxation": "evidence", "width": 8, "batch_size": 8, **small}
    )
    agent = SAC(symmetry, config, SEEDS)
    source = torch.Generator().manual_seed(0)
    shape = (2, 8, 3, 21, 21) if kind == "images" else (2, 8, 3)
    for _ in range(3):
        x, following = torch.randn(2, *shape, generator=source)
        action = torch.randn(2, 8, 1, generator=source).tanh()
        agent.update(Batch(x, action, action[..., 0], torch.full((2, 8), 0.9), following))
    assert isinstance(agent.relaxation, Evidence)
    assert agent.relaxation.reliability.shape == (1, 2)
    assert agent.flat.values.isfinite().all()


class Halving(Free):
    """Halves the gradient of relaxed weights: a rule from outside."""

    def __init__(self, agent: SAC) -> None:
        self._weights = list(agent.critic.relaxed_parameters())

    def correct(self) -> None:
        for w in self._weights:
            assert w.grad is not None
            w.grad.mul_(0.5)


def test_a_rule_from_outside_is_used_by_its_name() -> None:
    register_rule("halving", Halving)
    assert "halving" in rule_names()
    env = market(1.0, 1.0)
    agent = SAC(env.symmetry, SACConfig.from_dict({**SETTINGS, "relaxation": "halving"}), SEEDS)
    assert isinstance(agent.relaxation, Halving)
    agent.update(env.make_transitions(agent.act, 0, 64, discount=0.99))
    with pytest.raises(ConfigError, match="relaxation is 'unheard'"):
        SAC(env.symmetry, SACConfig.from_dict({**SETTINGS, "relaxation": "unheard"}), SEEDS)
