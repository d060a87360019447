"""Definition of a task: initial states, observation, reward and symmetry, all on batches of states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
FRAMES = 1000  # every task here has the suite's episodes of 1,000 control steps


@dataclass(frozen=True)
class States:
    """A batch of K physics states.

    Attributes
    ----------
    position, velocity
        Generalised positions [K, nq] and velocities [K, nv].
    target
        What the task fixes for an episode outside the physics, such as the place of a goal [K, e].
    """

    position: Array
    velocity: Array
    target: Array


@dataclass(frozen=True)
class Start:
    """The state in which one episode starts: position [nq], velocity [nv] and target [e]."""

    position: Array
    velocity: Array
    target: Array


@dataclass(frozen=True)
class Generator:
    """One generator of a task's group: what it does to observations, actions, physics states and images.

    Attributes
    ----------
    observation, action
        Its matrices on the observation [O, O] and the action [A, A].
    position, offset, target
        Its affine action on the physics state: ``position @ q + offset``, ``velocity @ q`` and
        ``target @ t``.
    image
        Its matrix [2, 2] on the plane of the task's camera (x to the right, y up); None if it moves no
        picture.
    """

    observation: Array
    action: Array
    position: Array
    offset: Array | float = 0.0
    target: Array = field(default_factory=lambda: np.zeros((0, 0)))
    image: Array | None = None

    def apply(self, states: States) -> States:
        """Transform a batch of physics states."""
        return States(
            states.position @ self.position.T + self.offset,
            states.velocity @ self.position.T,
            states.target @ self.target.T,
        )


@dataclass(frozen=True)
class Breaks:
    """Parameters with which the variants of a task break its symmetry.

    Attributes
    ----------
    direction, scale
        The region of the variants `repeat-action` and `reflect-action` at strength s is where
        ``observation @ direction > (1 - s) * scale``: half of the state space at strength 1.
    tilt, downhill
        Angle in degrees by which `gravity` tilts at strength 1 (None where a tilt keeps the symmetry), and
        the horizontal direction [2] (x, y) towards which it pulls.
    joint
        The actuator that `worn-joint` wears.
    """

    direction: tuple[float, ...]
    scale: float
    joint: int = 0
    tilt: float | None = None
    downhill: tuple[float, float] = (1.0, 0.0)


@dataclass(frozen=True)
class Task:
    """A task of DeepMind Control together with its symmetry.

    Attributes
    ----------
    name
        ``domain_task``, as published results name it.
    turns
        The group is the dihedral one with so many rotations: 1 for a reflection alone, 2, or 4.
    generators
        What its generators do: ``"f"`` the reflection and, with several turns, ``"r"`` the smallest rotation.
    substeps
        Physics steps in a control step.
    initial
        ``initial(random, model) -> Start``, draws an episode's first state.
    observe
        ``observe(states) -> [K, O]``.
    reward
        ``reward(states, control [K, A]) -> [K]`` of the states that a control step led to.
    camera
        Fixed camera for pixels.
    size
        Radii of the model's bodies that the suite sets itself, by name: only pictures show them.
    """

    name: str
    turns: int
    generators: Mapping[str, Generator]
    initial: Callable[[np.random.RandomState, Any], Start]
    observe: Callable[[States], Array]
    reward: Callable[[States, Array], Array]
    breaks: Breaks
    camera: str = "fixed"
    substeps: int = 1
    size: tuple[tuple[str, float], ...] = ()

    @property
    def model(self) -> str:
        """Name of the domain, and of its model file."""
        return self.name.rpartition("_")[0]

    @property
    def observation_size(self) -> int:
        """Length O of an observation."""
        return int(self.generators["f"].observation.shape[0])

    @property
    def action_size(self) -> int:
        """Length A of an action."""
        return int(self.generators["f"].action.shape[0])

    @property
    def target_size(self) -> int:
        """Length e of an episode's target."""
        return int(self.generators["f"].target.shape[0])

    @property
    def has_image_symmetry(self) -> bool:
        """True if the group acts on images from the camera."""
        return all(generator.image is not None for generator in self.generators.values())


def signs(text: str) -> Array:
    """Return the diagonal matrix of a row of signs, such as ``"- + - -"``."""
    values = {"+": 1.0, "-": -1.0}
    return np.diag([values[sign] for sign in text.split()])


def permutation(indices: Sequence[int]) -> Array:
    """Return the matrix that takes x to ``x[indices]``."""
    return np.eye(len(indices))[list(indices)]


FLIP_X = signs("- +")
FLIP_Y = signs("+ -")
HALF_TURN = signs("- -")
QUARTER_TURN = np.array([[0.0, -1.0], [1.0, 0.0]])


def blocks(*matrices: Array) -> Array:
    """Return the block-diagonal matrix of square matrices."""
    size = sum(matrix.shape[0] for matrix in matrices)
    result = np.zeros((size, size))
    start = 0
    for matrix in matrices:
        stop = start + matrix.shape[0]
        result[start:stop, start:stop] = matrix
        start = stop
    return result


def at_rest(position: Array, target: Array | None = None) -> Start:
    """Return a start without motion at a position [nq]."""
    return Start(position, np.zeros(len(position)), np.zeros(0) if target is None else target)
