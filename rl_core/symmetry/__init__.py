"""Finite groups, their representations, and the symmetry of a decision problem."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

_MODULES = {
    "Group": "groups",
    "cyclic": "groups",
    "dihedral": "groups",
    "product": "groups",
    "Representation": "representations",
    "from_generators": "representations",
    "permutation": "representations",
    "quotient": "representations",
    "regular": "representations",
    "sign": "representations",
    "signed_permutation": "representations",
    "standard": "representations",
    "trivial": "representations",
    "Element": "symmetry",
    "Symmetry": "symmetry",
}

__all__ = [
    "Element",
    "Group",
    "Representation",
    "Symmetry",
    "cyclic",
    "dihedral",
    "from_generators",
    "permutation",
    "product",
    "quotient",
    "regular",
    "sign",
    "signed_permutation",
    "standard",
    "trivial",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
