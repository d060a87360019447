"""Batches of environments, stepped in this process or in worker processes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from control_benchmarks.envs.physics import SAVED, Arrays, Copies, Simulation, copies_of
from control_benchmarks.envs.pixels import frame_shape
from control_benchmarks.envs.process_worker import DONE, QUIT, RESET, STEP, attach, describe, layout_bytes
from control_benchmarks.envs.random_shift import random_shift
from control_benchmarks.envs.symmetry import image_symmetry, state_symmetry
from control_benchmarks.envs.variants import Variant, load_variant
from control_benchmarks.errors import ControlError
from control_benchmarks.tasks.base import Task
from control_benchmarks.tasks.registry import load_task
from equitrade.processes import module_command
from rl_core.env import Step
from rl_core.random import Noise


class WorkerPool:
    """Worker processes that step copies in memory shared with this one.

    Parameters
    ----------
    copies
        The copies, spread evenly.
    workers
        Number of processes.

    Raises
    ------
    ControlError
        If a worker cannot start, with its reason.
    """

    def __init__(self, copies: Copies, workers: int) -> None:
        layout = copies.layout()
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        handle, path = tempfile.mkstemp(prefix="equitrade-", dir=memory)
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            os.posix_fallocate(handle, 0, layout_bytes(layout))
            self.arrays: Arrays = attach(path, layout)
            bounds = [len(copies) * worker // workers for worker in range(workers + 1)]
            for start, stop in itertools.pairwise(bounds):
                if start < stop:
                    self._processes.append(_start(copies, path, start, stop))
            self._wait()
        except BaseException:
            self.close()
            raise
        finally:
            os.close(handle)
            Path(path).unlink()  # the memory is freed when the last process unmaps it

    def reset(self) -> None:
        """Start a new episode in every copy."""
        self._order(RESET)

    def step(self) -> None:
        """Apply ``arrays["action"]`` for one decision."""
        self._order(STEP)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            if process.poll() is None and process.stdin is not None:
                try:
                    process.stdin.write(QUIT)
                    process.stdin.close()
                except BrokenPipeError:
                    pass
        for process in self._processes:
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes = []

    def _order(self, command: bytes) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write(command)
        self._wait()

    def _wait(self) -> None:
        for process in self._processes:
            assert process.stdout is not None
            answer = process.stdout.read(1)
            if answer != DONE:
                reason = process.stdout.readline().decode().strip() if answer else "it ended"
                raise ControlError(f"an environment worker failed: {reason}")


def _start(copies: Copies, path: str, start: int, stop: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        module_command("control_benchmarks.envs.process_worker"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdin is not None
    order = {**describe(copies), "path": path, "start": start, "stop": stop}
    process.stdin.write(json.dumps(order).encode() + b"\n")
    return process


class ControlEnv:
    """S × n_envs environments of one task, with the interface `rl_core.BatchedEnv`.

    Episodes are truncated after 1,000 frames; the next one starts at once.

    Parameters
    ----------
    task
        The task or its name.
    seeds
        The S seeds. Seeds may recur with different variants.
    variants
        One variant (or its name) for all seeds, or one a seed: tasks of equal shape then train in one batch.
    n_envs
        Environments a seed.
    environments
        Numbers of a seed's environments [n_envs], 0, 1, ... by default; equal numbers have equal episodes.
    action_repeat
        Frames that a decision lasts.
    workers
        Processes that step the environments; 0 steps them here. Trajectories are the same either way.
    threads
        Threads that step the physics when there are no workers.
    pixels
        True to observe three stacked frames, uint8 [9, 85, 85], instead of states.
    stream
        Name that keeps the starts of episodes apart from those of other environments with the same seeds.
    device
        Device of the tensors given and taken.

    Attributes
    ----------
    symmetry
        Action of the task's group on the output of `encode` and on actions; variants break it.

    Raises
    ------
    ControlError
        If a name is unknown, or images cannot be rendered.
    """

    def __init__(
        self,
        task: Task | str,
        seeds: Sequence[int],
        *,
        variants: Variant | str | Sequence[Variant | str] = "original",
        n_envs: int = 1,
        environments: Sequence[int] | None = None,
        action_repeat: int = 2,
        workers: int = 0,
        threads: int = 1,
        pixels: bool = False,
        stream: str = "train",
        device: torch.device | str = "cpu",
    ) -> None:
        self.task = load_task(task) if isinstance(task, str) else task
        given = [variants] * len(seeds) if isinstance(variants, (str, Variant)) else list(variants)
        if len(given) != len(seeds):
            raise ControlError(
                f"{len(given)} variants for {len(seeds)} seeds; pass one variant, or one for each seed"
            )
        self.variants = tuple(load_variant(self.task, v) if isinstance(v, str) else v for v in given)
        self.seeds = tuple(int(seed) for seed in seeds)
        self.n_envs, self.device, self.pixels = n_envs, torch.device(device), pixels
        self.symmetry = image_symmetry(self.task) if pixels else state_symmetry(self.task)
        self.observation_shape = frame_shape() if pixels else (self.task.observation_size,)
        self.action_size = self.task.action_size
        copies = copies_of(
            self.task,
            self.variants,
            self.seeds,
            environments=range(n_envs) if environments is None else environments,
            action_repeat=action_repeat,
            stream=stream,
            pixels=pixels,
        )
        self._steppers: WorkerPool | Simulation
        if workers:
            self._steppers = WorkerPool(copies, workers)
        else:
            self._steppers = Simulation(copies, copies.arrays(), threads=threads)
        self._noise = Noise(self.seeds, self.device)
        self._never = torch.zeros((len(seeds), n_envs), dtype=torch.bool, device=self.device)

    def reset(self) -> Tensor:
        """Start new episodes everywhere; observations [S, n_envs, *observation_shape]."""
        self._steppers.reset()
        return self._tensor("observation")

    def restart(self) -> Tensor:
        """Start the first episode again everywhere, as after construction; see `reset`."""
        self._steppers.arrays["episode"][:] = 0
        return self.reset()

    def step(self, action: Tensor) -> Step:
        """Take one decision with actions [S, n_envs, A] in [-1, 1]."""
        arrays = self._steppers.arrays
        flat = action.detach().reshape(-1, self.action_size)
        torch.from_numpy(arrays["action"]).copy_(flat)
        self._steppers.step()
        observation = self._tensor("observation")
        truncated = self._tensor("truncated")
        final = self._tensor("final_observation") if arrays["truncated"].any() else observation
        return Step(observation, self._tensor("reward"), self._never, truncated, final)

    def encode(self, observation: Tensor) -> Tensor:
        """Turn observations [S, B, *observation_shape] into network input; pictures into [-0.5, 0.5]."""
        return observation.float() / 255 - 0.5 if self.pixels else observation

    def encode_sampled(self, observation: Tensor, draw: int) -> Tensor:
        """Turn sampled observations into network input; pictures are shifted at random, anew for each draw."""
        if self.pixels:
            shifts = self._noise.uniform("shift", draw, (observation.shape[1], 2))
            observation = random_shift(observation, shifts)
        return self.encode(observation)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the complete state of the environments."""
        arrays = self._steppers.arrays
        return {name: torch.from_numpy(arrays[name].copy()) for name in SAVED}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`.

        Raises
        ------
        ControlError
            If it comes from other environments.
        """
        arrays = self._steppers.arrays
        for name in SAVED:
            if name not in state or tuple(state[name].shape) != arrays[name].shape:
                raise ControlError(
                    f"saved environments do not fit: '{name}' must have shape {arrays[name].shape}"
                )
            arrays[name][:] = state[name].cpu().numpy()

    def close(self) -> None:
        """Stop processes and threads and close renderers."""
        self._steppers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tensor(self, name: str) -> Tensor:
        array = self._steppers.arrays[name]
        tensor = torch.from_numpy(array).view(len(self.seeds), self.n_envs, *array.shape[1:])
        return tensor.to(self.device, copy=True)
