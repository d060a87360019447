"""Layers on rows are their formulas."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_core.layers import (
    SetLifting,
    SetLinear,
)
from rl_core.symmetry import dihedral, sign, standard
from tests.rl_core.layers.examples import generators, randomise


def test_exact_set_layers_take_any_number_of_rows() -> None:
    layer = SetLinear(dihedral(1), 3, 4, generators=generators())
    for rows in (1, 4, 9):
        assert layer(torch.randn(2, rows, 5, 6)).shape == (2, rows, 5, 8)


def reference_set_layer(layer: SetLifting, x: Tensor) -> Tensor:
    """MATH by loops: y_i(g) = Σ_l w_l(i, g) (A_l ρ(g)⁻¹x_i + B_l ρ(g)⁻¹ mean) + b."""
    assert layer.w is not None
    copies, rows, batch, _ = x.shape
    n, fields = layer.group.order, layer.psi.shape[-1]
    y = torch.zeros(copies, rows, batch, n, fields, dtype=x.dtype)
    for k in range(copies):
        for i in range(rows):
            for g in range(n):
                back = int(layer.group.inverse[g])
                own, mean = layer.source.transform(back, x[k, i]), layer.source.transform(back, x[k].mean(0))
                for bank in range(layer.banks):
                    part = own @ layer.psi[k, bank] + mean @ layer.psi_mean[k, bank]
                    y[k, i, :, g] += layer.w[k, bank, i, g] * part
                y[k, i, :, g] += layer.bias[k, 0]
    return y.flatten(3)


def test_relaxed_set_layer_is_its_formula() -> None:
    group = dihedral(2)
    layer = SetLifting(
        standard(group) + sign(group), 3, rows=3, banks=2, relaxed=True, generators=generators()
    ).double()
    randomise(layer, relaxed=True)
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), reference_set_layer(layer, x))
