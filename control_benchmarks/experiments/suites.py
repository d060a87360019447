"""Suites: tables of task, variant, agent and seeds, in the order in which they decide the claims.

A job trains one agent on one task and all its variants at once: the variants' seeds lie side by side in one
batch of learners, so that a job of four variants and ten seeds is forty learners in step, and each cell of
the table gets the numbers that it would get alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from control_benchmarks.envs.variants import load_variant, variant_names
from control_benchmarks.errors import ControlError, unknown
from control_benchmarks.tasks.registry import load_task
from rl_core.agents import kind_names
from rl_core.config import SACConfig

_BREAKING = ("original", "repeat-action", "reflect-action", "gravity")


@dataclass(frozen=True)
class Settings:
    """Settings that all cells of a suite share.

    Attributes
    ----------
    seeds
        Number of seeds; they are 0, 1, ...
    width, depth, banks, batch_size, relaxed_lr_multiplier, matmul_dtype
        Of the learner, see `rl_core.SACConfig`.
    frames
        Frames of training, over all environments of a seed.
    action_repeat
        Frames of a decision. Published results use 1 (pytorch_sac) and 2 (SimBa, TD-MPC2).
    n_envs
        Environments a seed.
    preset
        Of the learner's settings that are not named here, see `rl_core.SACConfig.preset`.
    updates_per_decision
        Gradient updates for each decision of each environment.
    learning_starts
        Decisions at random before the first update.
    evaluations
        How often agents are evaluated during training, at even distances; the last is at the end.
    episodes
        Episodes of an evaluation.
    noise_levels
        Test-time noise at the end, as shares of each observation's standard deviation under random actions.
    noise_episodes
        Episodes at each level.
    pixels
        True to observe images.
    """

    seeds: int = 10
    width: int = 256
    depth: int = 2
    banks: int = 2
    batch_size: int = 256
    relaxed_lr_multiplier: float = 20.0
    matmul_dtype: str = "float32"
    frames: int = 100_000
    action_repeat: int = 2
    n_envs: int = 4
    learning_starts: int = 1000
    evaluations: int = 10
    episodes: int = 3
    noise_levels: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.4)
    noise_episodes: int = 3
    pixels: bool = False
    preset: str = "paper"
    updates_per_decision: int = 1

    def __post_init__(self) -> None:
        for name in (
            "seeds",
            "width",
            "n_envs",
            "evaluations",
            "episodes",
            "noise_episodes",
            "updates_per_decision",
        ):
            if getattr(self, name) < 1:
                raise ControlError(f"setting '{name}' must be at least 1, not {getattr(self, name)}")
        if self.frames < self.action_repeat * self.n_envs * self.evaluations:
            raise ControlError(
                f"setting 'frames' is too small for {self.evaluations} evaluations: {self.frames}"
            )

    @property
    def steps(self) -> int:
        """Steps of the environments in training: a whole number between evaluations."""
        between = self.frames // (self.action_repeat * self.n_envs * self.evaluations)
        return between * self.evaluations

    def as_dict(self) -> dict[str, Any]:
        """Return the settings for a file."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Settings:
        """Return settings with changes; None changes nothing.

        Raises
        ------
        ControlError
            If there is no such setting.
        """
        names = [item.name for item in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                raise unknown("setting", name, names)
        return dataclasses.replace(self, **{k: v for k, v in changes.items() if v is not None})


@dataclass(frozen=True)
class Job:
    """One agent on one task and several of its variants."""

    task: str
    variants: tuple[str, ...]
    agent: str
    settings: Settings = field(default_factory=Settings)

    @property
    def name(self) -> str:
        """A name for files and messages."""
        return f"{self.task}__{self.agent}"


@dataclass(frozen=True)
class Suite:
    """A named list of jobs, the ones that decide most first."""

    name: str
    about: str
    jobs: tuple[Job, ...]


CPU = Settings(seeds=5, width=64, batch_size=128, n_envs=1, episodes=4, preset="strong")
GPU = Settings(matmul_dtype="tf32", preset="strong")
SMOKE = Settings(
    seeds=2,
    width=16,
    batch_size=32,
    n_envs=1,
    frames=2000,
    action_repeat=10,
    learning_starts=50,
    evaluations=2,
    episodes=1,
    noise_episodes=1,
    preset="strong",
)
PIXELS = Settings(
    width=256, matmul_dtype="bfloat16", pixels=True, n_envs=1, seeds=3, episodes=3, evaluations=10
)
SIZES = {"cpu": CPU, "gpu": GPU}

_FIRST = ("cartpole_swingup", "reacher_easy", "ball_in_cup_catch")
_SECOND = ("pendulum_swingup", "reacher_hard", "acrobot_swingup")
_THIRD = ("point_mass_easy", "walker_walk", "cartpole_balance")
_AGENTS_FIRST = ("relaxed", "exact", "dense")
# These follow the gradient of rewards through a known market.
_TRADING_ONLY = ("direct",)
_EQUAL = "dense-equal-parameters"
_PUBLISHED_FRAMES = 100_000
# Frames after which agents still differ on a task, as a multiple of the suite's frames.
_SHARE = {"acrobot_swingup": 2.0, "pendulum_swingup": 1.0, "walker_walk": 1.0}


def _variants(task: str) -> tuple[str, ...]:
    """Return the variants of the paper's kinds; worn-joint for reachers and where gravity breaks nothing."""
    there = variant_names(load_task(task))
    chosen = [name for name in _BREAKING if name in there]
    if "gravity" not in chosen or task.startswith("reacher"):
        chosen.append("worn-joint")
    return tuple(chosen)


def _jobs(tasks: Sequence[str], agents: Sequence[str], settings: Settings) -> list[Job]:
    """Return jobs agent by agent within a task, so that a task's comparison is whole early."""
    found = []
    for task in tasks:
        own = settings.replace(frames=int(settings.frames * _SHARE.get(task, 1.0)))
        for agent in agents:
            if agent != _EQUAL or load_task(task).turns > 1:
                found.append(Job(task, _variants(task), agent, own))
    return found


def _states(settings: Settings) -> tuple[Job, ...]:
    every = agent_names()
    jobs = _jobs(_FIRST, _AGENTS_FIRST, settings) + _jobs(_FIRST, every[len(_AGENTS_FIRST) :], settings)
    return tuple(jobs + _jobs(_SECOND, every, settings) + _jobs(_THIRD, every, settings))


def _pixels(settings: Settings) -> tuple[Job, ...]:
    return tuple(
        Job(task, ("original", "reflect-action"), agent, settings)
        for task in ("cartpole_swingup", "ball_in_cup_catch")
        for agent in _AGENTS_FIRST
    )


def agent_names() -> tuple[str, ...]:
    """Return the agents that suites compare: every kind, and a dense one with the parameters of the relaxed one.

    Kinds for trading alone are left out.
    """
    others = (name for name in kind_names() if name not in (*_AGENTS_FIRST, *_TRADING_ONLY))
    return (*_AGENTS_FIRST, *others, _EQUAL)


def suite_names() -> tuple[str, ...]:
    """Return the names of the suites."""
    return ("smoke", "plain", "states", "pixels", "paper")


def load_suite(
    name: str,
    *,
    size: str = "cpu",
    tasks: Sequence[str] = (),
    agents: Sequence[str] = (),
    variants: Sequence[str] = (),
    **changes: Any,
) -> Suite:
    """Return a suite.

    Parameters
    ----------
    name
        ``"smoke"`` (a minute or two), ``"plain"``, ``"states"``, ``"pixels"`` or ``"paper"`` (all with 500,000
        frames).
    size
        ``"cpu"`` (width 64, five seeds) or ``"gpu"`` (width 256, ten seeds).
    tasks, agents, variants
        Keep only these; all by default.
    changes
        Settings to change, see `Settings`.

    Raises
    ------
    ControlError
        If a name is unknown or nothing is left.
    """
    if name not in suite_names():
        raise unknown("suite", name, suite_names())
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    for agent in agents:
        if agent not in agent_names():
            raise unknown("agent", agent, agent_names())
    for task in tasks:
        for variant in variants:
            load_variant(load_task(task), variant)
        load_task(task)
    about, jobs = _table(name, size, changes)
    jobs = _narrow(jobs, tasks, agents, variants)
    jobs = tuple(_preset(job, changes) for job in jobs)
    if not jobs:
        raise ControlError(f"suite '{name}' has no job of these tasks, agents and variants")
    return Suite(name, about, jobs)


def _table(name: str, size: str, changes: dict[str, Any]) -> tuple[str, tuple[Job, ...]]:
    if name == "smoke":
        settings = SMOKE.replace(**changes)
        agents = ("relaxed", "exact", "dense")
        jobs = [Job("cartpole_swingup", ("original", "gravity"), agent, settings) for agent in agents]
        jobs.append(Job("reacher_easy", ("original", "worn-joint"), "relaxed", settings))
        return "a few agents for a few thousand frames: does everything run?", tuple(jobs)
    if name == "pixels":
        return "from pictures, on a GPU", _pixels(PIXELS.replace(**changes))
    settings = SIZES[size].replace(**changes)
    if name == "plain":
        settings = settings.replace(frames=changes.get("frames") or _PUBLISHED_FRAMES)
        jobs = [Job(task, ("original",), "dense", settings) for task in _FIRST]
        return "plain SAC, for as many frames as published results have", tuple(jobs)
    if name == "states":
        return "originals and variants from states: what the claims need", _states(settings)
    longer = settings if changes.get("frames") else settings.replace(frames=500_000)
    return "everything, at full length", (*_states(longer), *_pixels(PIXELS.replace(**changes)))


def _preset(job: Job, changes: dict[str, Any]) -> Job:
    """Return a job with the values of its preset for the settings that suites have themselves."""
    found = SACConfig.preset(job.settings.preset, learner_kind(job.agent))
    own = {
        "updates_per_decision": found.updates_per_step,
        "relaxed_lr_multiplier": found.relaxed_lr_multiplier,
    }
    asked = {name: changes[name] for name in own if changes.get(name) is not None}
    return dataclasses.replace(job, settings=job.settings.replace(**{**own, **asked}))


def learner_kind(agent: str) -> str:
    """Return the kind of an agent of a suite, see `rl_core.SACConfig`."""
    return "dense" if agent == _EQUAL else agent


def _narrow(
    jobs: Sequence[Job], tasks: Sequence[str], agents: Sequence[str], variants: Sequence[str]
) -> tuple[Job, ...]:
    kept: list[Job] = []
    for job in jobs:
        if (tasks and job.task not in tasks) or (agents and job.agent not in agents):
            continue
        chosen = job.variants
        if variants:
            there = variant_names(load_task(job.task))
            chosen = tuple(name for name in variants if name.partition(":")[0] in there)
        if chosen:
            kept.append(dataclasses.replace(job, variants=chosen))
    return tuple(kept)
