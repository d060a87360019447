"""Pendulum: a weak motor must swing a mass up; a left-right reflection (D1)."""

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

_COSINE_BOUND = float(np.cos(np.deg2rad(8)))


def initial(random: np.random.RandomState, model: Any) -> Start:
    """Draw the angle uniformly."""
    return at_rest(np.array([random.uniform(-np.pi, np.pi)]))


def observe(states: States) -> Array:
    """Return cos, sin, velocity."""
    return np.concatenate([np.cos(states.position), np.sin(states.position), states.velocity], axis=1)


def reward(states: States, control: Array) -> Array:
    """Return 1 within 8 degrees of upright."""
    return tolerance(np.cos(states.position[:, 0]), low=_COSINE_BOUND, high=1.0)


REFLECTION = Generator(
    observation=signs("+ - -"),
    action=signs("-"),
    position=signs("-"),
    image=FLIP_X,
)

TASKS = (
    Task(
        name="pendulum_swingup",
        turns=1,
        generators={"f": REFLECTION},
        initial=initial,
        observe=observe,
        reward=reward,
        breaks=Breaks(direction=(0, 1, 0), scale=1.0, tilt=5.0),
    ),
)
