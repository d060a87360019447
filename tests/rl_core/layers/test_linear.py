"""Linear layers: generality and normalisation."""

from __future__ import annotations

import pytest
import torch

from rl_core.layers import (
    LayerNorm,
    RegularLinear,
)
from rl_core.symmetry import Group, cyclic, dihedral, product
from tests.rl_core.layers.examples import generators, randomise


@pytest.mark.parametrize("group", [dihedral(1), dihedral(2)], ids=str)
def test_as_many_banks_as_elements_give_any_matrix(group: Group) -> None:
    n, fields = group.order, 2
    layer = RegularLinear(group, fields, fields, banks=n, relaxed=True, generators=generators(1)).double()
    assert layer.w is not None
    layer.w.data = torch.eye(n, dtype=torch.float64)[None]
    columns = []
    for i in range(layer.psi.numel()):
        layer.psi.data = torch.zeros(layer.psi.numel(), dtype=torch.float64).index_fill(
            0, torch.tensor(i), 1.0
        )
        layer.psi.data = layer.psi.data.view(1, n, n, fields, fields)
        columns.append(layer.expand()[0].detach().flatten())
    span = torch.stack(columns, dim=1)
    assert int(torch.linalg.matrix_rank(span)) == (n * fields) ** 2


def test_layer_norm_shares_its_affine_part() -> None:
    layer = LayerNorm(dihedral(3), 4, generators=generators())
    randomise(layer, relaxed=True)
    assert layer.check_equivariance() < 1e-6
    assert layer.scale.shape == (2, 1, 4)


def test_constants_of_a_large_relaxed_group_stay_small() -> None:
    group = product(dihedral(4), cyclic(3))
    layer = RegularLinear(group, 2, 2, banks=group.order, relaxed=True, generators=generators(1))
    randomise(layer, relaxed=False)
    assert sum(b.numel() * b.element_size() for b in layer.buffers()) < 10_000
    assert layer.check_equivariance() < 1e-5
