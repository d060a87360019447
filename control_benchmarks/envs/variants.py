"""Variants of a task that break its symmetry by a known amount.

============== =================================================================================
repeat-action  in a region the action of the decision before is applied instead of this one
reflect-action in a region the action's sign is reversed
gravity        gravity pulls to a side as well as down
worn-joint     one joint answers positive commands more strongly: (1 + strength) times
============== =================================================================================

The region is ``observation @ direction > (1 - strength) * scale``: half of the state space at strength 1,
nothing at strength 0. At strength 1 gravity is tilted by the task's own angle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from control_benchmarks.errors import ControlError, unknown
from control_benchmarks.tasks.base import Array, Task

ORIGINAL = "original"
KINDS = (ORIGINAL, "repeat-action", "reflect-action", "gravity", "worn-joint")
_GRAVITY = 9.81


@dataclass(frozen=True)
class Variant:
    """A kind of variant with its strength from 0 (no change) on."""

    kind: str = ORIGINAL
    strength: float = 1.0

    @property
    def name(self) -> str:
        """The kind, followed by the strength where that is not 1."""
        return self.kind if self.strength == 1.0 else f"{self.kind}:{self.strength:g}"


def variant_names(task: Task) -> tuple[str, ...]:
    """Return the kinds of variants that a task has, the original first."""
    return tuple(kind for kind in KINDS if kind != "gravity" or task.breaks.tilt is not None)


def load_variant(task: Task, name: str) -> Variant:
    """Return the variant of a name such as ``"gravity"`` or, with a strength, ``"gravity:0.5"``.

    Raises
    ------
    ControlError
        If the task has no such variant or the strength is no number from 0 on.
    """
    kind, colon, text = name.partition(":")
    if kind not in variant_names(task):
        raise unknown(f"variant of {task.name}", kind, variant_names(task))
    if not colon:
        return Variant(kind)
    try:
        strength = float(text)
    except ValueError:
        strength = math.nan
    regional = kind in ("repeat-action", "reflect-action")
    if not 0 <= strength < math.inf or (regional and strength > 1):
        raise ControlError(
            f"strength '{text}' of variant '{kind}' must be a number from 0 {'to 1' if regional else 'on'}"
        )
    return Variant(kind, strength)


def gravity_vector(task: Task, variant: Variant) -> tuple[float, float, float] | None:
    """Return the acceleration of a `gravity` variant; None where the task's own holds."""
    if variant.kind != "gravity" or task.breaks.tilt is None:
        return None
    angle = math.radians(task.breaks.tilt * variant.strength)
    x, y = task.breaks.downhill
    norm = math.hypot(x, y)
    return (
        _GRAVITY * math.sin(angle) * x / norm,
        _GRAVITY * math.sin(angle) * y / norm,
        -_GRAVITY * math.cos(angle),
    )


class ActionMap:
    """Map of actions to controls in each of K environments.

    Parameters
    ----------
    task
        The task.
    variants
        The variant of each environment [K].
    """

    def __init__(self, task: Task, variants: Sequence[Variant]) -> None:
        self._direction = np.array(task.breaks.direction, dtype=np.float64)
        kinds = np.array([variant.kind for variant in variants])
        strengths = np.array([variant.strength for variant in variants])
        self._repeats = kinds == "repeat-action"
        self._reflects = kinds == "reflect-action"
        self._threshold = (1 - strengths) * task.breaks.scale
        # Nothing lies beyond 1 for a sine; for an unbounded coordinate strength 0 must mean nothing too.
        self._threshold[strengths == 0] = np.inf
        self.needs_observation = bool((self._repeats | self._reflects).any())
        self._joint = task.breaks.joint
        self._wear = np.where(kinds == "worn-joint", strengths, 0.0)

    def region(self, observation: Array) -> NDArray[np.bool_]:
        """Return where [K] a state observation [K, O] lies in the region of its environment's variant."""
        return np.asarray(observation @ self._direction > self._threshold)

    def command(self, action: Array, previous: Array, observation: Array) -> Array:
        """Return the commands [K, A] that actions lead to, given those of the decision before."""
        if not self.needs_observation:
            return action
        inside = self.region(observation)
        command = np.where((inside & self._repeats)[:, None], previous, action)
        command[inside & self._reflects] *= -1
        return command

    def control(self, command: Array) -> Array:
        """Return the controls [K, A] that the actuators answer a command with."""
        control = command.copy()
        joint = control[:, self._joint]
        control[:, self._joint] = joint + self._wear * np.maximum(joint, 0.0)
        return control
