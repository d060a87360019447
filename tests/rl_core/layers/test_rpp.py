"""Residual pathways start close to the exact path."""

from __future__ import annotations

import pytest

from rl_core.layers import (
    RegularLinear,
    ResidualPathway,
)
from rl_core.symmetry import dihedral
from tests.rl_core.layers.examples import generators


def test_residual_pathway_starts_a_thousandth_from_exact() -> None:
    layer = ResidualPathway(
        RegularLinear(dihedral(2), 8, 8, generators=generators()), generators=generators()
    )
    assert 1e-5 < layer.check_equivariance() < 1e-2
    assert layer.relaxed_weights()["free"].flatten().tolist() == pytest.approx([1e-3, 1e-3], rel=0.3)
    before = layer.penalty()
    layer.free_weight.data += 1.0
    exact_only = before.detach()
    assert bool((layer.penalty() - exact_only > 200).all())
