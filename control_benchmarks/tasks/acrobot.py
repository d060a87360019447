"""Acrobot: two links, a motor at the elbow; a left-right reflection (D1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from control_benchmarks.tasks.base import (
    FLIP_X,
    Array,
    Breaks,
    Generator,
    Start,
    States,
    Task,
    at_rest,
    signs,
)
from control_benchmarks.tasks.rewards import tolerance

_TARGET_RADIUS = 0.2


def initial(random: np.random.RandomState, model: Any) -> Start:
    """Draw both joints uniformly."""
    return at_rest(random.uniform(-np.pi, np.pi, 2))


def observe(states: States) -> Array:
    """Return horizontal 2, vertical 2, velocity 2."""
    angles = np.cumsum(states.position, axis=1)
    return np.concatenate([np.sin(angles), np.cos(angles), states.velocity], axis=1)


def reward(states: States, control: Array) -> Array:
    """Return the closeness of the tip to the point that it reaches when upright."""
    angles = np.cumsum(states.position, axis=1)
    tip_to_target = np.hypot(np.sin(angles).sum(axis=1), 2 - np.cos(angles).sum(axis=1))
    return tolerance(tip_to_target, high=_TARGET_RADIUS, margin=1)


REFLECTION = Generator(
    observation=signs("- - + + - -"),
    action=signs("-"),
    position=signs("- -"),
    image=FLIP_X,
)

TASKS = (
    Task(
        name="acrobot_swingup",
        turns=1,
        generators={"f": REFLECTION},
        initial=initial,
        observe=observe,
        reward=reward,
        breaks=Breaks(direction=(1, 0, 0, 0, 0, 0), scale=1.0, tilt=10.0),
    ),
)
