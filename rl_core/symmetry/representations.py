"""Real orthogonal representations of finite groups, checked when they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from rl_core.errors import SymmetryError
from rl_core.symmetry.groups import Group

__all__ = [
    "Representation",
    "from_generators",
    "permutation",
    "quotient",
    "regular",
    "sign",
    "signed_permutation",
    "standard",
    "trivial",
]

_TOLERANCE = 1e-5


class Representation:
    """A homomorphism from a group to orthogonal matrices.

    Parameters
    ----------
    group : Group
    matrices : Tensor [n, d, d]
        ``matrices[g]`` is ρ(g), in float64.
    name : str

    Raises
    ------
    SymmetryError
        Where the shape is wrong, ρ(g)ρ(h) is not ρ(gh), or a matrix is not orthogonal; the message names the
        elements.
    """

    def __init__(self, group: Group, matrices: Tensor, name: str = "ρ") -> None:
        self.group = group
        self.name = name
        self.matrices = torch.as_tensor(matrices, dtype=torch.float64)
        _check(group, self.matrices, name)
        self.dimension = int(self.matrices.shape[1])
        self._copies: dict[tuple[str, torch.device, torch.dtype], Tensor] = {}

    @cached_property
    def is_signed_permutation(self) -> bool:
        """Return whether every ρ(g) permutes the coordinates and changes signs only."""
        return self.signed_permutation_fault() is None

    def signed_permutation_fault(self) -> str | None:
        """Why this is no signed permutation, or None where it is one."""
        entries = self.matrices.abs()
        whole = ((entries < _TOLERANCE) | ((entries - 1).abs() < _TOLERANCE)).all(dim=2).all(dim=1)
        wrong = (~whole).nonzero()
        if len(wrong) == 0:
            return None
        g = int(wrong[0])
        rows = [[round(v, 4) for v in row] for row in self.matrices[g].tolist()]
        return f"{self.name} of element {self.group.names[g]} is {rows}, which mixes coordinates"

    @cached_property
    def sources(self) -> Tensor:
        """Of a signed permutation, [g, i]: the coordinate j for which (ρ(g)x)_i = ±x_j."""
        self._require_signed_permutation()
        return self.matrices.abs().argmax(dim=2)

    @cached_property
    def signs(self) -> Tensor:
        """Of a signed permutation, [g, i]: the sign with which coordinate i is taken; see `sources`."""
        self._require_signed_permutation()
        return self.matrices.sum(dim=2).round()

    @cached_property
    def parities(self) -> Tensor | None:
        """Of a diagonal representation of a group with real characters, the character of each coordinate [d].

        None where the representation is not diagonal or the group has other characters.
        """
        characters = self.group.characters
        diagonal = self.matrices.diagonal(dim1=1, dim2=2)
        if characters is None or not torch.equal(torch.diag_embed(diagonal), self.matrices):
            return None
        return (characters[:, :, None] == diagonal[None]).all(dim=1).long().argmax(dim=0)

    @cached_property
    def invariant_projection(self) -> Tensor:
        """The projection n⁻¹ Σ_g ρ(g) onto the invariant vectors, [d, d]."""
        return self.matrices.mean(dim=0)

    def absolute(self) -> Representation:
        """|ρ|: the same permutations without signs; it acts on standard deviations.

        Raises
        ------
        SymmetryError
            Where this is no signed permutation, so that |ρ| is no representation.
        """
        self._require_signed_permutation()
        return Representation(self.group, self.matrices.abs().round(), f"|{self.name}|")

    def transform(self, g: int | Tensor, x: Tensor) -> Tensor:
        """ρ(g)x along the last axis of x.

        Parameters
        ----------
        g : int or Tensor of int
            One element, or one for each vector: its shape broadcasts against ``x.shape[:-1]``.
        x : Tensor [..., d]
            The vectors.
        """
        if x.shape[-1:] != (self.dimension,):
            raise SymmetryError(
                f"{self.name} acts on {self.dimension} coordinates, got shape {list(x.shape)}"
            )
        if self.is_signed_permutation:
            sources = self._held("sources", x.device, torch.long)[g]
            signs = self._held("signs", x.device, x.dtype)[g]
            shape = np.broadcast_shapes(x.shape, sources.shape)
            return x.expand(shape).gather(-1, sources.expand(shape)) * signs
        return (self._held("matrices", x.device, x.dtype)[g] @ x[..., None]).squeeze(-1)

    def _held(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        """A constant on a device, copied there once: a copy at each call would wait for the device."""
        key = (name, device, dtype)
        if key not in self._copies:
            self._copies[key] = getattr(self, name).to(device=device, dtype=dtype)
        return self._copies[key]

    def _require_signed_permutation(self) -> None:
        fault = self.signed_permutation_fault()
        if fault is not None:
            raise SymmetryError(f"not a signed permutation: {fault}")

    def __add__(self, other: Representation) -> Representation:
        """The direct sum: acts on the coordinates of both, one after the other."""
        if self.group != other.group:
            raise SymmetryError(
                f"{self.name} ⊕ {other.name}: groups {self.group.name} and {other.group.name} differ"
            )
        a, b = self.dimension, other.dimension
        matrices = torch.zeros(self.group.order, a + b, a + b, dtype=torch.float64)
        matrices[:, :a, :a] = self.matrices
        matrices[:, a:, a:] = other.matrices
        return Representation(self.group, matrices, f"{self.name}⊕{other.name}")

    def __mul__(self, copies: int) -> Representation:
        """The direct sum of ``copies`` copies."""
        if copies < 1:
            raise SymmetryError(f"{self.name}: cannot take {copies} copies")
        eye = torch.eye(copies, dtype=torch.float64)
        blocks = torch.stack([torch.kron(eye, m) for m in self.matrices])
        return Representation(self.group, blocks, f"{copies}·{self.name}")

    __rmul__ = __mul__

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Representation)
            and self.group == other.group
            and self.matrices.shape == other.matrices.shape
            and bool((self.matrices - other.matrices).abs().max() < _TOLERANCE)
        )

    def __hash__(self) -> int:
        return hash((self.group, self.dimension))

    def __repr__(self) -> str:
        return f"Representation({self.name} of {self.group.name}, dimension={self.dimension})"


def trivial(group: Group, dimension: int = 1) -> Representation:
    """Every element acts as the identity on ``dimension`` coordinates."""
    if dimension < 1:
        raise SymmetryError(f"trivial: the dimension must be at least 1, got {dimension}")
    matrices = torch.eye(dimension, dtype=torch.float64).repeat(group.order, 1, 1)
    return Representation(group, matrices, f"{dimension}·trivial" if dimension > 1 else "trivial")


def regular(group: Group) -> Representation:
    """The group permutes functions on itself: (L_a y)(g) = y(a⁻¹g)."""
    eye = torch.eye(group.order, dtype=torch.float64)
    return Representation(group, eye[group.difference], "regular")


def sign(group: Group, signs: Mapping[int | str, int] | None = None) -> Representation:
    """One coordinate that some elements negate.

    Parameters
    ----------
    group : Group
        The group.
    signs : mapping of element to ±1, optional
        The sign of each generator. Where absent: C_n of even order negates by odd rotations, and D_n
        (n ≥ 1) by reflections.

    Raises
    ------
    SymmetryError
        Where the group has no such default, or the signs are no representation.
    """
    if signs is None:
        if group.plane is None:
            raise SymmetryError(
                f"sign of {group.name}: set which generators negate, for example signs={{...: -1}}"
            )
        reflections = torch.linalg.det(group.plane).round()
        if bool((reflections > 0).all()):
            if group.order % 2:
                raise SymmetryError(f"sign of {group.name}: a group of odd order has no sign representation")
            reflections = 1.0 - 2.0 * (torch.arange(group.order) % 2)
        return Representation(group, reflections[:, None, None], "sign")
    return from_generators(group, {k: torch.tensor([[float(s)]]) for k, s in signs.items()}, "sign")


def standard(group: Group) -> Representation:
    """The action of C_n or D_n on the plane, two coordinates (x, y).

    Raises
    ------
    SymmetryError
        Where the group was not made by `cyclic` or `dihedral`.
    """
    if group.plane is None:
        raise SymmetryError(f"{group.name} has no action on the plane of its own; use from_generators")
    return Representation(group, group.plane, "standard")


def permutation(group: Group, permutations: Mapping[int | str, Sequence[int]]) -> Representation:
    """Coordinates permuted: the generator sends coordinate j to place ``permutations[generator][j]``.

    Parameters
    ----------
    group : Group
        The group.
    permutations : mapping of generator to sequence of int
        One permutation of 0…d−1 for each element of a generating set.
    """
    return signed_permutation(group, {k: (p, [1] * len(p)) for k, p in permutations.items()}, "permutation")


def signed_permutation(
    group: Group,
    images: Mapping[int | str, tuple[Sequence[int], Sequence[int]]],
    name: str = "signed permutation",
) -> Representation:
    """Coordinates permuted and negated: coordinate j goes to place p[j] with sign s[j].

    Parameters
    ----------
    group : Group
        The group.
    images : mapping of generator to (p, s)
        For each element of a generating set a permutation of 0…d−1 and signs ±1.
    name : str
        Used in messages.
    """
    matrices = {}
    for key, (places, signs) in images.items():
        if sorted(places) != list(range(len(places))):
            raise SymmetryError(
                f"{name}: {list(places)} given for {key!r} is no permutation of 0…{len(places) - 1}"
            )
        if len(signs) != len(places) or any(abs(s) != 1 for s in signs):
            raise SymmetryError(f"{name}: signs given for {key!r} must be {len(places)} times ±1")
        matrix = torch.zeros(len(places), len(places), dtype=torch.float64)
        matrix[list(places), range(len(places))] = torch.tensor(list(signs), dtype=torch.float64)
        matrices[key] = matrix
    return from_generators(group, matrices, name)


def quotient(group: Group, subgroup: Iterable[int | str]) -> Representation:
    """The group permutes the left cosets gH of the subgroup H that the given elements generate."""
    inside = group.subgroup(subgroup)
    cosets = sorted({tuple(sorted(group.table[g, list(inside)].tolist())) for g in range(group.order)})
    place = {g: i for i, coset in enumerate(cosets) for g in coset}
    matrices = torch.zeros(group.order, len(cosets), len(cosets), dtype=torch.float64)
    for g in range(group.order):
        for j, coset in enumerate(cosets):
            matrices[g, place[group.multiply(g, coset[0])], j] = 1.0
    return Representation(group, matrices, f"quotient by {len(inside)}")


def from_generators(
    group: Group,
    images: Mapping[int | str, Tensor | Sequence[float] | Sequence[Sequence[float]]],
    name: str = "ρ",
) -> Representation:
    """The representation that takes these values on a generating set.

    Parameters
    ----------
    group : Group
        The group.
    images : mapping of element to matrix
        ρ of each element (index, name or generator's name) of a generating set, as a [d, d] matrix or as the
        d entries of a diagonal one.
    name : str
        Used in messages.

    Raises
    ------
    SymmetryError
        Where the elements do not generate the group, sizes differ, or no representation takes these values.
    """
    if not images and group.order > 1:
        raise SymmetryError(
            f"{name}: give a matrix for each generator of {group.name}: {list(group.generators)}"
        )
    matrices: dict[int, Tensor] = {}
    for key, image in images.items():
        value = torch.as_tensor(image, dtype=torch.float64)
        value = torch.diag(value) if value.ndim == 1 else value
        if value.ndim != 2 or value.shape[0] != value.shape[1]:
            raise SymmetryError(f"{name}: the matrix of {key!r} has shape {list(value.shape)}, not square")
        matrices[group.element(key)] = value
    sizes = sorted({int(m.shape[0]) for m in matrices.values()})
    if len(sizes) > 1:
        raise SymmetryError(f"{name}: matrices of different sizes: {sizes}")
    size = sizes[0] if sizes else 1
    words = group.words(matrices)
    if len(words) != group.order - 1:
        raise SymmetryError(
            f"{name}: {list(images)} generate only {len(words) + 1} of {group.order} elements"
        )
    values = torch.eye(size, dtype=torch.float64).repeat(group.order, 1, 1)
    for a, b in words:
        values[group.multiply(a, b)] = values[a] @ matrices[b]
    given = {k: float((values[k] - m).abs().max()) for k, m in matrices.items()}
    for k, gap in given.items():
        if gap > _TOLERANCE:
            raise SymmetryError(f"{name}: no representation takes this value on element {group.names[k]}")
    return Representation(group, values, name)


def _check(group: Group, matrices: Tensor, name: str) -> None:
    n = group.order
    if matrices.ndim != 3 or matrices.shape[0] != n or matrices.shape[1] != matrices.shape[2]:
        raise SymmetryError(f"{name} of {group.name}: needs shape [{n}, d, d], got {list(matrices.shape)}")
    if matrices.shape[1] == 0 or not bool(torch.isfinite(matrices).all()):
        raise SymmetryError(
            f"{name} of {group.name}: matrices must be finite and have at least one coordinate"
        )
    eye = torch.eye(matrices.shape[1], dtype=torch.float64)
    for g in range(n):
        gap = (matrices[g] @ matrices - matrices[group.table[g]]).abs().amax(dim=(1, 2))
        if float(gap.max()) > _TOLERANCE:
            h = int(gap.argmax())
            pair = f"ρ({group.names[g]})ρ({group.names[h]})"
            product = group.names[group.multiply(g, h)]
            raise SymmetryError(
                f"{name} is no representation of {group.name}: {pair} differs from ρ({product})"
            )
        if float((matrices[g] @ matrices[g].T - eye).abs().max()) > _TOLERANCE:
            raise SymmetryError(
                f"{name} of {group.name}: the matrix of element {group.names[g]} is not orthogonal"
            )
