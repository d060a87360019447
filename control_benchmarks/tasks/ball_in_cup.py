"""Ball in cup: a cup that moves in a plane, a ball on a string; a left-right reflection (D1)."""

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
from control_benchmarks.tasks.mujoco_models import import_mujoco

_CUP_TO_BALL = np.array([0.0, 0.4 - 0.05])  # rest position of the target inside the cup less the ball's
_REACH = np.array([0.05, 0.05]) - 0.025  # half sizes of the target less the ball's radius


def initial(random: np.random.RandomState, model: Any) -> Start:
    """Draw a place of the ball at which it touches nothing."""
    mujoco = import_mujoco()
    data = mujoco.MjData(model)
    while True:
        data.qpos[2] = random.uniform(-0.2, 0.2)
        data.qpos[3] = random.uniform(0.2, 0.5)
        mujoco.mj_fwdPosition(model, data)
        if data.ncon == 0:
            return at_rest(data.qpos.copy())


def observe(states: States) -> Array:
    """Return cup x and z, ball x and z, and their velocities."""
    return np.concatenate([states.position, states.velocity], axis=1)


def reward(states: States, control: Array) -> Array:
    """Return 1 while the ball is in the cup."""
    ball_to_target = states.position[:, :2] + _CUP_TO_BALL - states.position[:, 2:]
    inside: Array = np.all(np.abs(ball_to_target) < _REACH, axis=1).astype(np.float64)
    return inside


REFLECTION = Generator(
    observation=signs("- + - + - + - +"),
    action=signs("- +"),
    position=signs("- + - +"),
    image=FLIP_X,
)

TASKS = (
    Task(
        name="ball_in_cup_catch",
        turns=1,
        generators={"f": REFLECTION},
        initial=initial,
        observe=observe,
        reward=reward,
        # Ball against cup, because the ball hangs on the cup's side of the picture wherever the cup goes.
        breaks=Breaks(direction=(-1, 0, 1, 0, 0, 0, 0, 0), scale=0.3, tilt=15.0),
        camera="cam0",
        substeps=10,
    ),
)
