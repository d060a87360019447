"""Test of a declared symmetry against the transitions of an environment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import numpy.typing as npt

from rl_core.errors import ConfigError
from rl_core.gymnasium.spaces import ActionBox, check_sizes, observation_space
from rl_core.gymnasium.state import SettableState
from rl_core.gymnasium.transitions import Evidence, LocalModel, PairedTransitions, collect
from rl_core.symmetry import DeclaredSymmetry

__all__ = ["EntryDeviation", "SymmetryCheck", "check_symmetry"]

Array = npt.NDArray[np.float64]
Method = Literal["pairs", "regression"]

TOLERANCE = {"pairs": 1e-3, "regression": 0.1}
"""Deviations, as shares of the typical change in a step, up to which an entry is right."""
RATIO = 1.5
"""Errors on mirrored transitions over those on others, up to which a regression sees no deviation."""


@dataclass(frozen=True)
class EntryDeviation:
    """Deviation of an entry of the next observation, or of the reward, under a generator of the group.

    Attributes
    ----------
    generator
        Name of the element.
    entry
        Name of the entry, or ``reward``.
    image
        Its declared image, as ``-velocity``.
    deviation
        Root mean square of the difference from the declared image, beyond what is expected.
    share
        The same over the typical change of the entry in a step (of the reward, over its spread).
    wrong
        True if that is beyond the tolerance.
    """

    generator: str
    entry: str
    image: str
    deviation: float
    share: float
    wrong: bool


@dataclass(frozen=True)
class SymmetryCheck:
    """Result of a test.

    Attributes
    ----------
    method
        ``pairs`` of transitions from a state and its mirror image, or ``regression`` where the state cannot be set.
    transitions
        Number of transitions used.
    entries
        Deviations under every generator.
    fault
        The entry that is wrong, in one line; None where the symmetry holds.
    """

    method: Method
    transitions: int
    entries: tuple[EntryDeviation, ...]
    fault: str | None


def check_symmetry(
    env: gymnasium.Env[Any, Any],
    declared: DeclaredSymmetry,
    *,
    transitions: int | None = None,
    seed: int = 0,
) -> SymmetryCheck:
    """Test a symmetry on transitions of random actions.

    If the environment's state can be set (`SettableState`), it is stepped from a state and from its mirror image.
    Else a regression predicts what follows mirrored states and actions; that sees large deviations only, and needs
    random actions that visit both sides.

    Parameters
    ----------
    env
        A single environment.
    declared
        The symmetry.
    transitions
        Number of transitions; 64 pairs or 8,192 for a regression by default.
    seed
        Of the environment and the actions.

    Raises
    ------
    ConfigError
        If the spaces are not Boxes, the sizes differ, or a regression has too little to compare.
    """
    name = env.spec.id if env.spec is not None else type(env.unwrapped).__name__
    size = int(np.prod(observation_space(env.observation_space, name).shape))
    check_sizes(declared.symmetry, size, ActionBox(env.action_space, name).size, name)
    if transitions is not None and transitions < 1:
        raise ConfigError(f"transitions is {transitions}; it must be at least 1")
    env.reset(seed=seed)
    method: Method = "pairs" if SettableState.offered(env) else "regression"
    evidence: Evidence
    if method == "pairs":
        sample = collect(env, transitions or 64, seed, thinned=10)
        evidence = PairedTransitions(env, sample, seed)
    else:
        sample = collect(env, transitions or 8192, seed)
        evidence = LocalModel(sample)
    found, fault = [], None
    for generator, element in declared.symmetry.group.generators.items():
        declaration = _Declaration.of(declared, generator, element)
        entries = declaration.deviations(evidence, method)
        found += entries
        if fault is None and any(entry.wrong for entry in entries):
            fault = declaration.fault(evidence, method, entries)
    return SymmetryCheck(method, len(sample.reward), tuple(found), fault)


@dataclass(frozen=True)
class _Declaration:
    """Matrices by which a generator acts, with the names of what they act on."""

    generator: str
    observation: Array
    action: Array
    names: tuple[str, ...]
    actions: tuple[str, ...]

    @staticmethod
    def of(declared: DeclaredSymmetry, generator: str, element: int) -> _Declaration:
        symmetry = declared.symmetry
        observation, action = (
            part.matrices[element].numpy() for part in (symmetry.observation, symmetry.action)
        )
        return _Declaration(generator, observation, action, declared.observation, declared.action)

    def deviations(self, evidence: Evidence, method: Method) -> list[EntryDeviation]:
        """Return the deviation of every entry of the next observation, and of the reward."""
        residuals, scale = evidence.residuals(self.observation, self.action), evidence.transitions.scale()
        excess = np.sqrt(np.maximum(0.0, np.square(residuals.deviation) - np.square(residuals.expected)))
        wrong = (excess > TOLERANCE[method] * scale) & (residuals.deviation > RATIO * residuals.expected)
        images = [_image(row, self.names) for row in self.observation]
        return [
            EntryDeviation(self.generator, entry, image, float(size), float(size / unit), bool(bad))
            for entry, image, size, unit, bad in zip(
                [*self.names, "reward"], [*images, "reward"], excess, scale, wrong, strict=True
            )
        ]

    def fault(self, evidence: Evidence, method: Method, entries: list[EntryDeviation]) -> str:
        """Return the entry that is wrong: one whose other sign mends all, else the one that deviates most."""
        worst = max((entry for entry in entries if entry.wrong), key=lambda entry: entry.share)
        size = f"{worst.deviation:.3g}, {worst.share:.0%} of its typical change in a step"
        fits = [label for label, changed in self._changes() if changed.holds(evidence, method)]
        if fits:
            return f"{'; or '.join(fits)} (generator {self.generator}; as declared, {worst.entry} deviates by {size})"
        part = "reward" if worst.entry == "reward" else f'observation entry {worst.entry} = "{worst.image}"'
        return (
            f"{part} deviates by {size} (generator {self.generator}); no other sign of a single entry mends this: the "
            "environment may not have this symmetry"
        )

    def holds(self, evidence: Evidence, method: Method) -> bool:
        """Return True if no entry deviates; False also where there is too little to compare."""
        try:
            return not any(entry.wrong for entry in self.deviations(evidence, method))
        except ConfigError:
            return False

    def _changes(self) -> Iterator[tuple[str, _Declaration]]:
        """Yield declarations in which one entry, or entries that are exchanged, have the other sign."""
        for part, matrix, names in (
            ("observation", self.observation, self.names),
            ("action", self.action, self.actions),
        ):
            for cycle in _cycles(matrix):
                other = matrix.copy()
                other[cycle] *= -1
                lines = [
                    " and ".join(f'{names[i]} = "{_image(m[i], names)}"' for i in cycle)
                    for m in (matrix, other)
                ]
                label = f"{part} entry {lines[0]} is wrong, {lines[1]} fits"
                matrices = (other, self.action) if part == "observation" else (self.observation, other)
                yield label, _Declaration(self.generator, *matrices, self.names, self.actions)


def _image(row: Array, names: tuple[str, ...]) -> str:
    """Return the image that a row of a signed permutation declares."""
    source = int(np.abs(row).argmax())
    return ("-" if row[source] < 0 else "") + names[source]


def _cycles(matrix: Array) -> list[list[int]]:
    """Return the sets of entries that a signed permutation exchanges."""
    sources, cycles = np.abs(matrix).argmax(axis=1), []
    left = set(range(len(matrix)))
    while left:
        cycle = [min(left)]
        while (following := int(sources[cycle[-1]])) != cycle[0]:
            cycle.append(following)
        left -= set(cycle)
        cycles.append(cycle)
    return cycles
