from __future__ import annotations

import logging
from contextlib import nullcontext

import pytest
import torch

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.fused.recorder import Tape
from rl_core.fused.sac_gradient import FusedGradient
from rl_core.fused.vector_step import VectorStep, supports_vectors
from rl_core.layers import RegularLinear
from rl_core.learner import Autograd, choose_gradient
from rl_core.networks.vectors import VectorNetwork
from rl_core.optimizer import FlatParameters
from rl_core.random import Noise
from rl_core.replay import Batch
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial

B = 16
KINDS = ["dense", "exact", "relaxed", "rpp", "augmented"]


def symmetries() -> dict[str, Symmetry]:
    c2, d2, d4 = cyclic(2), dihedral(2), dihedral(4)
    odd, plane, turned = sign(c2), standard(d2), standard(d4)
    return {
        "C2": Symmetry(c2, odd + odd + trivial(c2, 3), odd + odd),
        "D2": Symmetry(d2, plane + plane + trivial(d2, 2), plane),
        "D4": Symmetry(d4, turned + turned, turned),
        "rows": Symmetry(c2, odd + trivial(c2, 1), odd, rows=3),
    }


def make(kind: str, symmetry: Symmetry, seeds: tuple[int, ...] = (0, 1), **settings: object) -> SAC:
    config = {"agent": kind, "width": 16, "depth": 3, "batch_size": B, **settings}
    return SAC(symmetry, SACConfig.from_dict(config), seeds)


def batch(symmetry: Symmetry, seeds: tuple[int, ...], step: int, size: int = B) -> Batch:
    noise = Noise(seeds)
    rows = () if symmetry.rows is None else (symmetry.rows,)
    shape = (size, *rows, symmetry.observation.dimension)
    return Batch(
        noise.normal("observation", step, shape),
        noise.normal("action", step, (size, symmetry.action_size)).tanh(),
        noise.normal("reward", step, (size,)),
        noise.uniform("discount", step, (size,)),
        noise.normal("next", step, shape),
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["C2", "D2", "D4", "rows"])
def test_fused_gradient_is_that_of_autograd(kind: str, name: str) -> None:
    symmetry = symmetries()[name]
    # Narrow bounds: some log standard deviations are clamped.
    agent = make(kind, symmetry, relaxed_penalty=0.1, log_std_min=-0.05, log_std_max=0.05)
    if not supports_vectors(agent.actor):
        assert name == "rows"
        return
    with torch.no_grad():
        agent.flat.values.add_(0.1 * torch.randn(agent.flat.values.shape))
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


def test_flat_parameters_join_equal_rates_and_stay_what_they_were() -> None:
    a, b, c = (torch.nn.Parameter(torch.randn(size)) for size in (3, 20, 5))
    before = [p.detach().clone() for p in (a, b, c)]
    flat = FlatParameters([(0.1, [a]), (0.1, [b]), (0.2, [c])])
    assert [rate for rate, _ in flat.leaves] == [0.1, 0.2]
    for parameter, old in zip((a, b, c), before, strict=True):
        assert torch.equal(parameter, old)
        assert parameter.data_ptr() % 64 == flat.values.data_ptr() % 64
    optimizer = flat.adam()
    (a.sum() + b.sum() - c.sum()).backward()
    optimizer.step()
    for parameter, old, change in zip((a, b, c), before, (-0.1, -0.1, 0.2), strict=True):
        torch.testing.assert_close(parameter.detach(), old + change)
    with pytest.raises(ValueError, match="side by side"):
        flat.span([a, c])


@pytest.mark.parametrize("sizes", [(48, 64), (3, 40)])
def test_adam_takes_the_steps_of_pytorch(sizes: tuple[int, int]) -> None:
    start = [torch.randn(size) for size in sizes]
    ours, theirs = ([torch.nn.Parameter(x.clone()) for x in start] for _ in range(2))
    flat = FlatParameters([(0.1, [ours[0]]), (0.2, [ours[1]])])
    optimizer = flat.adam()
    groups = [{"params": [p], "lr": rate} for p, rate in zip(theirs, (0.1, 0.2), strict=True)]
    reference = torch.optim.Adam(groups, fused=True)
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            assert mine.grad is not None
            other.grad = torch.randn(other.shape)
            mine.grad.copy_(other.grad)
        optimizer.step()
        reference.step()
    # What is left over after whole vectors of the processor is rounded apart from them.
    whole = all(size % 16 == 0 for size in sizes)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0 if whole else 1e-6, atol=0 if whole else 1e-7)


def test_tape_hands_out_freed_memory_again() -> None:
    tape, like = Tape(), torch.zeros(1)
    first = tape.buffer(like, 2, 3)
    tape.free(first)
    assert tape.buffer(like, 6).data_ptr() == first.data_ptr()
    assert tape.buffer(like, 6).data_ptr() != first.data_ptr()


def test_tape_writes_where_it_wrote_and_reads_anew() -> None:
    tape, x = Tape(), torch.tensor([1.0, -2.0])
    double = tape(torch.mul, x, 2)
    room = torch.empty(2)
    assert tape(torch.add, double, x, out=room) is room
    rectified = tape.rectified_sum(double, x, -1.0, torch.empty(2))
    rough = tape.cast(room, torch.bfloat16)
    assert tape.cast(room, torch.float32) is room
    assert room.tolist() == rough.tolist() == [3.0, -6.0]
    x.copy_(torch.tensor([-1.0, 4.0]))
    tape.run()
    assert room.tolist() == rough.tolist() == [-3.0, 12.0]
    assert rectified.tolist() == [0.0, 4.0]


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
