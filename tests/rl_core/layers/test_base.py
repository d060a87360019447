"""Layers of every kind: equivariance, penalties, initial weights and independent copies."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rl_core.errors import SymmetryError
from rl_core.layers import (
    Head,
    Lifting,
    RegularLinear,
    ResidualPathway,
    SetAttention,
    SetLinear,
)
from rl_core.symmetry import Group, dihedral, trivial
from tests.rl_core.layers.examples import GROUPS, generators, layers, randomise


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_exact_layers_stay_equivariant(group: Group) -> None:
    for layer in layers(group, relaxed=False, banks=1):
        assert layer.check_equivariance() < 1e-6
        randomise(layer, relaxed=True)
        assert layer.check_equivariance() < 2e-6
        assert layer.relaxed_weights() == {}
        assert torch.equal(layer.penalty(), torch.zeros(2))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_relaxed_layers_start_equivariant_and_can_break(group: Group) -> None:
    for banks in {1, group.order}:
        for layer in layers(group, relaxed=True, banks=banks):
            assert layer.check_equivariance() < 1e-6
            # Large random weights amplify rounding, so that double precision tells the symmetry better.
            layer.double()
            randomise(layer, relaxed=False)
            assert layer.check_equivariance() < 1e-12
            assert float(layer.penalty().detach().abs().max()) < 1e-9
            for w in layer.relaxed_parameters():
                # Banks may differ from one another, as long as each is constant.
                w.data *= torch.arange(1.0, banks + 1).view(1, banks, *[1] * (w.ndim - 2))
            assert layer.check_equivariance() < 1e-12
            randomise(layer, relaxed=True)
            if group.order > 1:
                assert layer.check_equivariance() > 1e-3
                assert float(layer.penalty().detach().min()) > 0


def test_penalty_is_the_squared_deviation() -> None:
    layer = RegularLinear(dihedral(2), 2, 2, banks=2, relaxed=True, generators=generators(1))
    assert layer.w is not None
    layer.w.data = torch.tensor([[[1.0, 3.0, 1.0, 3.0], [5.0, 5.0, 5.0, 5.0]]])
    assert layer.penalty().tolist() == [4.0]


@pytest.mark.parametrize("relaxed", [False, True])
def test_initial_variance_is_he(relaxed: bool) -> None:
    group, banks = dihedral(2), 2 if relaxed else 1
    options = {"banks": banks, "relaxed": relaxed, "generators": generators(1)}
    hidden = RegularLinear(group, 64, 64, **options).expand()[0]
    assert float(hidden.detach().var()) == pytest.approx(2 / hidden.shape[1], rel=0.1)
    lifting = Lifting(trivial(group, 100), 64, **options).expand()[0]
    assert float(lifting.detach().var()) == pytest.approx(2 / 100, rel=0.1)
    head = Head(trivial(group, 50), 64, **options).expand()[0]
    assert float(head.detach().var()) == pytest.approx(1 / (3 * head.shape[1]), rel=0.1)


def test_one_copy_alone_gets_its_numbers() -> None:
    for relaxed in (False, True):
        group = dihedral(3)
        both = RegularLinear(group, 3, 4, relaxed=relaxed, generators=generators(2))
        alone = RegularLinear(group, 3, 4, relaxed=relaxed, generators=generators(2)[1:])
        assert torch.equal(both.psi[1:], alone.psi)
        residual = ResidualPathway(both, generators=generators(2))
        assert torch.equal(
            residual.free_weight[1:], ResidualPathway(alone, generators=generators(2)[1:]).free_weight
        )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: RegularLinear(dihedral(2), 2, 2, banks=5, relaxed=True, generators=generators()), "1 … 4"),
        (
            lambda: RegularLinear(dihedral(2), 2, 2, banks=2, generators=generators()),
            "exact layer has one bank",
        ),
        (lambda: SetLinear(dihedral(1), 2, 2, relaxed=True, generators=generators()), "set rows"),
        (lambda: SetLinear(dihedral(1), 2, 2, banks=2, generators=generators()), "one bank"),
        (lambda: SetAttention(dihedral(1), 3, heads=2, generators=generators()), "multiple of heads"),
        (
            lambda: RegularLinear(dihedral(1), 2, 2, generators=generators())(torch.zeros(2, 3, 5)),
            r"needs \[2, B, 4\], got \[2, 3, 5\]",
        ),
        (
            lambda: SetLinear(dihedral(1), 2, 2, rows=3, relaxed=True, generators=generators())(
                torch.zeros(2, 4, 3, 4)
            ),
            "3 rows",
        ),
    ],
)
def test_faults_are_named(make: Callable[[], object], reason: str) -> None:
    with pytest.raises(SymmetryError, match=reason):
        make()
