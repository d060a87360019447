"""The Fourier form is the plain form."""

from __future__ import annotations

import pytest
import torch

from rl_core.errors import SymmetryError
from rl_core.layers import (
    FourierLinear,
    RegularLinear,
)
from rl_core.layers.fourier import apply_blocks
from rl_core.symmetry import Group, cyclic, dihedral, product
from tests.rl_core.layers.examples import generators


@pytest.mark.parametrize("group", [dihedral(1), dihedral(2), product(dihedral(2), cyclic(2))], ids=str)
def test_fourier_form_is_the_plain_form(group: Group) -> None:
    layer = FourierLinear(group, 6, 5, generators=generators(2))
    layer.bias.data.normal_()
    x = layer.example(7, torch.Generator().manual_seed(3))
    n, batch = group.order, 7
    by_element = x.view(2, batch, n, 6).transpose(1, 2).reshape(2, n * batch, 6)
    blocks, bias = layer.expand_blocks()
    y = apply_blocks(layer.transform, blocks, bias, by_element)
    together = y.view(2, n, batch, 5).transpose(1, 2).reshape(2, batch, n * 5)
    torch.testing.assert_close(together, layer(x), atol=1e-6, rtol=1e-6)
    exact = RegularLinear(group, 6, 5, generators=generators(2))
    exact.psi.data, exact.bias.data = layer.filters().detach(), layer.bias.data
    torch.testing.assert_close(exact(x), layer(x), atol=1e-6, rtol=1e-6)


def test_fourier_form_needs_real_characters() -> None:
    with pytest.raises(SymmetryError, match="own inverse, not C4"):
        FourierLinear(cyclic(4), 2, 2, generators=generators())
