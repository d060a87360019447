"""Representations are homomorphisms, symmetries act as they declare, and faults are named."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_core.errors import SymmetryError
from rl_core.symmetry import (
    Element,
    Group,
    Representation,
    Symmetry,
    cyclic,
    dihedral,
    from_generators,
    permutation,
    product,
    quotient,
    regular,
    sign,
    signed_permutation,
    standard,
    trivial,
)

D1, D2, D3, D4, C4 = dihedral(1), dihedral(2), dihedral(3), dihedral(4), cyclic(4)


def representations() -> list[Representation]:
    found = []
    for group in (cyclic(1), cyclic(2), cyclic(3), C4, D1, D2, D3, D4, product(D1, cyclic(3))):
        found += [trivial(group), trivial(group, 3), regular(group), quotient(group, [group.order - 1])]
    found += [standard(g) for g in (C4, D1, D2, D3, D4, cyclic(5))]
    found += [sign(g) for g in (cyclic(2), C4, D1, D3, D4)]
    found += [standard(D4) + regular(D4), 3 * sign(D1), permutation(D1, {"f": [1, 0, 2]})]
    return found


@pytest.mark.parametrize("rho", representations(), ids=lambda r: f"{r.group.name}-{r.name}")
def test_homomorphism_and_transform(rho: Representation) -> None:
    group, n = rho.group, rho.group.order
    x = torch.randn(5, rho.dimension, dtype=torch.float64)
    for a in range(n):
        moved = rho.transform(a, x)
        torch.testing.assert_close(moved, x @ rho.matrices[a].T)
        torch.testing.assert_close(rho.transform(int(group.inverse[a]), moved), x)
        for b in range(n):
            torch.testing.assert_close(rho.matrices[a] @ rho.matrices[b], rho.matrices[group.multiply(a, b)])


@pytest.mark.parametrize("rho", representations(), ids=lambda r: f"{r.group.name}-{r.name}")
def test_elements_of_a_batch(rho: Representation) -> None:
    g = torch.arange(6).reshape(2, 3) % rho.group.order
    x = torch.randn(2, 3, rho.dimension)
    moved = rho.transform(g, x)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(moved[i, j], rho.transform(int(g[i, j]), x[i, j]))


def test_regular_acts_on_functions() -> None:
    y = torch.randn(D3.order, dtype=torch.float64)
    for a in range(D3.order):
        expected = torch.stack([y[D3.multiply(int(D3.inverse[a]), g)] for g in range(D3.order)])
        torch.testing.assert_close(regular(D3).transform(a, y), expected)


def test_quotient_by_everything_and_nothing() -> None:
    assert quotient(D3, ["r", "f"]).dimension == 1
    assert quotient(D3, []).dimension == D3.order
    assert quotient(D4, ["f"]).dimension == 4


def test_permutation_sends_coordinates_to_places() -> None:
    rho = permutation(cyclic(3), {"r": [1, 2, 0]})
    assert rho.transform(1, torch.tensor([10.0, 20.0, 30.0])).tolist() == [30.0, 10.0, 20.0]
    signed = signed_permutation(D1, {"f": ([1, 0], [1, 1])}) + from_generators(D1, {"f": [-1.0]})
    assert signed.transform(1, torch.tensor([1.0, 2.0, 3.0])).tolist() == [2.0, 1.0, -3.0]


def test_signed_permutations_are_told() -> None:
    assert standard(D4).is_signed_permutation
    assert standard(C4).is_signed_permutation
    assert not standard(D3).is_signed_permutation
    assert (standard(D4).absolute().matrices >= 0).all()
    with pytest.raises(SymmetryError, match="mixes coordinates"):
        standard(D3).absolute()


def test_parities_find_characters() -> None:
    rho = from_generators(D2, {"r": [1, -1, -1, 1], "f": [1, 1, -1, -1]})
    chi = D2.characters
    assert chi is not None
    assert rho.parities is not None
    diagonal = rho.matrices.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(chi[rho.parities].T, diagonal)
    assert regular(D2).parities is None
    assert trivial(C4).parities is None


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([-1.0, 1.0]), min_size=1, max_size=6))
def test_any_signs_are_a_representation_of_a_flip(signs: list[float]) -> None:
    rho = from_generators(D1, {"f": signs})
    assert rho.dimension == len(signs)
    assert rho.is_signed_permutation


def test_new_group_in_five_lines() -> None:
    turn = torch.tensor([[-0.5, -(3**0.5) / 2], [3**0.5 / 2, -0.5]], dtype=torch.float64)
    triangle = from_generators(D3, {"r": turn, "f": [-1.0, 1.0]})
    corners = permutation(D3, {"r": [1, 2, 0], "f": [1, 0, 2]})
    symmetry = Symmetry(D3, triangle, corners)
    assert symmetry.action_size == 3
    torch.testing.assert_close(triangle.matrices, standard(D3).matrices)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Representation(D1, torch.eye(2)), r"shape \[2, d, d\], got \[2, 2\]"),
        (
            lambda: Representation(D1, torch.stack([torch.eye(2), 2 * torch.eye(2)])),
            "is no representation of D1",
        ),
        (lambda: Representation(D1, torch.full((2, 1, 1), float("nan"))), "finite"),
        (
            lambda: Representation(D1, torch.stack([torch.eye(2), torch.tensor([[1.0, 1.0], [0.0, -1.0]])])),
            "not orthogonal",
        ),
        (lambda: from_generators(D2, {"r": [-1.0]}), r"generate only 2 of 4"),
        (lambda: from_generators(C4, {"r": [[0.0, 1.0], [1.0, 0.0]]}) + sign(D1), "groups C4 and D1 differ"),
        (lambda: from_generators(cyclic(3), {"r": [-1.0]}), "no representation"),
        (lambda: from_generators(D2, {"r": [1.0], "f": [1.0, 1.0]}), "different sizes"),
        (lambda: from_generators(D1, {"f": [[1.0, 0.0]]}), "not square"),
        (lambda: from_generators(D1, {}), "each generator"),
        (lambda: from_generators(D1, {"q": [1.0]}), "no element 'q'"),
        (lambda: permutation(D1, {"f": [0, 0]}), "no permutation"),
        (lambda: signed_permutation(D1, {"f": ([0, 1], [1, 2])}), "2 times ±1"),
        (lambda: sign(cyclic(3)), "odd order"),
        (lambda: sign(product(D1, D1)), "which generators negate"),
        (lambda: standard(product(D1, D1)), "no action on the plane"),
        (lambda: trivial(D1, 0), "at least 1"),
    ],
)
def test_faults_are_named(make: object, reason: str) -> None:
    with pytest.raises(SymmetryError, match=reason):
        make()  # type: ignore[operator]


def flips() -> Symmetry:
    return Symmetry(
        D1, from_generators(D1, {"f": [-1.0, 1.0, -1.0]}), from_generators(D1, {"f": [-1.0, 1.0]})
    )


def test_symmetry_transforms_vectors() -> None:
    symmetry = flips()
    assert symmetry.transform_observation(1, torch.tensor([1.0, 2.0, 3.0])).tolist() == [-1.0, 2.0, -3.0]
    assert symmetry.transform_action(1, torch.tensor([[1.0, 2.0]])).tolist() == [[-1.0, 2.0]]


def test_symmetry_transforms_rows() -> None:
    symmetry = Symmetry(D1, from_generators(D1, {"f": [-1.0, 1.0]}), sign(D1), rows=3)
    x, a = torch.arange(6.0).reshape(1, 3, 2), torch.arange(3.0).reshape(1, 3)
    element = Element(torch.tensor([1]), torch.tensor([[2, 0, 1]]))
    assert symmetry.transform_observation(element, x).tolist() == [[[-4.0, 5.0], [-0.0, 1.0], [-2.0, 3.0]]]
    assert symmetry.transform_action(element, a).tolist() == [[-2.0, -0.0, -1.0]]
    assert symmetry.action_size == 3


def test_random_elements_cover_the_group_and_repeat() -> None:
    symmetry = Symmetry(D4, standard(D4), standard(D4))
    first = symmetry.random([2, 400], torch.Generator().manual_seed(1))
    second = symmetry.random([2, 400], torch.Generator().manual_seed(1))
    assert torch.equal(first.index, second.index)
    assert set(first.index.flatten().tolist()) == set(range(8))
    rows = Symmetry(D1, trivial(D1, 2), sign(D1), rows=4)
    element = rows.random([5], torch.Generator().manual_seed(2))
    assert element.permutation is not None
    assert torch.equal(element.permutation.sort(dim=-1).values, torch.arange(4).expand(5, 4))


@pytest.mark.parametrize("group", [D1, D2, C4, D4], ids=str)
def test_images_turn_as_the_plane(group: Group) -> None:
    symmetry = Symmetry(group, trivial(group, 2), trivial(group), plane=standard(group))
    x = torch.randn(3, 2, 5, 5)
    for a in range(group.order):
        for b in range(group.order):
            moved = symmetry.transform_observation(a, symmetry.transform_observation(b, x))
            torch.testing.assert_close(moved, symmetry.transform_observation(group.multiply(a, b), x))
    each = torch.arange(3) % group.order
    together = symmetry.transform_observation(each, x)
    for i in range(3):
        torch.testing.assert_close(together[i], symmetry.transform_observation(int(each[i]), x[i]))


def test_flip_is_left_right_and_quarter_turn_is_counterclockwise() -> None:
    image = torch.arange(9.0).reshape(1, 3, 3)
    flip = Symmetry(D1, trivial(D1), sign(D1), plane=standard(D1))
    assert torch.equal(flip.transform_observation(1, image), image.flip(-1))
    turn = Symmetry(C4, trivial(C4), trivial(C4), plane=standard(C4))
    assert torch.equal(turn.transform_observation(1, image), torch.rot90(image, 1, (1, 2)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (
            lambda: Symmetry(D3, trivial(D3), standard(D3)),
            "action: tanh commutes with signed permutations only",
        ),
        (lambda: Symmetry(D2, trivial(D1), trivial(D2)), "observation: .* represents D1, not D2"),
        (lambda: Symmetry(D1, trivial(D1), trivial(D1, 2), rows=3), "dimension 2"),
        (lambda: Symmetry(D1, trivial(D1), trivial(D1), rows=0), "rows: must be at least 1"),
        (lambda: Symmetry(D1, trivial(D1), trivial(D1), rows=2, plane=standard(D1)), "both"),
        (lambda: Symmetry(D3, trivial(D3), trivial(D3), plane=standard(D3)), "plane: pixels"),
        (lambda: Symmetry(D1, trivial(D1), trivial(D1), plane=trivial(D1, 3)), "dimension 1 or 2"),
        (lambda: flips().transform_observation(1, torch.zeros(2, 4)), "acts on 3 coordinates"),
        (
            lambda: Symmetry(D1, trivial(D1), sign(D1), rows=3).transform_observation(
                1, torch.zeros(2, 4, 1)
            ),
            "3, got 4",
        ),
    ],
)
def test_symmetries_that_do_not_fit(make: object, reason: str) -> None:
    with pytest.raises(SymmetryError, match=reason):
        make()  # type: ignore[operator]
