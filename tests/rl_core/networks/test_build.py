"""Networks of every kind: shapes, equivariance, seeds, penalties, relaxed weights and named faults."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from rl_core.agents import find_kind, kind_names
from rl_core.errors import ConfigError, SymmetryError
from rl_core.networks import (
    EncoderShape,
    Network,
    Shape,
    build_actor,
    build_critic,
    matching_width,
)
from rl_core.networks.vectors import FourierNetwork, VectorNetwork
from rl_core.symmetry import (
    Symmetry,
    cyclic,
    dihedral,
    from_generators,
    regular,
    sign,
    standard,
    trivial,
)

D1, D2, D4 = dihedral(1), dihedral(2), dihedral(4)

# Those that are made of the networks on vectors, rows and images; others have tests of their own.
KINDS = [name for name in kind_names() if find_kind(name).build is None]
ENCODER = EncoderShape(image_size=15, channels=8, convolutions=2, features=16)

SYMMETRIES = {
    "flip": Symmetry(D1, from_generators(D1, {"f": [-1.0, 1.0, -1.0]}), sign(D1)),
    "klein": Symmetry(D2, standard(D2) + regular(D2), standard(D2)),
    "square": Symmetry(D4, 2 * standard(D4), standard(D4)),
    "rows": Symmetry(D1, from_generators(D1, {"f": [-1.0, 1.0, -1.0]}), sign(D1), rows=4),
    "pixels": Symmetry(D1, trivial(D1, 2), sign(D1), plane=standard(D1)),
    "window": Symmetry(D1, trivial(D1, 2), trivial(D1), plane=from_generators(D1, {"f": [-1.0]})),
    "none": Symmetry.none(3, 2),
}


def generators(copies: int) -> list[Generator]:
    return [torch.Generator().manual_seed(i) for i in range(copies)]


def build(kind: str, name: str, seeds: list[Generator], **options: object) -> tuple[Network, Network]:
    shape = Shape(**{"width": 32, **options})  # type: ignore[arg-type]
    other = [torch.Generator().manual_seed(int(g.initial_seed()) + 100) for g in seeds]
    symmetry = SYMMETRIES[name]
    return (
        build_actor(kind, symmetry, shape, encoder=ENCODER, generators=seeds),
        build_critic(kind, symmetry, shape, encoder=ENCODER, generators=other),
    )


@pytest.mark.parametrize("name", SYMMETRIES)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes_seeds_and_equivariance(kind: str, name: str) -> None:
    symmetry = SYMMETRIES[name]
    actor, critic = build(kind, name, generators(2))
    x = torch.randn(2, 3, *actor.example_shape())
    a = torch.rand(2, 3, symmetry.action_size)
    assert actor(x).shape == (2, 3, 2 * symmetry.action_size)
    q = critic(critic.pack(x, a))
    assert q.shape == (2, 2, 3)
    assert actor.penalty().shape == (2,)
    assert critic.penalty().shape == (4,)
    tolerance = {"exact": 2e-6, "relaxed": 2e-6, "rpp": 0.1}.get(kind, float("inf"))
    assert actor.check_equivariance() < tolerance
    assert critic.check_equivariance() < tolerance
    actor_alone, critic_alone = build(kind, name, generators(2)[1:])
    torch.testing.assert_close(actor_alone(x[1:]), actor(x)[1:], atol=1e-5, rtol=1e-5)
    alone = critic_alone(critic.pack(x[1:], a[1:]))
    torch.testing.assert_close(alone, q[1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "options", [{"layer_norm": True}, {"interaction": "attention", "heads": 2}, {"depth": 1}]
)
@pytest.mark.parametrize("name", ["klein", "rows"])
def test_options_keep_equivariance(name: str, options: dict[str, object]) -> None:
    for kind in ("exact", "relaxed"):
        for network in build(kind, name, generators(2), **options):
            assert network.check_equivariance() < 2e-6
            assert network.expand()


@pytest.mark.parametrize("name", ["flip", "klein", "square", "pixels"])
@pytest.mark.parametrize("kind", ["exact", "relaxed", "rpp"])
def test_residual_blocks_keep_equivariance(kind: str, name: str) -> None:
    for network in build(kind, name, generators(2), residual=True):
        loose = {id(p) for p in network.relaxed_parameters()}
        for parameter_name, p in network.named_parameters():
            if id(p) not in loose and "free" not in parameter_name:
                p.data += 0.1 * torch.randn_like(p)
        assert network.check_equivariance() < (0.1 if kind == "rpp" else 5e-6)
        assert bool(loose) == (kind == "relaxed")


@pytest.mark.parametrize("name", ["flip", "klein", "square", "rows"])
def test_exact_stays_and_relaxed_breaks(name: str) -> None:
    for kind in ("exact", "relaxed"):
        for network in build(kind, name, generators(2)):
            own = {id(p) for p in network.relaxed_parameters()}
            for p in network.parameters():
                if id(p) not in own:
                    p.data += 0.2 * torch.randn_like(p)
            assert network.check_equivariance() < 5e-6
            assert bool(own) == (kind == "relaxed")
            if kind == "relaxed":
                for p in network.relaxed_parameters():
                    p.data += 0.5 * torch.randn_like(p)
                assert network.check_equivariance() > 1e-3
                assert float(network.penalty().detach().min()) > 0
                order = SYMMETRIES[name].group.order
                assert {w.shape[-1] for w in network.relaxed_weights().values()} == {order}


def test_gradients_reach_every_parameter() -> None:
    for name in ("klein", "rows", "pixels"):
        for kind in KINDS:
            for network in build(kind, name, generators(2)):
                x = torch.randn(2, 3, *network.example_shape())
                a = torch.rand(2, 3, SYMMETRIES[name].action_size, requires_grad=True)
                inputs = x if network.ensemble is None else network.pack(x, a)
                network(inputs).square().sum().backward()
                missing = [n for n, p in network.named_parameters() if p.grad is None]
                assert missing == []
                if network.ensemble is not None:
                    assert a.grad is not None


@pytest.mark.parametrize(
    "options", [{}, {"layer_norm": True}, {"residual": True}, {"residual": True, "depth": 1}]
)
def test_exact_uses_the_fourier_form_and_it_is_the_plain_one(options: dict[str, object]) -> None:
    for network in build("exact", "klein", generators(2), **options):
        assert isinstance(network, FourierNetwork)
        for p in network.parameters():
            p.data += 0.1 * torch.randn_like(p)
        x = torch.randn(2, 5, network.input_size)
        plain = [t for _, layer in network.named_layers() for t in layer.expand()]
        shape = Shape(**{"width": 32, **options})  # type: ignore[arg-type]
        form = VectorNetwork(
            find_kind("exact"), network.symmetry, shape, network.ensemble, generators(network.copies)
        )
        torch.testing.assert_close(form.apply(plain, x), network(x), atol=1e-6, rtol=1e-5)
    square, _ = build("exact", "square", generators(2))
    assert not isinstance(square, FourierNetwork)


def test_exact_rows_run_on_any_number() -> None:
    actor, _ = build("exact", "rows", generators(2))
    assert actor(torch.randn(2, 3, 9, 3)).shape == (2, 3, 18)
    relaxed, _ = build("relaxed", "rows", generators(2))
    with pytest.raises(SymmetryError, match="4 rows"):
        relaxed(torch.randn(2, 3, 9, 3))


def test_relaxed_critic_breaks_exchange_in_its_pool() -> None:
    _, critic = build("relaxed", "rows", generators(1))
    pool = critic.layers["pool"]
    pool.w.data[:, :, 0] += 1.0  # type: ignore[union-attr, operator]
    assert critic.check_equivariance() > 1e-4


def parameters(kind: str, symmetry: Symmetry, shape: Shape) -> int:
    """Parameters of an actor and one critic."""
    actor = build_actor(kind, symmetry, shape, generators=generators(1))
    critic = build_critic(kind, symmetry, shape, ensemble=1, generators=generators(1))
    return actor.parameter_count() + critic.parameter_count()


def test_matching_widths() -> None:
    symmetry, shape = SYMMETRIES["square"], Shape(256)
    for kind in ("exact", "relaxed"):
        width = matching_width(kind, symmetry, shape, reference="dense")
        wanted = parameters("dense", symmetry, shape)
        assert parameters(kind, symmetry, Shape(width)) == pytest.approx(wanted, rel=0.05)
        # The way back, as width is rounded to the group's order.
        back = matching_width("dense", symmetry, Shape(width), reference=kind)
        assert back == pytest.approx(256, abs=4)
    # F = H/√(nL), so that the width n·F is H √(n/L).
    assert matching_width("relaxed", symmetry, shape, reference="dense") == pytest.approx(256 * 2, rel=0.1)


def test_faults_are_named() -> None:
    symmetry = SYMMETRIES["flip"]
    with pytest.raises(ConfigError, match="agent is 'sac'; choose one of"):
        build_actor("sac", symmetry, generators=generators(1))
    with pytest.raises(ConfigError, match="width: must be at least 1"):
        build_actor("exact", symmetry, Shape(width=0), generators=generators(1))
    with pytest.raises(ConfigError, match="interaction"):
        build_actor("exact", symmetry, Shape(interaction="none"), generators=generators(1))
    with pytest.raises(ConfigError, match="ensemble"):
        build_critic("exact", symmetry, ensemble=0, generators=generators(1))
    with pytest.raises(ConfigError, match="one is needed for each seed"):
        build_actor("exact", symmetry, generators=[])
    with pytest.raises(ConfigError, match="residual: networks on rows"):
        build("relaxed", "rows", generators(1), residual=True)
    actor, _ = build("dense", "flip", generators(2))
    with pytest.raises(SymmetryError, match=r"needs input \[2 seeds, B, 3\], got \[2, 5, 4\]"):
        actor(torch.zeros(2, 5, 4))
    with pytest.raises(ConfigError, match="an actor takes the observation alone"):
        actor.pack(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1))
    with pytest.raises(SymmetryError, match="leaves 1 over"):
        build_actor(
            "exact", SYMMETRIES["pixels"], encoder=EncoderShape(image_size=84), generators=generators(1)
        )
    with pytest.raises(SymmetryError, match="tanh commutes"):
        Symmetry(cyclic(3), trivial(cyclic(3)), standard(cyclic(3)))
