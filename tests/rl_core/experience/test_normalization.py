"""Normalised inputs: they commute with the group, resume, and make learning independent of units."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from rl_core.checkpoint import latest_checkpoint
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.normalization import ObservationNormalizer
from rl_core.sac import SAC, load_agent
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial
from rl_core.symmetry.symmetry import Element
from rl_core.training import TrainResult, train
from tests.rl_core.problems import KINDS, SMALL, Point, batch, make, symmetries, values

CPU = torch.device("cpu")
NORMALIZED = SMALL.replace(normalize_observations=True)


def observations(symmetry: Symmetry, seeds: int = 2, size: int = 40) -> Tensor:
    """Inputs whose entries have means and spreads of their own."""
    rows = () if symmetry.rows is None else (symmetry.rows,)
    generator = torch.Generator().manual_seed(5)
    width = symmetry.observation.dimension
    scale = torch.logspace(-2, 3, width)
    x = torch.randn(seeds, size, *rows, width, generator=generator)
    return scale * (x + torch.linspace(-2, 2, width))


def normalizer(symmetry: Symmetry) -> ObservationNormalizer:
    made = ObservationNormalizer(symmetry, 2, CPU)
    x = observations(symmetry)
    made.observe(x[:, :7])
    made.observe(x[:, 7:])
    return made


def many() -> dict[str, Symmetry]:
    c3 = cyclic(3)
    turned = standard(c3) + standard(c3) + trivial(c3, 2)
    return {**symmetries(), "C3": Symmetry(c3, turned, trivial(c3))}


@pytest.mark.parametrize("name", many())
def test_commutes_with_the_group(name: str) -> None:
    symmetry = many()[name]
    normalize, x = normalizer(symmetry), observations(symmetry, size=6)
    for g in range(symmetry.group.order):
        permutation = symmetry.random(x.shape[:2], torch.Generator().manual_seed(g)).permutation
        element = Element(torch.full(x.shape[:2], g), permutation)
        moved = normalize(symmetry.transform_observation(element, x))
        torch.testing.assert_close(moved, symmetry.transform_observation(element, normalize(x)))


@pytest.mark.parametrize("name", many())
def test_orbit_of_inputs_has_mean_zero_and_variance_one(name: str) -> None:
    symmetry = many()[name]
    x = observations(symmetry)
    orbit = torch.cat([symmetry.transform_observation(g, x) for g in range(symmetry.group.order)], 1)
    y = normalizer(symmetry)(orbit).flatten(1, -2)
    torch.testing.assert_close(y.mean(1), torch.zeros(len(y), y.shape[2]), rtol=0, atol=1e-4)
    # Of a block that the group mixes, the variances are one on average.
    assert torch.allclose(y.var(1, correction=0).sum(1), torch.tensor(float(y.shape[2])), rtol=1e-4)
    if symmetry.observation.is_signed_permutation:
        torch.testing.assert_close(y.var(1, correction=0), torch.ones_like(y[:, 0]), rtol=1e-3, atol=0)


def test_statistics_are_those_of_all_inputs_at_once() -> None:
    group = cyclic(1)
    made = normalizer(Symmetry(group, trivial(group, 5), trivial(group)))
    x = observations(Symmetry(group, trivial(group, 5), trivial(group))).double()
    torch.testing.assert_close(made.state["mean"], x.mean(1))
    torch.testing.assert_close(made.state["squares"] / 40, x.var(1, correction=0))


def test_constant_inputs_are_shifted_only() -> None:
    group = cyclic(1)
    made = ObservationNormalizer(Symmetry(group, trivial(group, 2), trivial(group)), 1, CPU)
    x = torch.tensor([0.3, 0.0]).expand(1, 9, 2)
    assert torch.equal(made(x), x)
    made.observe(x)
    made.observe(x[:, :4])
    torch.testing.assert_close(made(x + 0.5), torch.full((1, 9, 2), 0.5))


def test_images_are_refused() -> None:
    group = dihedral(1)
    pictures = Symmetry(group, trivial(group, 3), trivial(group), plane=standard(group))
    with pytest.raises(ConfigError, match="normalize_observations: images and time windows"):
        SAC(pictures, SACConfig(normalize_observations=True, image_size=21), (0,))


@pytest.mark.parametrize("name", ["C2", "rows"])
@pytest.mark.parametrize("kind", KINDS)
def test_scaled_and_shifted_inputs_change_nothing(kind: str, name: str) -> None:
    """For every kind of agent, an update and an action depend on standardised inputs alone."""
    symmetry = symmetries()[name]
    plain, scaled = (make(kind, symmetry, normalize_observations=True) for _ in range(2))
    # A power of two is exact in floating point.
    invariant = symmetry.observation.invariant_projection.float() @ torch.linspace(
        1, 2, symmetry.observation.dimension
    )

    def disguise(x: Tensor) -> Tensor:
        return 1024.0 * (x + 4 * invariant)

    for step in range(3):
        sampled = batch(symmetry, plain.seeds, step)
        hidden = sampled._replace(
            observation=disguise(sampled.observation), next_observation=disguise(sampled.next_observation)
        )
        for agent, given in ((plain, sampled), (scaled, hidden)):
            agent.observe(given.observation)
            agent.update(given)
    x = batch(symmetry, plain.seeds, 9).observation
    torch.testing.assert_close(plain.act(x, True), scaled.act(disguise(x), True), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["C2", "D4", "rows"])
def test_exact_agent_stays_equivariant(name: str) -> None:
    symmetry = symmetries()[name]
    agent = make("exact", symmetry, normalize_observations=True)
    x = observations(symmetry, size=8)
    agent.observe(x)
    action, q = agent.act(x, True), agent.values(x, torch.zeros(2, 8, symmetry.action_size))
    for g in range(symmetry.group.order):
        moved = symmetry.transform_observation(g, x)
        torch.testing.assert_close(
            agent.act(moved, True), symmetry.transform_action(g, action), rtol=0, atol=1e-4
        )
        torch.testing.assert_close(agent.values(moved, torch.zeros_like(action)), q, rtol=1e-4, atol=1e-4)


def test_fused_gradient_equals_autograd() -> None:
    for name, symmetry in symmetries().items():
        sampled = batch(symmetry, (0, 1), 0)
        sampled = sampled._replace(observation=100 * sampled.observation + 7)
        agents = [
            make("relaxed", symmetry, normalize_observations=True, gradient=way)
            for way in ("fused", "autograd")
        ]
        for agent in agents:
            agent.observe(sampled.observation)
            agent.update(sampled)
        torch.testing.assert_close(values(agents[0]), values(agents[1]), rtol=1e-3, atol=1e-5, msg=name)


class Disguised(Point):
    """The same point, whose position is measured in other units."""

    unit = 1024.0

    def encode(self, observation: Tensor) -> Tensor:
        return self.unit * observation


def run(
    seeds: tuple[int, ...],
    steps: int,
    directory: Path | None = None,
    *,
    kind: type[Point] = Point,
    resume: bool = False,
    config: SACConfig = NORMALIZED,
) -> TrainResult:
    return train(
        kind(seeds),
        config,
        seeds=seeds,
        steps=steps,
        directory=directory,
        resume=resume,
        log_every=5,
        checkpoint_every=20,
    )


@pytest.mark.parametrize("agent", ["dense", "exact", "relaxed"])
def test_training_does_not_depend_on_units(agent: str) -> None:
    config = NORMALIZED.replace(agent=agent)
    plain, other = (run((0, 1), 60, kind=kind, config=config).agent for kind in (Point, Disguised))
    assert plain.updates > 0
    torch.testing.assert_close(values(other), values(plain), rtol=1e-3, atol=1e-4)


def test_normalised_inputs_are_learned_from() -> None:
    class Far(Point):
        symmetry = Symmetry(cyclic(2), sign(cyclic(2)) + trivial(cyclic(2)), sign(cyclic(2)))

        def __init__(self, seeds: tuple[int, ...], n_envs: int = 4) -> None:
            super().__init__(seeds, n_envs)
            self.symmetry = Far.symmetry

        def encode(self, observation: Tensor) -> Tensor:
            return torch.cat([1000 * observation, 500 + observation.square()], -1)

    config = NORMALIZED.replace(
        width=16, batch_size=64, capacity=2000, actor_lr=3e-3, critic_lr=3e-3, alpha_lr=3e-3, gamma=0.9
    )
    env = Far((0, 1))
    agent = train(env, config, seeds=(0, 1), steps=600).agent
    x = torch.linspace(-1, 1, 21)[:, None].expand(2, -1, -1)
    after = x + 0.5 * agent.act(env.encode(x), deterministic=True)
    best = (x.abs() - 0.5).clamp_min(0)
    assert float((after.abs() - best).mean()) < 0.1


def test_resume_equals_training_in_one_go(tmp_path: Path) -> None:
    whole = run((0, 1), 100).agent
    run((0, 1), 60, tmp_path)
    resumed = run((0, 1), 100, tmp_path, resume=True).agent
    assert torch.equal(values(resumed), values(whole))
    assert resumed.normalizer is not None
    assert whole.normalizer is not None
    for name, own in whole.normalizer.state.items():
        assert torch.equal(resumed.normalizer.state[name], own), name


def test_loaded_agent_normalises_as_the_trained_one(tmp_path: Path) -> None:
    agent = run((0, 1), 40, tmp_path).agent
    loaded, x = load_agent(tmp_path), torch.randn(2, 5, 1)
    assert torch.equal(loaded.act(x, deterministic=True), agent.act(x, deterministic=True))
    assert (loaded.predict(x[1], seed=1) == agent.predict(x[1], seed=1)).all()
    assert torch.equal(loaded.values(x, x), agent.values(x, x))


def test_seed_alone_learns_what_it_learns_in_a_batch() -> None:
    batch, alone = run((3, 4), 60).agent, run((4,), 60).agent
    for many_seeds, one in zip(batch.actor.parameters(), alone.actor.parameters(), strict=True):
        assert torch.allclose(many_seeds[1], one[0], atol=1e-5)


def test_diverged_seed_keeps_its_statistics(tmp_path: Path) -> None:
    class Spoiled(Point):
        def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
            x, reward, *rest = super().step(action)
            reward[0] = 1e12 if self.draws > 5 else reward[0]
            return x, reward, *rest  # type: ignore[return-value]

    result = run((0, 1), 100, tmp_path, kind=Spoiled)
    assert result.diverged == (True, False)
    assert result.agent.normalizer is not None
    counts = result.agent.normalizer.state["count"].tolist()
    assert counts[0] < counts[1] == 200
    assert latest_checkpoint(tmp_path) is not None
