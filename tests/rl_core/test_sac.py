from __future__ import annotations

import copy
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.optimizer import SWEEP, FlatParameters
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial

SIZE, A, B = 5, 2, 16


def mirror() -> Symmetry:
    group = cyclic(2)
    odd = sign(group)
    return Symmetry(group, odd + odd + trivial(group, SIZE - 2), odd + odd)


def make(agent: str = "dense", seeds: tuple[int, ...] = (3,), **settings: object) -> SAC:
    config: dict[str, object] = {
        "width": 16,
        "batch_size": B,
        "actor_lr": 1e-3,
        "critic_lr": 2e-3,
        "alpha_lr": 3e-3,
    }
    # Tests of the weights themselves; `test_relaxation` has those of evidence.
    config["relaxation"] = "free"
    return SAC(mirror(), SACConfig.from_dict({"agent": agent, **config, **settings}), seeds)


def batch(seeds: tuple[int, ...], step: int) -> Batch:
    noise = Noise(seeds)
    reward = noise.normal("reward", step, (B,))
    discount = 0.9 * (noise.uniform("end", step, (B,)) < 0.7).float()
    action = noise.normal("action", step, (B, A)).tanh()
    return Batch(
        noise.normal("observation", step, (B, SIZE)),
        action,
        reward,
        discount,
        noise.normal("next", step, (B, SIZE)),
    )


class Reference:
    """SAC of one seed as textbooks write it: float64, separate modules, optimisers and backward passes."""

    def __init__(self, agent: SAC) -> None:
        self.agent, self.config = agent, agent.config
        self.actor = self.module(agent.actor.expand(), 0)
        self.critics = [self.module(agent.critic.expand(), k) for k in range(2)]
        self.targets = copy.deepcopy(self.critics)
        self.log_alpha = agent.log_alpha.detach()[0].double().requires_grad_()
        c = self.config
        critic_parameters = [p for critic in self.critics for p in critic.parameters()]
        self.optimizers = [
            torch.optim.Adam(self.actor.parameters(), c.actor_lr),
            torch.optim.Adam(critic_parameters, c.critic_lr),
            torch.optim.Adam([self.log_alpha], c.alpha_lr),
        ]

    @staticmethod
    def module(expanded: list[Tensor], copy_index: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        for weight, bias in zip(expanded[::2], expanded[1::2], strict=True):
            linear = nn.Linear(weight.shape[1], weight.shape[2], dtype=torch.float64)
            linear.weight.data = weight[copy_index].detach().double().T.clone()
            linear.bias.data = bias[copy_index, 0].detach().double().clone()
            layers += [linear, nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    def policy(self, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(observation).chunk(2, -1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        before = mean + normal.stddev * noise
        action = before.tanh()
        log_prob = normal.log_prob(before) - (1 - action.square()).log()
        return action, log_prob.sum(-1)

    def update(self, sample: Batch, noise: Tensor) -> None:
        s, a, r, discount, following = (part[0].double() for part in sample)
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            a_next, log_prob_next = self.policy(following, noise[0, 1].double())
            both = torch.cat([following, a_next], -1)
            least = torch.minimum(*(target(both)[:, 0] for target in self.targets))
            y = r + discount * (least - alpha * log_prob_next)
        critic_loss = sum(
            0.5 * (critic(torch.cat([s, a], -1))[:, 0] - y).square().mean() for critic in self.critics
        )
        chosen, log_prob = self.policy(s, noise[0, 0].double())
        least = torch.minimum(*(critic(torch.cat([s, chosen], -1))[:, 0] for critic in self.critics))
        actor_loss = (alpha * log_prob - least).mean()
        alpha_loss = self.log_alpha * (-log_prob.detach().mean() - self.agent.target_entropy)
        parameters = [list(self.actor.parameters()), [], [self.log_alpha]]
        parameters[1] = [p for critic in self.critics for p in critic.parameters()]
        losses = [actor_loss, critic_loss, alpha_loss]
        gradients = [
            torch.autograd.grad(loss, own, retain_graph=True)
            for loss, own in zip(losses, parameters, strict=True)
        ]
        for own, gradient, optimizer in zip(parameters, gradients, self.optimizers, strict=True):
            for parameter, value in zip(own, gradient, strict=True):
                parameter.grad = value
            optimizer.step()
        for target, critic in zip(self.targets, self.critics, strict=True):
            for old, new in zip(target.parameters(), critic.parameters(), strict=True):
                old.data.lerp_(new.data, self.config.tau)


@pytest.mark.parametrize("gradient", ["autograd", "fused"])
def test_update_is_what_textbooks_write(gradient: str) -> None:
    agent = make(tau=0.1, target_entropy_per_dimension=-0.5, initial_alpha=0.3, gradient=gradient)
    reference = Reference(agent)
    for step in range(10):
        sample = batch((3,), step)
        reference.update(sample, agent.update_noise(sample))
        agent.update(sample)
    assert agent.log_alpha.item() == pytest.approx(reference.log_alpha.item(), abs=1e-5)
    for module, network, k in [
        (reference.actor, agent.actor, 0),
        (reference.critics[1], agent.critic, 1),
        (reference.targets[0], agent.target, 0),
    ]:
        expanded = network.expand()
        for layer, weight, bias in zip(module[::2], expanded[::2], expanded[1::2], strict=True):
            torch.testing.assert_close(weight[k].T.double(), layer.weight, atol=2e-5, rtol=1e-4)
            torch.testing.assert_close(bias[k, 0].double(), layer.bias, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("agent", ["dense", "exact", "relaxed", "rpp", "augmented"])
def test_a_seed_alone_learns_what_it_learns_in_a_batch(agent: str) -> None:
    many, one = make(agent, (1, 7, 4)), make(agent, (7,))
    for step in range(5):
        many.update(batch((1, 7, 4), step))
        one.update(batch((7,), step))
    x = torch.randn(1, 9, SIZE)
    torch.testing.assert_close(
        many.act(x.expand(3, 9, SIZE), deterministic=True)[1:2], one.act(x, deterministic=True)
    )
    torch.testing.assert_close(many.log_alpha[1:2], one.log_alpha)


@pytest.mark.parametrize("agent", ["exact", "relaxed"])
def test_actions_and_values_are_equivariant_at_the_start(agent: str) -> None:
    sac = make(agent, (0, 1))
    assert sac.actor.check_equivariance() < 1e-5
    assert sac.critic.check_equivariance() < 1e-5
    x, flip = torch.randn(2, 8, SIZE), torch.ones(2, 8, dtype=torch.long)
    moved = sac.act(sac.symmetry.transform_observation(flip, x), deterministic=True)
    torch.testing.assert_close(moved, -sac.act(x, deterministic=True))


def test_exact_stays_equivariant_and_relaxed_need_not() -> None:
    for agent, stays in (("exact", True), ("relaxed", False)):
        sac = make(agent, relaxed_lr_multiplier=10.0)
        for step in range(30):
            sac.update(batch((3,), step))
        assert (sac.actor.check_equivariance() < 1e-4) == stays


def test_penalty_reduces_differences_of_relaxed_weights() -> None:
    def spread(penalty: float) -> float:
        sac = make("relaxed", relaxed_lr_multiplier=10.0, relaxed_penalty=penalty)
        for step in range(60):
            sac.update(batch((3,), step))
        return float(sac.penalty().detach())

    assert spread(1.0) < 0.1 * spread(0.0)


def test_relaxed_weights_have_their_own_learning_rate() -> None:
    still, moving = make("relaxed", relaxed_lr_multiplier=0.0), make("relaxed", relaxed_lr_multiplier=5.0)
    for sac in (still, moving):
        sac.update(batch((3,), 0))
    assert all(float((w - 1).abs().max()) == 0 for w in still.actor.relaxed_weights().values())
    largest = max(float((w - 1).abs().max()) for w in moving.actor.relaxed_weights().values())
    assert largest == pytest.approx(5e-3, rel=1e-3)  # Adam's first step is the learning rate


def test_target_of_relaxed_critic_averages_parameters() -> None:
    sac = make("relaxed", tau=0.25)
    before = sac.target_values.clone()
    sac.update(batch((3,), 0))
    torch.testing.assert_close(sac.target_values, before + 0.25 * (sac.critic_values - before))
    names = dict(sac.critic.named_parameters())
    for name, old in sac.target.named_parameters():
        assert old.shape == names[name].shape
        assert not torch.equal(old, names[name])


def test_random_actions_differ_and_fixed_ones_do_not() -> None:
    sac, x = make(), torch.randn(1, 4, SIZE)
    assert not torch.equal(sac.act(x), sac.act(x))
    assert torch.equal(sac.act(x, deterministic=True), sac.act(x, deterministic=True))
    assert float(sac.act(10 * x).abs().max()) <= 1


def test_acting_uses_the_latest_weights() -> None:
    sac, x = make(), torch.randn(1, 4, SIZE)
    before = sac.act(x, deterministic=True)
    sac.update(batch((3,), 0))
    assert not torch.equal(before, sac.act(x, deterministic=True))


def test_temperature_finds_the_target_entropy() -> None:
    sac = make(alpha_lr=3e-2, actor_lr=1e-2, target_entropy_per_dimension=-0.5)
    entropies = []
    for step in range(800):
        sac.update(batch((3,), step % 50))
        entropies.append(float(sac.metrics()["entropy"]))
    # The temperature overshoots before it settles, and each batch has an entropy of its own.
    assert sum(entropies[-200:]) / 200 == pytest.approx(-1.0, abs=0.4)


def test_bfloat16_products_stay_close() -> None:
    exact, rough = make(width=64), make(width=64, matmul_dtype="bfloat16")
    for step in range(20):
        exact.update(batch((3,), step))
        rough.update(batch((3,), step))
    a, b = exact.metrics(), rough.metrics()
    assert float(b["critic_loss"]) == pytest.approx(float(a["critic_loss"]), rel=0.05)
    assert rough.flat.values.dtype == torch.float32


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("agent", "best", "agent is 'best'"),
        ("gamma", 1.5, "gamma is 1.5"),
        ("width", 0, "width is 0"),
        ("n_step", True, "n_step is True"),
        ("actor_lr", math.nan, "actor_lr is nan"),
        ("log_std_min", 3.0, "log_std_min is 3.0"),
        ("colour", 1, "unknown setting 'colour'"),
    ],
)
def test_bad_settings_are_refused_by_name(setting: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SACConfig.from_dict({setting: value})


def test_settings_survive_a_round_trip() -> None:
    config = SACConfig(agent="rpp", width=32, device="cpu")
    assert SACConfig.from_dict(config.to_dict()) == config
    assert config.replace(width=8).width == 8


@pytest.mark.parametrize(
    ("relax", "loose", "tied"), [("actor", "actor", "critic"), ("critic", "critic", "actor")]
)
def test_one_network_alone_can_be_relaxed(relax: str, loose: str, tied: str) -> None:
    agent = make("relaxed", relax=relax, relaxed_lr_multiplier=20.0)
    assert [*getattr(agent, loose).relaxed_parameters()]
    assert not [*getattr(agent, tied).relaxed_parameters()]
    for step in range(5):
        agent.update(batch((3,), step))
    assert getattr(agent, tied).check_equivariance() < 1e-5
    assert getattr(agent, loose).check_equivariance() > 1e-4


@pytest.mark.parametrize(
    ("place", "names"), [("first", {"lifting"}), ("inner", {"hidden1", "hidden2"}), ("last", {"head"})]
)
def test_some_layers_alone_can_be_relaxed(place: str, names: set[str]) -> None:
    agent = make("relaxed", relax_layers=place, depth=3, relaxed_lr_multiplier=20.0)
    for network in (agent.actor, agent.critic):
        assert {name.split(".")[0] for name in network.relaxed_weights()} == names
        assert network.check_equivariance() < 1e-5
    for step in range(5):
        agent.update(batch((3,), step))
    assert min(agent.actor.check_equivariance(), agent.critic.check_equivariance()) > 1e-4


def test_relaxed_weights_can_start_apart_each_seed_by_its_own_numbers() -> None:
    agent, alone = make("relaxed", (3, 8), relaxed_noise=0.1), make("relaxed", (8,), relaxed_noise=0.1)
    assert agent.actor.check_equivariance() > 1e-3
    for name, weights in agent.actor.relaxed_weights().items():
        assert torch.equal(weights[1:], alone.actor.relaxed_weights()[name])
        assert not torch.equal(weights[0], weights[1])
    for name, weights in agent.critic.relaxed_weights().items():
        assert torch.equal(weights, agent.target.relaxed_weights()[name])


def test_averages_of_units_that_died_vanish_before_they_are_slow() -> None:
    parameter = torch.nn.Parameter(torch.ones(8))
    flat = FlatParameters([(1e-3, [parameter])])
    adam = flat.adam()
    (held,) = adam.state.values()
    flat.gradients.fill_(1e-12)
    for step in range(600):
        adam.step()
        flat.gradients[4:] = 0.0
        if step % SWEEP == SWEEP - 1:
            for average in (held["exp_avg"], held["exp_avg_sq"]):
                assert not bool(((average != 0) & (average.abs() < 1e-37)).any())
    assert bool((held["exp_avg"][:4] > 0).all())
    assert torch.equal(held["exp_avg"][4:8], torch.zeros(4))


def test_decay_draws_weights_to_their_mean_apart_from_the_loss() -> None:
    agent = make(
        "relaxed",
        relaxed_noise=0.3,
        relaxed_decay=0.5,
        relaxed_lr_multiplier=10.0,
        actor_lr=1e-2,
        critic_lr=2e-2,
    )
    before = {name: weights.clone() for name, weights in agent.actor.relaxed_weights().items()}
    agent.flat.gradients.zero_()
    agent.descend()
    for name, weights in agent.actor.relaxed_weights().items():
        mean = before[name].mean(dim=tuple(range(2, weights.ndim)), keepdim=True)
        torch.testing.assert_close(weights, mean + 0.95 * (before[name] - mean))
    for _ in range(100):
        agent.descend()
    assert max(agent.actor.check_equivariance(), agent.critic.check_equivariance()) < 1e-2


@pytest.mark.skipif(importlib.util.find_spec("escnn") is None, reason="escnn is not installed")
@pytest.mark.parametrize("kind", ["exact", "relaxed"])
def test_an_agent_with_steerable_convolutions_learns_and_is_saved(kind: str, tmp_path: Path) -> None:
    group = dihedral(4)
    symmetry = Symmetry(group, trivial(group, 2), standard(group), plane=standard(group))
    config = SACConfig(
        agent=kind,  # type: ignore[arg-type]
        width=16,
        image_size=15,
        encoder_layer="steerable",
        encoder_channels=8,
        encoder_convolutions=2,
        encoder_features=16,
        relaxed_decay=0.1,
        relaxed_penalty=0.1,
    )
    agent = SAC(symmetry, config, (0, 1))
    noise = Noise(agent.seeds)
    before = {name: p.detach().clone() for name, p in agent.actor.named_parameters()}
    for step in range(2):
        images = (noise.normal(name, step, (B, 2, 15, 15)) for name in ("observation", "next"))
        action, reward = noise.normal("action", step, (B, 2)).tanh(), noise.normal("reward", step, (B,))
        observation, following = images
        agent.update(Batch(observation, action, reward, torch.full_like(reward, 0.9), following))
    moved = {name for name, p in agent.actor.named_parameters() if not torch.equal(p, before[name])}
    assert any("coefficients" in name for name in moved)
    assert all(bool(value.isfinite().all()) for value in agent.metrics().values())
    if kind == "exact":
        assert agent.actor.check_equivariance() < 1e-5
    agent.save(tmp_path)
    same = SAC.load(tmp_path)
    assert same.config == config
    assert torch.equal(same.act(observation, deterministic=True), agent.act(observation, deterministic=True))


@pytest.mark.parametrize("kind", ["dense", "exact", "relaxed"])
def test_an_agent_with_residual_blocks_is_saved(kind: str, tmp_path: Path) -> None:
    agent = make(kind, residual=True)
    for step in range(3):
        agent.update(batch((3,), step))
    if kind == "exact":
        assert max(agent.actor.check_equivariance(), agent.critic.check_equivariance()) < 1e-5
    agent.save(tmp_path)
    x = batch((3,), 3).observation
    assert torch.equal(SAC.load(tmp_path).act(x, deterministic=True), agent.act(x, deterministic=True))


def test_predict_returns_the_deterministic_action_of_a_seed_as_an_array() -> None:
    agent = make("relaxed", seeds=(3, 8), actor_average=0.9)
    agent.update(batch((3, 8), 0))
    observations = batch((3, 8), 1).observation[0].numpy()
    wanted = agent.act(torch.from_numpy(observations).expand(2, -1, -1), deterministic=True)
    np.testing.assert_array_equal(agent.predict(observations), wanted[0].numpy())
    np.testing.assert_array_equal(agent.predict(observations, seed=8), wanted[1].numpy())
    single = agent.predict(observations[0].astype(np.float64).tolist())
    assert single.shape == (A,)
    np.testing.assert_allclose(single, wanted[0, 0].numpy(), atol=1e-6)


def test_predict_of_rows_and_after_loading(tmp_path: Path) -> None:
    group = cyclic(2)
    symmetry = Symmetry(group, sign(group) + trivial(group), sign(group), rows=4)
    agent = SAC(symmetry, SACConfig(width=8, agent="exact"), (0,))
    observation = np.random.default_rng(0).normal(size=(4, 2))
    agent.save(tmp_path)
    loaded = SAC.load(tmp_path)
    assert agent.predict(observation).shape == (4,)
    np.testing.assert_array_equal(loaded.predict(observation[None]), agent.predict(observation[None]))
    np.testing.assert_allclose(agent.predict(observation * [-1, 1]), -agent.predict(observation), atol=1e-6)


def test_predict_refuses_other_shapes_and_seeds() -> None:
    agent = make()
    with pytest.raises(
        ConfigError, match=r"shape \[4\]; 1 axes are needed, or 2 for a batch, with 5 numbers"
    ):
        agent.predict(np.zeros(4))
    with pytest.raises(ConfigError, match=r"seed 1 was not trained; the agent has \[3\]"):
        agent.predict(np.zeros(SIZE), seed=1)
