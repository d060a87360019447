"""Simulation of many copies of a task at a time.

A copy's future depends only on its row of the arrays below and on its actions: the physics restarts its
solver cold at every decision, and an episode's start is a function of (seed, stream, environment, episode).
So trajectories are the same however the copies are spread over threads and processes, and saving the arrays
saves everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from control_benchmarks.envs.pixels import Camera, frame_shape
from control_benchmarks.envs.variants import ActionMap, Variant, gravity_vector
from control_benchmarks.errors import ControlError
from control_benchmarks.tasks.base import FRAMES, Array, States, Task
from control_benchmarks.tasks.mujoco_models import import_mujoco, load_model

Arrays = dict[str, NDArray[Any]]
SAVED = ("physics", "target", "frame", "episode", "previous", "observation")


@dataclass(frozen=True)
class Copies:
    """Copies of a task: variant, seed and environment number of each [K].

    Attributes
    ----------
    stream
        Name that keeps starts of episodes apart from other uses of a seed, such as training and evaluation.
    action_repeat
        Control steps that a decision lasts.
    pixels
        True if observations are stacked frames instead of states.
    """

    task: Task
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    environments: tuple[int, ...]
    action_repeat: int
    stream: str
    pixels: bool = False

    def __post_init__(self) -> None:
        if self.action_repeat < 1 or FRAMES % self.action_repeat:
            raise ControlError(
                f"action repeat {self.action_repeat} must divide the {FRAMES} frames of an episode"
            )

    def __len__(self) -> int:
        return len(self.seeds)

    def take(self, start: int, stop: int) -> Copies:
        """Return the copies from `start` up to `stop`."""
        rows = slice(start, stop)
        return replace(
            self, variants=self.variants[rows], seeds=self.seeds[rows], environments=self.environments[rows]
        )

    def layout(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Return the shape and dtype of every array of a `Simulation`."""
        task, k = self.task, len(self)
        model = load_model(task.model)
        mujoco = import_mujoco()
        physics = mujoco.mj_stateSize(model, int(mujoco.mjtState.mjSTATE_FULLPHYSICS))
        if physics != 1 + model.nq + model.nv:
            raise ControlError(f"{task.name}: its physics has state beyond positions and velocities")
        observation = frame_shape() if self.pixels else (task.observation_size,)
        kind = "uint8" if self.pixels else "float32"
        return {
            "physics": ((k, physics), "float64"),
            "target": ((k, task.target_size), "float64"),
            "frame": ((k,), "int64"),
            "episode": ((k,), "int64"),
            "previous": ((k, task.action_size), "float64"),
            "observation": ((k, *observation), kind),
            "final_observation": ((k, *observation), kind),
            "action": ((k, task.action_size), "float32"),
            "reward": ((k,), "float32"),
            "truncated": ((k,), "bool"),
        }

    def arrays(self) -> Arrays:
        """Return arrays for a `Simulation`, filled with zeros."""
        return {name: np.zeros(shape, dtype) for name, (shape, dtype) in self.layout().items()}


class Simulation:
    """Steps copies of a task, reading actions from and writing results to given arrays.

    Parameters
    ----------
    copies
        The K copies.
    arrays
        Arrays of `Copies.layout`, possibly views of memory that processes share.
    threads
        Threads that step the physics.
    """

    def __init__(self, copies: Copies, arrays: Arrays, *, threads: int = 1) -> None:
        from mujoco.rollout import Rollout

        mujoco = import_mujoco()
        task = copies.task
        self.copies, self.arrays, self.task = copies, arrays, task
        gravities = {variant: gravity_vector(task, variant) for variant in copies.variants}
        models = {gravity: load_model(task.model, gravity=gravity) for gravity in set(gravities.values())}
        self._models = [models[gravities[variant]] for variant in copies.variants]
        self._nq, self._nv = self._models[0].nq, self._models[0].nv
        threads = max(1, min(threads, len(copies)))
        self._data = [mujoco.MjData(self._models[0]) for _ in range(threads)]
        self._rollout = Rollout(nthread=threads if threads > 1 else 0)
        self._control_spec = int(mujoco.mjtState.mjSTATE_CTRL)
        self._map = ActionMap(task, copies.variants)
        steps = copies.action_repeat * task.substeps
        self._control = np.zeros((len(copies), steps, task.action_size))
        self._states = np.zeros((len(copies), steps, arrays["physics"].shape[1]))
        self._sensors = np.zeros((len(copies), steps, self._models[0].nsensordata))
        self._warmstart = np.zeros((len(copies), self._nv))
        self._stream = crc32(copies.stream.encode())
        self._camera = Camera(task) if copies.pixels else None

    def states(self) -> States:
        """Return the physics states [K] as they are."""
        return self._split(self.arrays["physics"])

    def reset(self) -> None:
        """Start a new episode in every copy."""
        self._restart(np.arange(len(self.copies)))
        self._observe()

    def step(self) -> None:
        """Apply ``arrays["action"]`` for one decision; restart the episodes that end."""
        arrays, repeat = self.arrays, self.copies.action_repeat
        # The actions of a diverged agent are NaN; they become 0, so that its return is finite.
        action = np.clip(np.nan_to_num(arrays["action"].astype(np.float64)), -1.0, 1.0)
        seen = self.task.observe(self.states()) if self._map.needs_observation else action
        command = self._map.command(action, arrays["previous"], seen)
        arrays["previous"][:] = action
        self._simulate(self._map.control(command))
        reward = np.zeros(len(self.copies))
        for control_step in range(1, repeat + 1):
            states = self._split(self._states[:, control_step * self.task.substeps - 1])
            reward += self.task.reward(states, command)
        arrays["physics"][:] = self._states[:, -1]
        arrays["reward"][:] = reward
        arrays["frame"] += repeat
        arrays["truncated"][:] = arrays["frame"] >= FRAMES
        self._observe()
        arrays["final_observation"][:] = arrays["observation"]
        ended = np.flatnonzero(arrays["truncated"])
        if len(ended):
            self._restart(ended)
            self._observe(ended)

    def close(self) -> None:
        """Stop the threads and close the renderer."""
        self._rollout.close()
        if self._camera is not None:
            self._camera.close()

    def _split(self, physics: Array) -> States:
        stop = 1 + self._nq
        return States(physics[:, 1:stop], physics[:, stop : stop + self._nv], self.arrays["target"])

    def _simulate(self, control: Array) -> None:
        self._control[:] = control[:, None]
        self._rollout.rollout(
            self._models,
            self._data,
            np.ascontiguousarray(self.arrays["physics"]),
            self._control,
            control_spec=self._control_spec,
            skip_checks=True,
            nstep=self._control.shape[1],
            initial_warmstart=self._warmstart,
            state=self._states,
            sensordata=self._sensors,
        )

    def _restart(self, rows: NDArray[np.int64]) -> None:
        arrays = self.arrays
        for row in rows:
            seed, environment = self.copies.seeds[row], self.copies.environments[row]
            entropy = (seed, self._stream, environment, int(arrays["episode"][row]))
            random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(entropy)))
            start = self.task.initial(random, self._models[row])
            arrays["physics"][row] = np.concatenate([[0.0], start.position, start.velocity])
            arrays["target"][row] = start.target
        arrays["episode"][rows] += 1
        arrays["frame"][rows] = 0
        arrays["previous"][rows] = 0.0

    def _observe(self, rows: NDArray[np.int64] | None = None) -> None:
        """Write observations; with pixels, `rows` are those whose stack starts anew."""
        states = self.states()
        if self._camera is None:
            self.arrays["observation"][:] = self.task.observe(states)
            return
        fresh = self.arrays["frame"] == 0
        chosen: Sequence[int] = range(len(self.copies)) if rows is None else [int(row) for row in rows]
        for row in chosen:
            frame = self._camera.render(states.position[row], states.target[row])
            stack = self.arrays["observation"][row]
            if fresh[row]:
                stack[:] = np.tile(frame, (len(stack) // len(frame), 1, 1))
            else:
                stack[: -len(frame)] = stack[len(frame) :].copy()
                stack[-len(frame) :] = frame


def copies_of(
    task: Task,
    variants: Sequence[Variant],
    seeds: Sequence[int],
    *,
    environments: Sequence[int],
    action_repeat: int,
    stream: str,
    pixels: bool = False,
) -> Copies:
    """Return S × n_envs copies, the environments of each seed in a row; seed k has ``variants[k]``."""
    n_envs = len(environments)
    return Copies(
        task,
        tuple(variant for variant in variants for _ in range(n_envs)),
        tuple(int(seed) for seed in seeds for _ in range(n_envs)),
        tuple(environments) * len(seeds),
        action_repeat,
        stream,
        pixels,
    )
