"""Planar walker: two equal legs, which the group of order two exchanges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from control_benchmarks.tasks.base import (
    Array,
    Breaks,
    Generator,
    Start,
    States,
    Task,
    at_rest,
    blocks,
    permutation,
)
from control_benchmarks.tasks.mujoco_models import load_model
from control_benchmarks.tasks.rewards import tolerance

_STAND_HEIGHT = 1.2
_SPEED = 1.0
_TORSO_HEIGHT = 1.3
# Rotation of torso, right thigh, leg, foot, left thigh, leg, foot about the y axis as sums of joint angles:
# the legs' hinges turn about -y.
_ANGLES = np.array(
    [
        [0, 0, 1, 0, 0, 0, 0, 0, 0],
        [0, 0, 1, -1, 0, 0, 0, 0, 0],
        [0, 0, 1, -1, -1, 0, 0, 0, 0],
        [0, 0, 1, -1, -1, -1, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, -1, 0, 0],
        [0, 0, 1, 0, 0, 0, -1, -1, 0],
        [0, 0, 1, 0, 0, 0, -1, -1, -1],
    ],
    dtype=np.float64,
)


@dataclass(frozen=True)
class Links:
    """Share of the mass that moves with each body's rotation.

    The centre of mass is ``root + sum_b R(angle_b) lever_b``: each joint's offset belongs to the rotation of
    the body that carries it, weighted by the mass beyond it.
    """

    lever: Array  # [7, 2] metres (x, z)


@lru_cache(maxsize=1)
def _links() -> Links:
    model = load_model("walker")
    bodies, mass = range(1, model.nbody), model.body_mass / model.body_mass.sum()
    lever = np.zeros((model.nbody, 2))
    beyond = mass.copy()
    for body in reversed(bodies):
        parent = model.body_parentid[body]
        if parent > 0:
            beyond[parent] += beyond[body]
    for body in bodies:
        lever[body] += mass[body] * model.body_ipos[body, [0, 2]]
        parent = model.body_parentid[body]
        if parent > 0:
            anchor = model.jnt_pos[model.body_jntadr[body], [0, 2]]
            lever[parent] += beyond[body] * (model.body_pos[body, [0, 2]] + anchor)
            lever[body] -= beyond[body] * anchor
    return Links(lever[1:])


def initial(random: np.random.RandomState, model: Any) -> Start:
    """Draw the hinges and let the walker fall to the floor."""
    position = np.zeros(model.nq)
    for joint in range(model.njnt):
        if model.jnt_limited[joint]:
            position[joint] = random.uniform(*model.jnt_range[joint])
        elif joint == 2:
            position[joint] = random.uniform(-np.pi, np.pi)
    return at_rest(position)


def observe(states: States) -> Array:
    """Return (cos, -sin) of each body's angle 14, height, velocity 9."""
    angles = states.position @ _ANGLES.T
    orientations = np.stack([np.cos(angles), np.sin(angles)], axis=2).reshape(len(angles), -1)
    return np.concatenate([orientations, _TORSO_HEIGHT + states.position[:, :1], states.velocity], axis=1)


def horizontal_velocity(states: States) -> Array:
    """Return the horizontal velocity [K] of the centre of mass in metres per second."""
    angles, rates = states.position @ _ANGLES.T, states.velocity @ _ANGLES.T
    lever = _links().lever
    # x of R(angle) lever is cos x + sin z.
    turning = rates * (np.cos(angles) * lever[:, 1] - np.sin(angles) * lever[:, 0])
    result: Array = states.velocity[:, 1] + turning.sum(axis=1)
    return result


def reward(states: States, control: Array) -> Array:
    """Return how upright and how fast the walker goes."""
    standing = tolerance(
        _TORSO_HEIGHT + states.position[:, 0], low=_STAND_HEIGHT, high=np.inf, margin=_STAND_HEIGHT / 2
    )
    stand = (3 * standing + (1 + np.cos(states.position[:, 2])) / 2) / 4
    moving = tolerance(
        horizontal_velocity(states),
        low=_SPEED,
        high=np.inf,
        margin=_SPEED / 2,
        value_at_margin=0.5,
        sigmoid="linear",
    )
    result: Array = stand * (5 * moving + 1) / 6
    return result


_JOINTS = permutation([0, 1, 2, 6, 7, 8, 3, 4, 5])
_BODIES = permutation([0, 1, 8, 9, 10, 11, 12, 13, 2, 3, 4, 5, 6, 7])
SWAP = Generator(
    observation=blocks(_BODIES, np.eye(1), _JOINTS),
    action=permutation([3, 4, 5, 0, 1, 2]),
    position=_JOINTS,
)

TASKS = (
    Task(
        name="walker_walk",
        turns=1,
        generators={"f": SWAP},
        initial=initial,
        observe=observe,
        reward=reward,
        # Right thigh before left thigh. A tilt within the plane treats both legs alike: no gravity variant.
        breaks=Breaks(direction=(0, 0, 0, 1, 0, 0, 0, 0, 0, -1) + (0,) * 14, scale=1.0, joint=1),
        camera="side",
        substeps=10,
    ),
)
