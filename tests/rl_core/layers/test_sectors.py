"""Layers and networks on rows that are exchangeable within sectors only."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers import SetHead, SetLifting, SetLinear, SetPool
from rl_core.layers.attention import SetAttention
from rl_core.layers.base import Layer
from rl_core.layers.rpp import residual
from rl_core.networks.base import Network, Shape
from rl_core.networks.build import build_actor, build_critic
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, sign, standard, trivial
from rl_core.symmetry.measure import elements
from tests.rl_core.layers.examples import generators, randomise

SECTORS = (0, 1, 0, 2, 1, 0)
WITHIN, ACROSS = [2, 4, 5, 3, 1, 0], [1, 0, 2, 3, 4, 5]


def problem() -> Symmetry:
    group = cyclic(2)
    observation = sign(group) + sign(group) + trivial(group, 2)
    return Symmetry(group, observation, sign(group), rows=len(SECTORS), sectors=SECTORS)


def networks(kind: str, symmetry: Symmetry, **shape: object) -> list[Network]:
    size = Shape(width=16, **shape)
    actor = build_actor(kind, symmetry, size, generators=generators())
    return [actor, build_critic(kind, symmetry, size, generators=generators())]


def moved_apart(network: Network, order: list[int]) -> float:
    """The largest difference between the answer to permuted rows and the permuted answer."""
    x = torch.randn(2, 5, len(SECTORS), 4, generator=torch.Generator().manual_seed(1))
    a = torch.randn(2, 5, len(SECTORS), generator=torch.Generator().manual_seed(2))
    if network.ensemble is not None:
        q = network(network.pack(x, a))
        return float((network(network.pack(x[:, :, order], a[..., order])) - q).abs().max())
    mean, moved = (network(own)[..., : len(SECTORS)] for own in (x, x[:, :, order]))
    return float((moved - mean[..., order]).detach().abs().max())


def set_layers(relaxed: bool, relax_over: str) -> list[Layer]:
    group = dihedral(2)
    source = standard(group) + sign(group)
    options = {
        "rows": len(SECTORS),
        "sectors": SECTORS,
        "relax_over": relax_over,
        "banks": 2 if relaxed else 1,
        "relaxed": relaxed,
        "generators": generators(),
    }
    return [
        SetLifting(source, 3, **options),
        SetLifting(source, 3, last_apart=True, **options),
        SetLinear(group, 3, 4, **options),
        SetHead(source, 3, **options),
        SetPool(group, 3, **options),
        SetAttention(group, 4, heads=2, **options),
    ]


@pytest.mark.parametrize(("relaxed", "relax_over"), [(False, "assets"), (True, "assets"), (True, "sectors")])
def test_layers_are_equivariant_within_sectors(relaxed: bool, relax_over: str) -> None:
    for layer in set_layers(relaxed, relax_over):
        randomise(layer, relaxed=False)
        assert layer.check_equivariance() < 1e-5, type(layer).__name__


def test_layers_relaxed_over_sectors_stay_equivariant_within_them() -> None:
    for of_sectors, of_assets in zip(set_layers(True, "sectors"), set_layers(True, "assets"), strict=True):
        for layer in (of_sectors, of_assets):
            layer.w.data[:, 0] += 0.5 * torch.randn(
                layer.w[:, 0].shape, generator=torch.Generator().manual_seed(3)
            )
            layer.w.data = layer.w.data.mean(-1, keepdim=True).expand_as(layer.w).clone()
        assert of_sectors.w.shape[2] == 3
        assert of_sectors.check_equivariance() < 1e-5
        assert of_assets.check_equivariance() > 1e-3


def reference(layer: SetLifting, x: Tensor) -> Tensor:
    """Loops: y_i(g) = Σ_l w_l(i, g) (A_l x_i + B_l mean_j x_j + C_l mean over i's sector)(g) + b."""
    copies, rows, batch, _ = x.shape
    n, fields = layer.group.order, layer.psi.shape[-1]
    y = torch.zeros(copies, rows, batch, n, fields, dtype=x.dtype)
    for k in range(copies):
        for i in range(rows):
            own = [j for j in range(rows) if SECTORS[j] == SECTORS[i]]
            inputs = [x[k, i], x[k].mean(0), sum(x[k, j] for j in own) / len(own)]
            for g in range(n):
                back = int(layer.group.inverse[g])
                for bank in range(layer.banks):
                    w = 1.0 if layer.w is None else layer.row_gates()[k, bank, i, g]
                    for value, psi in zip(inputs, (layer.psi, layer.psi_mean, layer.psi_sector), strict=True):
                        y[k, i, :, g] += w * (layer.source.transform(back, value) @ psi[k, bank])
                y[k, i, :, g] += layer.bias[k, 0]
    return y.flatten(3)


@pytest.mark.parametrize(("relaxed", "relax_over"), [(False, "assets"), (True, "assets"), (True, "sectors")])
@pytest.mark.parametrize("place", [0, 1])
def test_sector_means_equal_a_loop(relaxed: bool, relax_over: str, place: int) -> None:
    layer = set_layers(relaxed, relax_over)[place].double()
    randomise(layer, relaxed=True)
    x = torch.randn(2, len(SECTORS), 4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), reference(layer, x))


def test_one_sector_is_the_function_class_of_no_sectors() -> None:
    """With one sector the mean over it is that over all rows, so that the two filters add up."""
    group, source = dihedral(1), standard(dihedral(1))
    plain = SetLifting(source, 3, rows=4, generators=generators())
    of_one = SetLifting(source, 3, rows=4, sectors=[0] * 4, generators=generators())
    randomise(of_one, relaxed=False)
    with torch.no_grad():
        plain.psi.copy_(of_one.psi)
        plain.psi_mean.copy_(of_one.psi_mean + of_one.psi_sector)
        plain.bias.copy_(of_one.bias)
    x = torch.randn(2, 4, 5, 2)
    torch.testing.assert_close(of_one(x), plain(x), atol=1e-5, rtol=1e-5)
    one = Symmetry(group, source, sign(group), rows=4, sectors=(0,) * 4)
    order = one.permutation(torch.rand(50, 4, generator=torch.Generator().manual_seed(0)))
    free = replace(one, sectors=None).permutation(
        torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    )
    assert torch.equal(order, free)


@pytest.mark.parametrize("kind", ["exact", "relaxed", "rpp", "gated"])
@pytest.mark.parametrize("interaction", ["mean", "attention"])
def test_networks_exchange_rows_of_a_sector_and_no_others(kind: str, interaction: str) -> None:
    for network in networks(kind, problem(), interaction=interaction):
        limit = 3e-2 if kind == "rpp" else 1e-5  # its free path starts small, not at zero
        assert network.check_equivariance() < limit
        assert moved_apart(network, WITHIN) < limit
        assert moved_apart(network, ACROSS) > 1e-4


def test_random_permutations_stay_within_sectors() -> None:
    symmetry = problem()
    order = elements(symmetry, 200, torch.Generator().manual_seed(0))["exchange"].permutation
    assert order is not None
    sectors = torch.tensor(SECTORS)
    assert torch.equal(sectors[order], sectors.expand(200, -1))
    assert torch.equal(order.sort(dim=1).values, torch.arange(6).expand(200, -1))
    seen = {tuple(one) for one in order.tolist()}
    assert len(seen) == 6 * 2  # all of S_3 × S_2 × S_1


def test_trained_agents_relaxed_over_sectors_exchange_within_them() -> None:
    from tests.rl_core.problems import batch

    symmetry = problem()
    settings = {
        "width": 16,
        "batch_size": 16,
        "banks": 2,
        "relaxed_lr_multiplier": 50.0,
        "relaxation": "free",
    }
    for kind, relax_over, exact in (
        ("exact", "assets", True),
        ("relaxed", "sectors", True),
        ("relaxed", "assets", False),
    ):
        agent = SAC(symmetry, SACConfig(agent=kind, relax_over=relax_over, **settings), (0, 1))
        for step in range(20):
            agent.update(batch(symmetry, (0, 1), step))
        assert (moved_apart(agent.actor, WITHIN) < 1e-5) is exact
        assert moved_apart(agent.actor, ACROSS) > 1e-3


def test_sectors_of_other_rows_and_relaxation_without_sectors_are_refused() -> None:
    with pytest.raises(SymmetryError, match="sectors: needs a number"):
        replace(problem(), sectors=(0, 1))
    with pytest.raises(ConfigError, match="the symmetry has no sectors"):
        networks("relaxed", replace(problem(), sectors=None), relax_over="sectors")
    with pytest.raises(ConfigError, match="no fused code"):
        SAC(problem(), SACConfig(width=8, gradient="fused"), (0,)).gradient  # noqa: B018


def test_residual_layers_keep_the_mean_over_the_sector() -> None:
    exact = SetLifting(standard(dihedral(1)), 3, rows=6, sectors=SECTORS, generators=generators())
    wrapped = residual(exact, 6, generators(), scale=0.0)
    x = torch.randn(2, 6, 5, 2)
    torch.testing.assert_close(wrapped(x), exact(x))
