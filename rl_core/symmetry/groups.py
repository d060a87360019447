"""Finite groups by their Cayley table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from rl_core.errors import SymmetryError

__all__ = ["Group", "cyclic", "dihedral", "product"]


class Group:
    """A finite group, given by its multiplication table.

    Parameters
    ----------
    table : Tensor or nested sequence of int, shape [n, n]
        ``table[a][b]`` is the index of the product ab.
    name : str
        Name used in messages and reports.
    names : sequence of str, optional
        Names of the elements; ``"0"``, ``"1"``, … where absent.
    generators : mapping of str to int, optional
        Named elements that generate the group; a small set is found where absent.
    plane : Tensor [n, 2, 2], optional
        The action on the plane that defines the group, for `standard`.

    Raises
    ------
    SymmetryError
        Where the table is not square, has entries outside 0…n−1, or breaks an axiom (identity,
        inverses, associativity); the message names the elements that break it.
    """

    def __init__(
        self,
        table: Tensor | Sequence[Sequence[int]],
        name: str = "G",
        *,
        names: Sequence[str] | None = None,
        generators: Mapping[str, int] | None = None,
        plane: Tensor | None = None,
    ) -> None:
        self.table = torch.as_tensor(table, dtype=torch.long)
        self.name = name
        self.identity = _checked_identity(self.table, name)
        self.order = int(self.table.shape[0])
        self.names = tuple(names) if names is not None else tuple(str(i) for i in range(self.order))
        if len(self.names) != self.order or len(set(self.names)) != self.order:
            raise SymmetryError(
                f"group {name}: needs {self.order} different element names, got {len(self.names)}"
            )
        self.inverse = (self.table == self.identity).long().argmax(dim=1)
        found = (
            {self.names[i]: i for i in self._small_generators()} if generators is None else dict(generators)
        )
        self.generators: dict[str, int] = found
        self.plane = plane
        reached = self.subgroup(found.values())
        if len(reached) != self.order:
            raise SymmetryError(
                f"group {name}: {list(found)} generate {len(reached)} of {self.order} elements"
            )

    @classmethod
    def from_table(
        cls, table: Tensor | Sequence[Sequence[int]], name: str = "G", names: Sequence[str] | None = None
    ) -> Group:
        """The group with this Cayley table; every axiom is checked.

        Parameters
        ----------
        table : Tensor or nested sequence of int, shape [n, n]
            ``table[a][b]`` is the index of ab.
        name, names
            As for `Group`.
        """
        return cls(table, name, names=names)

    def multiply(self, a: int, b: int) -> int:
        """The index of the product ab."""
        return int(self.table[a, b])

    def element(self, key: int | str) -> int:
        """The index of an element by its index, its name or the name of a generator.

        Raises
        ------
        SymmetryError
            Where there is no such element.
        """
        if isinstance(key, str):
            if key in self.generators:
                return self.generators[key]
            if key in self.names:
                return self.names.index(key)
        elif 0 <= key < self.order:
            return key
        raise SymmetryError(f"group {self.name} has no element {key!r}; it has {', '.join(self.names)}")

    def subgroup(self, elements: Iterable[int | str]) -> tuple[int, ...]:
        """The elements of the subgroup that ``elements`` generate, in increasing order of index."""
        generators = [self.element(e) for e in elements]
        reached = {self.identity}
        frontier = [self.identity]
        while frontier:
            products = {self.multiply(a, b) for a in frontier for b in generators}
            frontier = sorted(products - reached)
            reached |= products
        return tuple(sorted(reached))

    def words(self, generators: Iterable[int]) -> list[tuple[int, int]]:
        """For each element ab the pair (a, b) with b among ``generators`` and a nearer to the identity.

        The pairs come in an order in which every a stands before ab; the identity has none.

        Returns
        -------
        list of (int, int)
            Shorter than ``order - 1`` where the elements do not generate the group.
        """
        chosen = list(generators)
        words: list[tuple[int, int]] = []
        reached, frontier = {self.identity}, [self.identity]
        while frontier:
            following = []
            for a in frontier:
                for b in chosen:
                    ab = self.multiply(a, b)
                    if ab not in reached:
                        reached.add(ab)
                        words.append((a, b))
                        following.append(ab)
            frontier = following
        return words

    @cached_property
    def difference(self) -> Tensor:
        """Indices of g⁻¹h, shape [g, h]: the argument of a regular → regular filter."""
        return self.table[self.inverse]

    @cached_property
    def is_abelian(self) -> bool:
        """Return whether ab = ba for all elements."""
        return bool((self.table == self.table.T).all())

    @cached_property
    def characters(self) -> Tensor | None:
        """The real characters [n, n] (character, element) of a group in which every gg = 1, else None.

        Entries are ±1, the first row is the trivial character, and ``characters / √n`` is orthogonal: the
        Walsh–Hadamard transform over the group, which makes exact layers block-diagonal.
        """
        if bool((self.table.diagonal() != self.identity).any()):
            return None
        basis: list[int] = []
        for element in range(self.order):
            if element not in self.subgroup(basis):
                basis.append(element)
        coordinates = torch.zeros(self.order, len(basis), dtype=torch.long)
        for code in range(self.order):
            bits = [code >> i & 1 for i in range(len(basis))]
            element = self.identity
            for bit, generator in zip(bits, basis, strict=True):
                element = self.multiply(element, generator) if bit else element
            coordinates[element] = torch.tensor(bits, dtype=torch.long)
        codes = torch.tensor(
            [[c >> i & 1 for i in range(len(basis))] for c in range(self.order)], dtype=torch.long
        )
        codes = codes.reshape(self.order, len(basis))
        return (1 - 2 * ((codes @ coordinates.T) % 2)).to(torch.float64)

    def _small_generators(self) -> list[int]:
        chosen: list[int] = []
        reached: set[int] = {self.identity}
        for element in range(self.order):
            if element not in reached:
                chosen.append(element)
                reached = set(self.subgroup(chosen))
        return chosen

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Group)
            and self.table.shape == other.table.shape
            and torch.equal(self.table, other.table)
        )

    def __hash__(self) -> int:
        return hash(tuple(self.table.flatten().tolist()))

    def __repr__(self) -> str:
        return f"Group({self.name}, order={self.order})"


def cyclic(n: int) -> Group:
    """The cyclic group C_n; element k is the rotation by 2πk/n, generated by ``"r"``.

    Parameters
    ----------
    n : int
        Order, at least 1.
    """
    _at_least_one("cyclic", n)
    k = torch.arange(n)
    table = (k[:, None] + k[None, :]) % n
    names = ["e", "r", *(f"r{i}" for i in range(2, n))][:n]
    return Group(table, f"C{n}", names=names, generators={"r": 1} if n > 1 else {}, plane=_rotations(n))


def dihedral(n: int) -> Group:
    """The dihedral group D_n of order 2n; element k + n·s is r^k f^s.

    The generator ``"r"`` rotates the plane by 2π/n and ``"f"`` flips left and right, (x, y) → (−x, y).
    D1 is that flip alone, D2 the flips of both axes and the half turn, D4 the symmetries of the square.

    Parameters
    ----------
    n : int
        Number of rotations, at least 1.
    """
    _at_least_one("dihedral", n)
    k = torch.arange(n).repeat(2)
    s = torch.arange(2).repeat_interleave(n)
    turn = (k[:, None] + torch.where(s[:, None] == 1, -k[None, :], k[None, :])) % n
    table = turn + n * ((s[:, None] + s[None, :]) % 2)
    rotations = ["e", "r", *(f"r{i}" for i in range(2, n))][:n]
    names = rotations + ["f" if r == "e" else f"{r}f" for r in rotations]
    generators = {"r": 1, "f": n} if n > 1 else {"f": n}
    flip = torch.tensor([[-1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    plane = torch.cat([_rotations(n), _rotations(n) @ flip])
    return Group(table, f"D{n}", names=names, generators=generators, plane=plane)


def product(a: Group, b: Group) -> Group:
    """The direct product a × b; element i·|b| + j is the pair (i, j).

    Generators keep their names where the two groups share none, else they end in ``1`` and ``2``.
    """
    i = torch.arange(a.order).repeat_interleave(b.order)
    j = torch.arange(b.order).repeat(a.order)
    table = a.table[i[:, None], i[None, :]] * b.order + b.table[j[:, None], j[None, :]]
    names = [f"({p},{q})" for p in a.names for q in b.names]
    clash = set(a.generators) & set(b.generators)
    generators = {f"{k}1" if clash else k: g * b.order + b.identity for k, g in a.generators.items()}
    generators |= {f"{k}2" if clash else k: a.identity * b.order + g for k, g in b.generators.items()}
    return Group(table, f"{a.name}×{b.name}", names=names, generators=generators)


def _at_least_one(kind: str, n: int) -> None:
    if n < 1:
        raise SymmetryError(f"{kind}({n}): n must be at least 1")


def _rotations(n: int) -> Tensor:
    angles = [2 * math.pi * k / n for k in range(n)]
    rows = [[[math.cos(t), -math.sin(t)], [math.sin(t), math.cos(t)]] for t in angles]
    matrices = torch.tensor(rows, dtype=torch.float64)
    # Quarter turns must be exact, so that they are recognised as signed permutations.
    return torch.where((matrices - matrices.round()).abs() < 1e-12, matrices.round(), matrices)


def _checked_identity(table: Tensor, name: str) -> int:
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.shape[0] == 0:
        raise SymmetryError(f"group {name}: the table must be square, got shape {list(table.shape)}")
    n = table.shape[0]
    outside = ((table < 0) | (table >= n)).nonzero()
    if len(outside):
        a, b = outside[0].tolist()
        raise SymmetryError(f"group {name}: entry [{a}][{b}] is {int(table[a, b])}, outside 0…{n - 1}")
    k = torch.arange(n)
    identities = ((table == k[None, :]).all(dim=1) & (table == k[:, None]).all(dim=0)).nonzero()
    if len(identities) != 1:
        raise SymmetryError(f"group {name}: no element leaves all others as they are (no identity)")
    identity = int(identities[0])
    for a in range(n):
        inverse = (table[a] == identity).nonzero()
        if len(inverse) != 1 or int(table[inverse[0], a]) != identity:
            raise SymmetryError(f"group {name}: element {a} has no inverse")
    for a in range(n):
        wrong = (table[table[a]] != table[a][table]).nonzero()
        if len(wrong):
            b, c = wrong[0].tolist()
            raise SymmetryError(f"group {name}: not associative, ({a}·{b})·{c} differs from {a}·({b}·{c})")
    return identity
