"""Cartpole: a pole on a cart on a rail; a left-right reflection (D1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from control_benchmarks.tasks.base import FLIP_X, Array, Breaks, Generator, Start, States, Task, signs
from control_benchmarks.tasks.rewards import tolerance


def hanging(random: np.random.RandomState, model: Any) -> Start:
    """Start with the pole down."""
    slider = 0.01 * random.randn()
    hinge = np.pi + 0.01 * random.randn()
    return Start(np.array([slider, hinge]), 0.01 * random.randn(2), np.zeros(0))


def upright(random: np.random.RandomState, model: Any) -> Start:
    """Start with the pole nearly up."""
    slider = random.uniform(-0.1, 0.1)
    hinge = random.uniform(-0.034, 0.034)
    return Start(np.array([slider, hinge]), 0.01 * random.randn(2), np.zeros(0))


def observe(states: States) -> Array:
    """Return x, cos, sin, velocity 2."""
    x, angle = states.position[:, :1], states.position[:, 1:]
    return np.concatenate([x, np.cos(angle), np.sin(angle), states.velocity], axis=1)


def reward(states: States, control: Array) -> Array:
    """Return how upright the pole, how central the cart, how small the control and how slow the pole are."""
    vertical = (np.cos(states.position[:, 1]) + 1) / 2
    centered = (1 + tolerance(states.position[:, 0], margin=2)) / 2
    small_control = (4 + tolerance(control[:, 0], margin=1, value_at_margin=0, sigmoid="quadratic")) / 5
    small_velocity = (1 + tolerance(states.velocity[:, 1], margin=5)) / 2
    return vertical * small_control * small_velocity * centered


REFLECTION = Generator(
    observation=signs("- + - - -"),
    action=signs("-"),
    position=signs("- -"),
    image=FLIP_X,
)

SWINGUP = Task(
    name="cartpole_swingup",
    turns=1,
    generators={"f": REFLECTION},
    initial=hanging,
    observe=observe,
    reward=reward,
    breaks=Breaks(direction=(0, 0, 1, 0, 0), scale=1.0, tilt=10.0),
)

TASKS = (SWINGUP, replace(SWINGUP, name="cartpole_balance", initial=upright))
