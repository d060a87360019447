"""Steerable convolutions on escnn's basis, and escnn as the oracle of group convolutions."""

from __future__ import annotations

import importlib.util
import sys

import pytest
import torch
from torch import Generator

from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers import GroupConv, RegularSteerableConv, SteerableConv, kernel_basis
from rl_core.symmetry import Representation, cyclic, dihedral, from_generators, standard, trivial

needs_escnn = pytest.mark.skipif(importlib.util.find_spec("escnn") is None, reason="escnn is not installed")


def generators(copies: int = 2) -> list[Generator]:
    return [torch.Generator().manual_seed(i) for i in range(copies)]


@needs_escnn
@pytest.mark.parametrize(
    ("rotations", "flips", "fields"),
    [
        (1, True, [(1, "trivial"), (2, "regular")]),
        (2, False, [(1, "trivial"), (2, "regular")]),
        (4, False, [(2, "regular"), (1, "irrep 1")]),
        (4, True, [(1, "trivial"), (1, "sign"), (1, "regular")]),
        (None, True, [(2, "trivial"), (2, "irrep 1")]),
    ],
)
def test_exact_and_relaxed(rotations: int | None, flips: bool, fields: list[tuple[int, str]]) -> None:
    for relaxed in (False, True):
        layer = SteerableConv(
            rotations, flips, fields, fields, padding=1, relaxed=relaxed, generators=generators()
        )
        assert layer.check_equivariance() < 1e-6
        weight = layer.expand()[0].detach()
        assert float(weight.var()) == pytest.approx(2 / (layer.channels_in * 9), rel=0.5)
        if relaxed:
            assert float(layer.penalty().detach().max()) < 1e-9
            for c in layer.coefficients:
                c.data.normal_()
            assert layer.check_equivariance() > 1e-3
            assert float(layer.penalty().min()) > 0
            for c in layer.coefficients:
                c.data = c.data @ layer.get_buffer("orbits")
            # Constant on each orbit of offsets, though not over all offsets.
            assert layer.check_equivariance() < 2e-6
            orbits = [w.shape[-1] for w in layer.relaxed_weights().values()]
            assert min(orbits) > 1
            assert all(float((w - w[..., :1]).abs().max()) < 1e-5 for w in layer.relaxed_weights().values())


@needs_escnn
def test_exact_layer_equals_escnn() -> None:
    escnn = kernel_basis.load_escnn()
    space = escnn.gspaces.rot2dOnR2(4)
    ends = [escnn.nn.FieldType(space, [space.regular_repr] * count) for count in (2, 3)]
    oracle = escnn.nn.R2Conv(*ends, kernel_size=3, padding=1)
    layer = SteerableConv(4, False, [(2, "regular")], [(3, "regular")], padding=1, generators=generators(1))
    # Take the coefficients that give escnn's kernel; the basis is the same, so the fit must be perfect.
    kernel = oracle.expand_parameters()[0].detach()
    filters = layer.get_buffer("filters_0_0").flatten(1)
    target = kernel.view(3, 4, 2, 4, 9).permute(0, 2, 1, 3, 4).reshape(6, -1)
    solution = torch.linalg.lstsq(filters.T, target.T).solution
    layer.coefficients[0].data = solution.T.reshape(1, 3, 2, -1, 1).contiguous()
    x = torch.randn(1, 2, 8, 7, 7)
    expected = oracle(escnn.nn.GeometricTensor(x[0], ends[0])).tensor.detach()
    torch.testing.assert_close(layer(x)[0], expected, atol=1e-5, rtol=1e-5)


@needs_escnn
@pytest.mark.parametrize(("rotations", "flips"), [(4, False), (1, True)])
def test_group_convolution_can_be_any_escnn_one(rotations: int, flips: bool) -> None:
    escnn = kernel_basis.load_escnn()
    space = kernel_basis.plane_space(rotations, flips)
    field = escnn.nn.FieldType(space, [space.regular_repr] * 2)
    oracle = escnn.nn.R2Conv(field, field, kernel_size=3, padding=1, bias=False)
    elements = list(space.fibergroup.elements)
    plane = torch.stack([torch.as_tensor(space.basespace_action(e)).double() for e in elements]).round()
    group = kernel_basis.group_of(plane, "group")
    n = group.order
    layer = GroupConv(Representation(group, plane), 2, 2, padding=1, generators=generators(1))
    # escnn's channels lie field by field, ours element by element.
    order = torch.arange(2 * n).view(2, n).T.flatten()
    kernel = oracle.expand_parameters()[0].detach()[order][:, order]
    columns = []
    size = layer.psi.numel()
    for i in range(size):
        layer.psi.data = torch.eye(size)[i].view(layer.psi.shape)
        columns.append(layer.expand()[0].detach().flatten())
    span = torch.stack(columns, dim=1)
    layer.psi.data = torch.linalg.lstsq(span, kernel.flatten()[:, None]).solution.view(layer.psi.shape)
    x = torch.randn(1, 2, 2 * n, 7, 7)
    expected = oracle(escnn.nn.GeometricTensor(x[0], field)).tensor.detach()[:, order]
    torch.testing.assert_close(layer(x[:, :, order])[0], expected, atol=1e-5, rtol=1e-5)
    assert layer.check_equivariance() < 1e-5


@needs_escnn
def test_faults_are_named() -> None:
    with pytest.raises(SymmetryError, match="one offset"):
        SteerableConv(
            4, False, [(1, "trivial")], [(1, "trivial")], kernel_size=1, relaxed=True, generators=generators()
        )
    with pytest.raises(SymmetryError, match="no representation 'spin'"):
        SteerableConv(4, False, [(1, "spin")], [(1, "trivial")], generators=generators())
    with pytest.raises(SymmetryError, match="at least 1"):
        SteerableConv(0, False, [(1, "trivial")], [(1, "trivial")], generators=generators())


def test_missing_escnn_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "escnn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "escnn", None)
    with pytest.raises(ConfigError, match="pip install --no-deps escnn"):
        kernel_basis.load_escnn()


def test_stand_in_raises_if_called() -> None:
    with pytest.raises(ConfigError, match="SO\\(3\\) needs"):
        kernel_basis.wigner_d_matrix()


def test_plane_of_square_is_standard() -> None:
    assert kernel_basis.group_of(standard(dihedral(4)).matrices, "D4") == dihedral(4)


PLANES = {
    "flip": standard(dihedral(1)),
    "other flip": from_generators(dihedral(1), {"f": [[1.0, 0.0], [0.0, -1.0]]}),
    "diagonal flip": from_generators(dihedral(1), {"f": [[0.0, 1.0], [1.0, 0.0]]}),
    "half turn": from_generators(cyclic(2), {"r": [[-1.0, 0.0], [0.0, -1.0]]}),
    "quarter turns": standard(cyclic(4)),
    "square": standard(dihedral(4)),
}


@needs_escnn
@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("source", [(3, "trivial"), (2, "regular")])
def test_regular_fields_are_laid_out_as_by_group_convolutions(name: str, source: tuple[int, str]) -> None:
    plane = PLANES[name]
    for relaxed in (False, True):
        layer = RegularSteerableConv(plane, source, 2, stride=2, relaxed=relaxed, generators=generators())
        assert layer.channels_out == 2 * plane.group.order
        for c in layer.steerable.coefficients:
            c.data = torch.randn_like(c[..., :1]).expand_as(c).clone()
        layer.steerable.bias.data.normal_()
        assert layer.check_equivariance() < 2e-6
        assert float(layer.penalty().detach().max()) < 1e-9
        if relaxed:
            for c in layer.steerable.coefficients:
                c.data.normal_()
            assert layer.check_equivariance() > 1e-3
            before = float(layer.penalty().min())
            layer.decay_relaxed_weights(0.5)
            assert float(layer.penalty().min()) == pytest.approx(before / 4, rel=1e-3)
            layer.decay_relaxed_weights(1.0)
            assert layer.check_equivariance() < 2e-6


@needs_escnn
@pytest.mark.parametrize("plane", [trivial(cyclic(2), 2), from_generators(dihedral(1), {"f": [-1.0]})])
def test_planes_without_a_steerable_basis_are_named(plane: Representation) -> None:
    with pytest.raises(SymmetryError, match="acts differently, by quarter turns and flips"):
        RegularSteerableConv(plane, (1, "trivial"), 1, generators=generators())
