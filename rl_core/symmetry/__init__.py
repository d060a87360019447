"""Finite groups, their representations, and the symmetry of a decision problem."""

from __future__ import annotations

from rl_core.symmetry.groups import Group, cyclic, dihedral, product
from rl_core.symmetry.representations import (
    Representation,
    from_generators,
    permutation,
    quotient,
    regular,
    sign,
    signed_permutation,
    standard,
    trivial,
)
from rl_core.symmetry.symmetry import Element, Symmetry
from rl_core.symmetry.symmetry_file import DeclaredSymmetry, load_symmetry_file

__all__ = [
    "DeclaredSymmetry",
    "Element",
    "Group",
    "Representation",
    "Symmetry",
    "cyclic",
    "dihedral",
    "from_generators",
    "load_symmetry_file",
    "permutation",
    "product",
    "quotient",
    "regular",
    "sign",
    "signed_permutation",
    "standard",
    "trivial",
]
