"""Groups obey the axioms, and what is no group is refused with the reason."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_core.errors import SymmetryError
from rl_core.symmetry import Group, cyclic, dihedral, product

GROUPS = [cyclic(n) for n in (1, 2, 3, 4, 7)] + [dihedral(n) for n in (1, 2, 3, 4, 5)]
GROUPS += [product(cyclic(2), cyclic(2)), product(dihedral(3), cyclic(2)), product(cyclic(3), cyclic(4))]

QUATERNION = [
    [0, 1, 2, 3, 4, 5, 6, 7],
    [1, 0, 3, 2, 5, 4, 7, 6],
    [2, 3, 1, 0, 6, 7, 5, 4],
    [3, 2, 0, 1, 7, 6, 4, 5],
    [4, 5, 7, 6, 1, 0, 2, 3],
    [5, 4, 6, 7, 0, 1, 3, 2],
    [6, 7, 4, 5, 3, 2, 1, 0],
    [7, 6, 5, 4, 2, 3, 0, 1],
]


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_axioms(group: Group) -> None:
    table, e = group.table, group.identity
    k = torch.arange(group.order)
    assert torch.equal(table[e], k)
    assert torch.equal(table[:, e], k)
    assert torch.equal(table[k, group.inverse], torch.full_like(k, e))
    for a in range(group.order):
        assert torch.equal(table[table[a]], table[a][table])


def test_orders_and_names() -> None:
    assert [g.order for g in (cyclic(5), dihedral(1), dihedral(4), product(dihedral(2), cyclic(3)))] == [
        5,
        2,
        8,
        12,
    ]
    d4 = dihedral(4)
    assert d4.element("f") == 4
    assert d4.element("r2") == d4.multiply(1, 1)
    # A reflection turns a rotation around: f r f = r⁻¹.
    assert d4.multiply(d4.multiply(4, 1), 4) == int(d4.inverse[1])


def test_product_generators_do_not_clash() -> None:
    group = product(cyclic(2), cyclic(3))
    assert set(group.generators) == {"r1", "r2"}
    assert len(group.subgroup(group.generators.values())) == 6
    assert set(product(dihedral(1), cyclic(3)).generators) == {"f", "r"}


def test_quaternion_group_by_its_table() -> None:
    group = Group.from_table(QUATERNION, "Q8", ["1", "-1", "i", "-i", "j", "-j", "k", "-k"])
    assert group.order == 8
    assert not group.is_abelian
    assert group.names[group.multiply(group.element("i"), group.element("j"))] == "k"
    assert group.characters is None


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 6), st.integers(1, 6))
def test_subgroups_divide_the_order(n: int, m: int) -> None:
    group = product(cyclic(n), dihedral(m))
    for element in range(group.order):
        assert group.order % len(group.subgroup([element])) == 0


@pytest.mark.parametrize(
    "group", [cyclic(1), cyclic(2), dihedral(2), product(dihedral(2), dihedral(1))], ids=str
)
def test_real_characters_are_an_orthogonal_transform(group: Group) -> None:
    chi = group.characters
    assert chi is not None
    n = group.order
    torch.testing.assert_close(chi @ chi.T, n * torch.eye(n, dtype=chi.dtype))
    assert bool((chi[0] == 1).all())
    for a in range(n):
        for b in range(n):
            assert torch.equal(chi[:, group.multiply(a, b)], chi[:, a] * chi[:, b])


def test_relabelled_klein_group_has_characters() -> None:
    table = dihedral(2).table
    order = torch.tensor([2, 0, 3, 1])
    place = order.argsort()
    group = Group.from_table(place[table[order][:, order]])
    chi = group.characters
    assert chi is not None
    torch.testing.assert_close(chi @ chi.T, 4 * torch.eye(4, dtype=chi.dtype))


def test_groups_with_the_same_table_are_equal() -> None:
    assert cyclic(2) == dihedral(1)
    assert hash(cyclic(2)) == hash(dihedral(1))
    assert cyclic(4) != dihedral(2)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([[0, 1], [1]], "expected sequence"),
        ([[0, 1, 2], [1, 2, 0]], "square"),
        ([[0, 1], [1, 5]], r"entry \[1\]\[1\] is 5"),
        ([[1, 0], [1, 0]], "no identity"),
        ([[0, 1, 2], [1, 1, 1], [2, 1, 0]], "element 1 has no inverse"),
        # A loop with identity and inverses that is not associative.
        (
            [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]],
            "not associative",
        ),
    ],
)
def test_tables_that_are_no_group(table: list[list[int]], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Group.from_table(table)


def test_wrong_names_and_orders() -> None:
    with pytest.raises(SymmetryError, match="2 different element names"):
        Group.from_table([[0, 1], [1, 0]], names=["e"])
    with pytest.raises(SymmetryError, match="generate 1 of 2"):
        Group([[0, 1], [1, 0]], generators={"e": 0})
    with pytest.raises(SymmetryError, match="at least 1"):
        cyclic(0)
    with pytest.raises(SymmetryError, match="no element 'q'"):
        dihedral(2).element("q")
