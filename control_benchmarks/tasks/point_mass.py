"""Point mass: a mass in a square room must come to its centre; the symmetries of the square (D4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_benchmarks.tasks.base import (
    FLIP_X,
    QUARTER_TURN,
    Array,
    Breaks,
    Generator,
    Start,
    States,
    Task,
    at_rest,
    blocks,
)
from control_benchmarks.tasks.rewards import tolerance

_TARGET = 0.015


def initial(random: np.random.RandomState, model: Any) -> Start:
    """Draw a place in the room uniformly."""
    low, high = model.jnt_range[:, 0], model.jnt_range[:, 1]
    return at_rest(np.array([random.uniform(low[joint], high[joint]) for joint in range(model.njnt)]))


def observe(states: States) -> Array:
    """Return x, y, velocity 2."""
    return np.concatenate([states.position, states.velocity], axis=1)


def reward(states: States, control: Array) -> Array:
    """Return how near the centre is and how small the control."""
    near = tolerance(np.hypot(states.position[:, 0], states.position[:, 1]), high=_TARGET, margin=_TARGET)
    small = tolerance(control, margin=1, value_at_margin=0, sigmoid="quadratic").mean(axis=1)
    result: Array = near * (small + 4) / 5
    return result


def _planar(matrix: Array) -> Generator:
    return Generator(blocks(matrix, matrix), matrix, matrix, image=matrix)


TASKS = (
    Task(
        name="point_mass_easy",
        turns=4,
        generators={"f": _planar(FLIP_X), "r": _planar(QUARTER_TURN)},
        initial=initial,
        observe=observe,
        reward=reward,
        # No symmetry of the square keeps a half-plane whose edge is no axis or diagonal.
        breaks=Breaks(direction=(1, 0.5, 0, 0), scale=0.29, tilt=0.8, downhill=(0.8, 0.6)),
    ),
)
