"""Reacher: a two-link arm on a table; reflection and half turn (D2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from control_benchmarks.tasks.base import (
    FLIP_Y,
    HALF_TURN,
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

_LINK = 0.12
_FINGER = 0.01
_BIG_TARGET = 0.05
_SMALL_TARGET = 0.015


def initial(random: np.random.RandomState, model: Any) -> Start:
    """Draw the joints and the place of the target."""
    shoulder = random.uniform(-np.pi, np.pi)
    wrist = random.uniform(*model.jnt_range[1])
    angle = random.uniform(0, 2 * np.pi)
    radius = random.uniform(0.05, 0.20)
    target = radius * np.array([np.sin(angle), np.cos(angle)])
    return at_rest(np.array([shoulder, wrist]), target)


def finger_to_target(states: States) -> Array:
    """Return the vector [K, 2] from finger to target."""
    angles = np.cumsum(states.position, axis=1)
    finger = _LINK * np.stack([np.cos(angles).sum(axis=1), np.sin(angles).sum(axis=1)], axis=1)
    return states.target - finger


def observe(states: States) -> Array:
    """Return cos and sin of the shoulder, wrist, to_target x and y, velocity 2.

    DeepMind Control observes the shoulder's angle itself; a half turn adds pi to it, which is not linear.
    """
    shoulder, wrist = states.position[:, :1], states.position[:, 1:]
    return np.concatenate(
        [np.cos(shoulder), np.sin(shoulder), wrist, finger_to_target(states), states.velocity], axis=1
    )


def _reward(size: float) -> Callable[[States, Array], Array]:
    def reward(states: States, control: Array) -> Array:
        """Return 1 while the finger touches the target."""
        vector = finger_to_target(states)
        return tolerance(np.hypot(vector[:, 0], vector[:, 1]), high=size + _FINGER)

    return reward


REFLECTION = Generator(  # y to -y
    observation=signs("+ - - + - - -"),
    action=signs("- -"),
    position=signs("- -"),
    target=signs("+ -"),
    image=FLIP_Y,
)
ROTATION = Generator(
    observation=signs("- - + - - + +"),
    action=signs("+ +"),
    position=signs("+ +"),
    offset=np.array([np.pi, 0.0]),
    target=signs("- -"),
    image=HALF_TURN,
)

EASY = Task(
    name="reacher_easy",
    turns=2,
    generators={"f": REFLECTION, "r": ROTATION},
    initial=initial,
    observe=observe,
    reward=_reward(_BIG_TARGET),
    # Neither generator nor their product keeps a half-plane whose edge is no axis.
    breaks=Breaks(direction=(0, 0, 0, 1, 0.5, 0, 0), scale=0.25, tilt=10.0, downhill=(0.8, 0.6)),
    size=(("target", _BIG_TARGET),),
)

TASKS = (
    EASY,
    replace(EASY, name="reacher_hard", reward=_reward(_SMALL_TARGET), size=(("target", _SMALL_TARGET),)),
)
