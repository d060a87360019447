"""Group convolutions: equivariance on images and windows, and strides that keep it."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from rl_core.errors import SymmetryError
from rl_core.layers import DenseConv, GroupConv, LiftingConv
from rl_core.layers.rpp import ResidualConv
from rl_core.symmetry import Representation, cyclic, dihedral, from_generators, regular, standard, trivial

PLANES = [standard(dihedral(1)), standard(dihedral(2)), standard(cyclic(4)), standard(dihedral(4))]
PLANES += [from_generators(dihedral(1), {"f": [-1.0]})]
SIZES = [(3, 1, 0), (3, 2, 0), (3, 1, 1), (5, 2, 2), (1, 1, 0), (4, 2, 1)]


def generators(copies: int = 2) -> list[Generator]:
    return [torch.Generator().manual_seed(i) for i in range(copies)]


@pytest.mark.parametrize("plane", PLANES, ids=lambda p: f"{p.group.name}-{p.dimension}d")
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equivariance(plane: Representation, size: tuple[int, int, int]) -> None:
    sizes = dict(zip(("kernel_size", "stride", "padding"), size, strict=True))
    group = plane.group
    for relaxed, banks in ((False, 1), (True, 2)):
        options = {**sizes, "relaxed": relaxed, "banks": banks, "generators": generators()}
        source = regular(group) + trivial(group)
        for layer in (LiftingConv(source, plane, 3, **options), GroupConv(plane, 2, 3, **options)):
            assert layer.check_equivariance() < 1e-6
            layer.psi.data.normal_()
            layer.bias.data.normal_()
            assert layer.check_equivariance() < 2e-6
            if layer.w is not None:
                layer.w.data.normal_()
                assert layer.check_equivariance() > 1e-3
                assert layer.relaxed_weights()["w"].shape == (2, 2, group.order)


def test_copies_are_independent() -> None:
    plane = standard(dihedral(1))
    both = GroupConv(plane, 2, 3, generators=generators(2))
    alone = GroupConv(plane, 2, 3, generators=generators(2)[1:])
    x = torch.randn(2, 4, 4, 7, 7)
    torch.testing.assert_close(both(x)[1:], alone(x[1:]))


def test_variance_is_he_and_dense_has_no_group() -> None:
    for relaxed, banks in ((False, 1), (True, 2)):
        layer = GroupConv(standard(cyclic(4)), 8, 8, relaxed=relaxed, banks=banks, generators=generators(1))
        weight = layer.expand()[0].detach()
        assert float(weight.var()) == pytest.approx(2 / (32 * 9), rel=0.15)
    dense = DenseConv(2, 3, 8, stride=2, generators=generators())
    assert dense(torch.randn(2, 4, 3, 8, 8)).shape == (2, 4, 8, 3, 3)


def test_residual_convolution_starts_near_exact() -> None:
    layer = ResidualConv(
        GroupConv(standard(dihedral(1)), 3, 3, generators=generators()), generators=generators()
    )
    assert 1e-6 < layer.check_equivariance() < 1e-2
    assert layer.penalty().shape == (2,)


def test_strides_that_break_the_symmetry_are_refused() -> None:
    layer = GroupConv(standard(dihedral(1)), 1, 1, stride=2, generators=generators(1))
    assert layer(torch.zeros(1, 1, 2, 85, 85)).shape == (1, 1, 2, 42, 42)
    with pytest.raises(SymmetryError, match=r"stride 2 on size 84 .* leaves 1 over"):
        layer(torch.zeros(1, 1, 2, 84, 84))
    with pytest.raises(SymmetryError, match=r"needs \[1, B, 2, H, W\], got \[1, 1, 3, 9, 9\]"):
        layer(torch.zeros(1, 1, 3, 9, 9))
    with pytest.raises(SymmetryError, match="flips and quarter turns"):
        GroupConv(standard(dihedral(3)), 1, 1, generators=generators(1))
