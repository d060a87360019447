from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.learning.rules.comparison import MARKETS, summary
from benchmarks.learning.rules.contenders import AgreementRule, DualAscentRule, register_contenders
from rl_core.config import SACConfig
from rl_core.experience.replay import Batch
from rl_core.layers.base import group_mean
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, sign, trivial
from rl_core.training import train
from trading_app.synthetic.planted_history import PlantedHistory
from trading_app.synthetic.planted_problem import PlantedConfig

SEEDS = (0, 1)
RULES = register_contenders()
SETTINGS = {
    "width": 8,
    "batch_size": 32,
    "transitions": "made",
    "row_values": True,
    "bank_start": "first",
    "banks": 2,
}


def market() -> PlantedHistory:
    config = PlantedConfig(assets=3, return_noise=1.0).broken(exchange=1.0, mirror=1.0)
    return PlantedHistory(config, periods=200, seeds=SEEDS, reward_scale=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_training_resumes_bit_for_bit(rule: str, tmp_path: Path) -> None:
    config = SACConfig.from_dict({**SETTINGS, "relaxation": rule})
    whole = train(market(), config, seeds=SEEDS, steps=24)
    train(market(), config, seeds=SEEDS, steps=17, directory=tmp_path, checkpoint_every=17)
    resumed = train(market(), config, seeds=SEEDS, steps=24, directory=tmp_path, resume=True)
    assert torch.equal(whole.agent.flat.values, resumed.agent.flat.values)


def relaxed_agent(rule: str) -> SAC:
    c2 = cyclic(2)
    symmetry = Symmetry(c2, sign(c2) + trivial(c2, 1), sign(c2))
    agent = SAC(symmetry, SACConfig(agent="relaxed", relaxation=rule, width=8, batch_size=4), (0,))
    with torch.no_grad():
        for w in agent.critic.relaxed_parameters():
            w.add_(torch.randn(w.shape, generator=torch.Generator().manual_seed(len(w))))
    return agent


def deviations(agent: SAC) -> float:
    with torch.no_grad():
        return sum(float((w - group_mean(w)).abs().sum()) for w in agent.critic.relaxed_parameters())


BATCH = Batch(
    torch.zeros(1, 4, 2),
    torch.zeros(1, 4, 1),
    torch.tensor([[1.0, 1, -1, -1]]),
    torch.ones(1, 4),
    torch.zeros(1, 4, 2),
)


@pytest.mark.parametrize(("agree", "decays"), [(True, False), (False, True)])
def test_agreement_lets_stand_what_halves_agree_on(agree: bool, decays: bool) -> None:
    agent = relaxed_agent("agreement")
    rule = agent.relaxation
    assert isinstance(rule, AgreementRule)
    directions = [torch.randn_like(w) for w in rule.critic]

    def gradient(batch: Batch, noise: torch.Tensor) -> None:
        side = 1.0 if agree else float(batch.reward.sum().sign())
        for w, direction in zip(rule.critic, directions, strict=True):
            w.grad = side * direction

    agent.__dict__["gradient"] = gradient
    before = deviations(agent)
    for _ in range(20):
        rule.prepare(BATCH, torch.zeros(1, 2, 4, 1))
        rule.settle()
    assert (deviations(agent) < 0.95 * before) == decays


def test_multipliers_of_dual_ascent_rise_while_a_deviation_is_above_its_bound() -> None:
    agent = relaxed_agent("dual-ascent")
    rule = agent.relaxation
    assert isinstance(rule, DualAscentRule)
    for w in rule.weights:
        w.grad = torch.zeros_like(w)
    rule.correct()
    critics = len(rule.critic)
    assert (rule.multipliers[:critics] > 0).all()
    assert (rule.multipliers[critics:] == 0).all()
    rule.correct()
    for w in rule.critic:
        deviation = w.detach() - group_mean(w.detach())
        assert float((w.grad * deviation).sum()) > 0  # type: ignore[operator]


def test_the_criterion_is_the_worst_market() -> None:
    shares = {"free": (0.9, 0.5), "evidence": (0.8, 0.7)}
    first, second = list(MARKETS)[:2]
    records = {
        f"{rule}-{market}": {"rule": rule, "market": market, "share": [share]}
        for rule, own in shares.items()
        for market, share in zip((first, second), own, strict=True)
    }
    rows = {row["rule"]: row["worst"] for row in summary(records)}
    assert rows == {"evidence": pytest.approx(0.1), "free": pytest.approx(0.2)}
