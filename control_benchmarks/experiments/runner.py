"""Runner of jobs: all seeds and variants of a job are trained in one batch."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from control_benchmarks.envs.process_pool import ControlEnv
from control_benchmarks.envs.symmetry import state_symmetry
from control_benchmarks.envs.symmetry_gaps import measure_gaps
from control_benchmarks.envs.variants import Variant, load_variant
from control_benchmarks.experiments.evaluator import Evaluation, Evaluator, relaxed_weight_lines
from control_benchmarks.experiments.results import (
    END,
    EVALUATION,
    NOISE,
    RELAXED_WEIGHTS,
    Writer,
    check_same,
    file_name,
    read_results,
)
from control_benchmarks.experiments.suites import Job, learner_kind
from control_benchmarks.tasks.base import Task
from control_benchmarks.tasks.registry import load_task
from equitrade.machine import describe_machine, package_versions
from rl_core.config import SACConfig
from rl_core.networks import Shape, matching_width
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry
from rl_core.training import TrainResult, train

Report = Callable[[str], None]


class OutOfTime(Exception):
    """Raised during training when the time limit is reached."""


@dataclass(frozen=True)
class RunOptions:
    """Options of running jobs: device, parallelism and time.

    Attributes
    ----------
    device
        Device of the learners.
    threads
        Threads that step the physics.
    workers
        Processes that step the environments instead; wanted for pixels, which they draw.
    deadline
        Time (`time.monotonic`) at which to stop.
    changes
        Settings of `rl_core.SACConfig` to change, of one agent alone under names such as ``relaxed:critic_lr``.
    checkpoint_every
        Evaluations between the checkpoints that a stopped job resumes from; 0 writes none.
    """

    device: str = "cpu"
    threads: int = 1
    workers: int = 0
    deadline: float = float("inf")
    changes: tuple[tuple[str, object], ...] = ()
    checkpoint_every: int = 1


def cell_paths(job: Job, directory: Path) -> dict[str, Path]:
    """Return the result file of each variant of a job."""
    return {variant: directory / file_name(job.task, variant, job.agent) for variant in job.variants}


def is_done(job: Job, directory: Path, changes: Sequence[tuple[str, object]] = ()) -> bool:
    """Return True if all cells of a job have ended.

    Raises
    ------
    ControlError
        If one holds results of other settings.
    """
    paths = cell_paths(job, directory)
    found = {variant: results for variant, path in paths.items() if (results := read_results(path))}
    if found:
        task = load_task(job.task)
        config = learner_config(job, state_symmetry(task), RunOptions(changes=tuple(changes)))
        for variant, results in found.items():
            wanted = identity(job, load_variant(task, variant), config)
            check_same(paths[variant], results.header, wanted)
    return len(found) == len(paths) and all(results.done for results in found.values())


@contextmanager
def claim(job: Job, directory: Path) -> Iterator[bool]:
    """Lock a job against other processes; yields False if another one has it. A dead process holds no lock."""
    folder = directory / ".claims"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f"{job.name}.lock", blocking=False):
            yield True
    except Timeout:
        yield False


def learner_config(job: Job, symmetry: Symmetry, options: RunOptions) -> SACConfig:
    """Return the learner's settings for a job: those of suite and preset, then those of `RunOptions.changes`."""
    settings = job.settings
    config = SACConfig.from_dict(
        {
            "preset": settings.preset,
            "agent": learner_kind(job.agent),
            "width": settings.width,
            "depth": settings.depth,
            "banks": settings.banks,
            "batch_size": settings.batch_size,
            "relaxed_lr_multiplier": settings.relaxed_lr_multiplier,
            "matmul_dtype": settings.matmul_dtype,
            "learning_starts": settings.learning_starts,
            "updates_per_step": settings.n_envs * settings.updates_per_decision,
            "capacity": settings.steps * settings.n_envs,
            "device": options.device,
            **_changes_of(job.agent, options.changes),
        }
    )
    if job.agent == "dense-equal-parameters":
        width = matching_width("dense", symmetry, Shape.of(config), reference="relaxed")
        config = config.replace(width=width)
    return config


def _changes_of(agent: str, changes: Sequence[tuple[str, object]]) -> dict[str, object]:
    """Return the changes of all agents, then those of one, whose names begin with ``agent:``."""
    found = {name: value for name, value in changes if ":" not in name}
    mark = f"{agent}:"
    own = {name.removeprefix(mark): value for name, value in changes if name.startswith(mark)}
    return {**found, **own}


class Recorder:
    """Writes the results of a job to the files of its cells.

    Parameters
    ----------
    job, directory
        Job and folder of its files.
    task
        The job's task.
    config
        The learner's settings, for the header.
    """

    def __init__(self, job: Job, directory: Path, task: Task, config: SACConfig) -> None:
        self.job = job
        seeds = range(job.settings.seeds)
        self._place = [(variant, seed) for variant in job.variants for seed in seeds]
        self._writers = {
            variant: Writer(path, _header(job, task, load_variant(task, variant), config))
            for variant, path in cell_paths(job, directory).items()
        }

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seed of each row."""
        return tuple(seed for _, seed in self._place)

    @property
    def variants(self) -> tuple[str, ...]:
        """Variant of each row."""
        return tuple(variant for variant, _ in self._place)

    def evaluation(self, frames: int, found: Evaluation) -> None:
        """Write an evaluation."""
        self._write([(row, {"kind": EVALUATION, **found.lines(row)}) for row in self._rows()], frames)

    def noise(self, frames: int, returns: Tensor) -> None:
        """Write returns [S, levels, episodes] under noise."""
        levels = self.job.settings.noise_levels
        self._write(
            [
                (row, {"kind": NOISE, "level": level, "returns": _rounded(returns[row, i])})
                for row in self._rows()
                for i, level in enumerate(levels)
            ],
            frames,
        )

    def relaxed_weights(self, frames: int, lines: Sequence[Mapping[str, object]]) -> None:
        """Write relaxed weights."""
        rows = [(int(str(line["row"])), {k: v for k, v in line.items() if k != "row"}) for line in lines]
        self._write([(row, {"kind": RELAXED_WEIGHTS, **line}) for row, line in rows], frames)

    def end(self, frames: int, seconds: float, result: TrainResult) -> None:
        """Write the end of the job: its seconds since the last resume, why it stopped early, and diverged seeds."""
        line = {"kind": END, "frames": frames, "seconds": round(seconds, 1), "stopped": result.stopped}
        for name, writer in self._writers.items():
            rows = zip(self._place, result.diverged, strict=True)
            diverged = [seed for (variant, seed), over in rows if over and variant == name]
            writer.write([{**line, "diverged": diverged}])

    def _rows(self) -> range:
        return range(len(self._place))

    def _write(self, rows: Sequence[tuple[int, Mapping[str, object]]], frames: int) -> None:
        for variant, writer in self._writers.items():
            mine = [(self._place[row], line) for row, line in rows if self._place[row][0] == variant]
            writer.write([{**line, "frames": frames, "seed": seed} for (_, seed), line in mine])


def run_job(job: Job, directory: Path, options: RunOptions, report: Report) -> bool:
    """Run a job to its end or to the deadline; whether it ended.

    Parameters
    ----------
    job
        What to run.
    directory
        Folder of the result files.
    options
        Where to run it.
    report
        Called with a line of text at each evaluation.
    """
    task, settings = load_task(job.task), job.settings
    config = learner_config(job, state_symmetry(task), options)
    recorder = Recorder(job, directory, task, config)
    variants = [load_variant(task, name) for name in recorder.variants]
    how: dict[str, Any] = {"threads": options.threads, "workers": options.workers, "device": options.device}
    env = ControlEnv(
        task,
        recorder.seeds,
        variants=variants,
        n_envs=settings.n_envs,
        action_repeat=settings.action_repeat,
        pixels=settings.pixels,
        **how,
    )
    started = time.monotonic()
    with env, Evaluator(task, recorder.seeds, variants, settings, **how) as evaluator:
        monitor = _Monitor(job, evaluator, recorder, options, report, started)
        try:
            result = _train(job, directory, env, config, options, monitor)
        except OutOfTime:
            return False
        frames = settings.steps * monitor.frames_a_step
        if result.stopped is None:
            recorder.noise(frames, evaluator.evaluate_noise(result.agent))
        recorder.end(frames, time.monotonic() - started, result)
    shutil.rmtree(_training_directory(job, directory), ignore_errors=True)
    return True


@dataclass
class _Monitor:
    """Callbacks of training: evaluation, result files, progress and the time limit."""

    job: Job
    evaluator: Evaluator
    recorder: Recorder
    options: RunOptions
    report: Report
    started: float

    @property
    def frames_a_step(self) -> int:
        return self.job.settings.n_envs * self.job.settings.action_repeat

    def evaluate(self, agent: SAC, step: int) -> Mapping[str, Tensor]:
        job, frames = self.job, step * self.frames_a_step
        found = self.evaluator.evaluate(agent)
        self.recorder.evaluation(frames, found)
        if agent.kind.relaxes:
            self.recorder.relaxed_weights(frames, relaxed_weight_lines(agent))
        mean = found.returns.mean(dim=1)
        means = mean.view(len(job.variants), -1).mean(dim=1).tolist()
        text = ", ".join(f"{name} {value:.0f}" for name, value in zip(job.variants, means, strict=True))
        self.report(f"{job.name} {frames:,} frames in {time.monotonic() - self.started:.0f} s: {text}")
        return {"return": mean}

    def progress(self, _: object) -> None:
        if time.monotonic() >= self.options.deadline:
            raise OutOfTime


def _train(
    job: Job, directory: Path, env: ControlEnv, config: SACConfig, options: RunOptions, monitor: _Monitor
) -> TrainResult:
    between = job.settings.steps // job.settings.evaluations
    return train(
        env,
        config,
        seeds=env.seeds,
        steps=job.settings.steps,
        directory=_training_directory(job, directory) if options.checkpoint_every else None,
        evaluate=monitor.evaluate,
        evaluate_every=between,
        log_every=max(1, between // 10),
        checkpoint_every=between * max(1, options.checkpoint_every),
        resume=bool(options.checkpoint_every),
        on_progress=monitor.progress,
    )


def _training_directory(job: Job, directory: Path) -> Path:
    return directory / ".training" / job.name


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


@lru_cache(maxsize=64)  # jobs of one task follow one another
def _gaps(task: str, variant: Variant, action_repeat: int) -> dict[str, object]:
    found = measure_gaps(load_task(task), variant, pairs=256, action_repeat=action_repeat)
    gaps: dict[str, object] = {
        name: {"mean": gap.estimate, "low": gap.low, "high": gap.high, "largest": largest}
        for name, gap, largest in (
            ("reward", found.gaps.reward, found.gaps.largest_reward),
            ("transition", found.gaps.transition, found.gaps.largest_transition),
        )
    }
    return {**gaps, "change": found.change}


def _header(job: Job, task: Task, variant: Variant, config: SACConfig) -> dict[str, object]:
    return {
        **identity(job, variant, config),
        "gaps": _gaps(task.name, variant, job.settings.action_repeat),
        "machine": {
            **describe_machine(),
            "device": _device_name(config.device),
            "python": platform.python_version(),
            **package_versions(("torch",)),
        },
    }


def identity(job: Job, variant: Variant, config: SACConfig) -> dict[str, object]:
    """Return the settings that must agree for a run to be resumed."""
    return {
        "task": job.task,
        "variant": variant.name,
        "agent": job.agent,
        "seeds": list(range(job.settings.seeds)),
        "settings": job.settings.as_dict(),
        "learner": config.to_dict(),
    }


def _device_name(device: str) -> str:
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(torch.device(device))
    return device
