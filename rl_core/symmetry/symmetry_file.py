"""Symmetries declared in a TOML or JSON file: for each entry of observation and action, its image.

The file has a group and a table for the observation and for the action, with a line for each entry, in order::

    group = "C2"

    [observation]
    cosine = "cosine"
    sine = "-sine"
    velocity = "-velocity"

    [action]
    torque = "-torque"

``left = "-right"`` means that the entry *left* of the mirror image is minus the entry *right*. A group with several
generators has a table of images: ``x = {r = "-y", f = "x"}``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from rl_core.errors import SymmetryError
from rl_core.symmetry.groups import Group, cyclic, dihedral, product
from rl_core.symmetry.representations import Representation, signed_permutation, trivial
from rl_core.symmetry.symmetry import Symmetry

__all__ = ["DeclaredSymmetry", "load_symmetry_file"]

PARTS = ("observation", "action")
FACTOR = re.compile(r"([CD])([1-9]\d{0,2})")


@dataclass(frozen=True)
class DeclaredSymmetry:
    """A symmetry, and the names of the entries on which it acts.

    Attributes
    ----------
    symmetry
        Action of the group on vectors.
    observation, action
        Names of the entries, in order.
    """

    symmetry: Symmetry
    observation: tuple[str, ...]
    action: tuple[str, ...]


def load_symmetry_file(path: str | Path) -> DeclaredSymmetry:
    """Load a symmetry from a TOML file, or from a JSON file of the same structure.

    Raises
    ------
    SymmetryError
        If the file cannot be read, or declares no symmetry; the message names the entry.
    """
    file = Path(path)
    document = _read(file)
    unknown = sorted(set(document) - {"group", *PARTS})
    if unknown:
        raise SymmetryError(f"{file}: unknown key {unknown[0]!r}; it may have group, observation and action")
    group = _group(document.get("group"), file)
    tables = {part: _table(document, part, file) for part in PARTS}
    observation, action = (_representation(group, tables[part], f"{file}, [{part}]") for part in PARTS)
    names = [tuple(tables[part]) for part in PARTS]
    return DeclaredSymmetry(Symmetry(group, observation, action), *names)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
        document = json.loads(text) if file.suffix.lower() == ".json" else tomllib.loads(text)
    except OSError as error:
        raise SymmetryError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise SymmetryError(f"{file}: {error}") from error
    if not isinstance(document, dict):
        raise SymmetryError(f"{file}: a table with group, observation and action is needed")
    return document


def _group(name: object, file: Path) -> Group:
    """Return the group of a name such as C2, D4 or C2 x D4."""
    factors = [FACTOR.fullmatch(part.strip()) for part in re.split("[x×]", str(name))]
    found = [factor for factor in factors if factor is not None]
    if not isinstance(name, str) or len(found) < len(factors):
        raise SymmetryError(
            f"{file}: group is {name!r}; give C2 (one mirror), Cn, Dn or a product such as 'C2 x C2'"
        )
    kinds = {"C": cyclic, "D": dihedral}
    return reduce(product, (kinds[factor[1]](int(factor[2])) for factor in found))


def _table(document: Mapping[str, Any], part: str, file: Path) -> Mapping[str, Any]:
    table = document.get(part)
    if not isinstance(table, dict) or not table:
        raise SymmetryError(f'{file}: [{part}] is missing; give a line for each entry, as name = "-name"')
    return table


def _representation(group: Group, table: Mapping[str, Any], place: str) -> Representation:
    generators = tuple(group.generators)
    if not generators:
        return trivial(group, len(table))
    images: dict[int | str, tuple[Sequence[int], Sequence[int]]] = {
        generator: _image(generator, generators, table, place) for generator in generators
    }
    for generator in generators:
        places, signs = images[generator]
        _check_order(group, generator, places, signs, tuple(table), place)
    return signed_permutation(group, images)


def _check_order(
    group: Group,
    generator: str,
    places: Sequence[int],
    signs: Sequence[int],
    names: tuple[str, ...],
    place: str,
) -> None:
    """Refuse a generator of order k that does not return every entry to itself after k times."""
    order = len(group.subgroup([generator]))
    for start, name in enumerate(names):
        entry, sign = start, 1
        for _ in range(order):
            entry, sign = places[entry], sign * signs[entry]
        if (entry, sign) != (start, 1):
            end = ("-" if sign < 0 else "") + names[entry]
            raise SymmetryError(
                f"{place} {name}: {order} times {generator} of {group.name} must return {name} to itself, "
                f"but it becomes {end}"
            )


def _image(
    generator: str, generators: tuple[str, ...], table: Mapping[str, Any], place: str
) -> tuple[list[int], list[int]]:
    """Return where a generator moves each entry, and its sign."""
    names = list(table)
    places, signs = [0] * len(names), [0] * len(names)
    taken: dict[str, str] = {}
    for target, (entry, value) in enumerate(table.items()):
        source, sign = _source(entry, value, generator, generators, place)
        if source not in table:
            raise SymmetryError(f"{place} {entry}: there is no entry {source!r}; it has {', '.join(names)}")
        if source in taken:
            raise SymmetryError(
                f"{place} {entry}: {source} is the image of {taken[source]} already; use each entry once"
            )
        taken[source] = entry
        places[names.index(source)], signs[names.index(source)] = target, sign
    return places, signs


def _source(
    entry: str, value: object, generator: str, generators: tuple[str, ...], place: str
) -> tuple[str, int]:
    """Return the entry from which an entry's image comes, and its sign."""
    if isinstance(value, str) and len(generators) == 1:
        image: object = value
    elif isinstance(value, dict) and set(value) == set(generators):
        image = value[generator]
    else:
        several = ", ".join(f'{name} = "-{entry}"' for name in generators)
        example = f'"-{entry}"' if len(generators) == 1 else f"{{{several}}}"
        raise SymmetryError(f"{place} {entry}: {value!r} is no image; write {entry} = {example}")
    if not isinstance(image, str) or not image.strip().lstrip("+-").strip():
        raise SymmetryError(f"{place} {entry}: {image!r} is no image; write the name of an entry, or -name")
    text = image.strip()
    return text.lstrip("+-").strip(), -1 if text.startswith("-") else 1
