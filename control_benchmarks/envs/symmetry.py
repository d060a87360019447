"""The symmetry of a task, for the learning core."""

from __future__ import annotations

import torch

from control_benchmarks.errors import ControlError
from control_benchmarks.tasks.base import Array, Task
from rl_core.symmetry import Group, Representation, Symmetry, dihedral
from rl_core.symmetry.representations import from_generators, trivial

STACKED_CHANNELS = 9  # three frames of red, green and blue


def task_group(task: Task) -> Group:
    """Return the group that acts on a task."""
    return dihedral(task.turns)


def state_symmetry(task: Task) -> Symmetry:
    """Return how the group of a task acts on its state observation and its action."""
    group = task_group(task)
    observation = {name: generator.observation for name, generator in task.generators.items()}
    action = {name: generator.action for name, generator in task.generators.items()}
    return Symmetry(group, _represent(group, observation, "observation"), _represent(group, action, "action"))


def image_symmetry(task: Task) -> Symmetry:
    """Return how the group of a task acts on stacked frames [9, 85, 85] and on its action.

    Raises
    ------
    ControlError
        If the group moves no picture, as for the legs of the walker.
    """
    group = task_group(task)
    plane = {
        name: generator.image for name, generator in task.generators.items() if generator.image is not None
    }
    if len(plane) < len(task.generators):
        raise ControlError(f"{task.name} has no symmetry of its pictures; run it from states")
    action = {name: generator.action for name, generator in task.generators.items()}
    return Symmetry(
        group,
        trivial(group, STACKED_CHANNELS),
        _represent(group, action, "action"),
        plane=_represent(group, plane, "plane"),
    )


def _represent(group: Group, matrices: dict[str, Array], name: str) -> Representation:
    return from_generators(group, {key: torch.from_numpy(matrix) for key, matrix in matrices.items()}, name)
