"""The training loop: any batched environment, all seeds at once, resumable bit for bit.

A step is one vectorised step of the environments (n_envs transitions of each seed) and
`SACConfig.updates_per_step` gradient updates. With `SACConfig.transitions` = made, a step has the updates alone, on
transitions that the environment computes; those of a direct agent follow gradients through the environment. With a
directory, training writes ``progress.jsonl`` (a line a logging step and seed), TensorBoard events and checkpoints;
killed at any moment, it resumes from the newest checkpoint to what it would have been.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rl_core.checkpoint import exclusive, forget_rows, latest_checkpoint, load_training, save_training
from rl_core.config import SACConfig
from rl_core.divergence import FrozenSeeds
from rl_core.env import ActionRepeat, BatchedEnv, check_encoding, check_reset, check_step, nonfinite_source
from rl_core.errors import ConfigError
from rl_core.evaluation import Evaluator
from rl_core.experience.replay import Batch, Replay
from rl_core.experience.rollouts import RollsOut
from rl_core.experience.transitions import MakesTransitions, fit_rewards
from rl_core.random import Noise
from rl_core.relaxation import check_relaxed, needs_halves
from rl_core.sac import SAC
from rl_core.training_log import EpisodeReturns, TrainingLog

__all__ = ["Progress", "TrainResult", "train"]

logger = logging.getLogger(__name__)

Evaluation = Mapping[str, Tensor]


@dataclass(frozen=True)
class Progress:
    """Progress of a training, for a progress bar.

    Attributes
    ----------
    step, steps
        Steps taken, and to take.
    updates
        Gradient updates taken.
    seconds
        Since this call began.
    metrics
        Of the latest update, a list over seeds each; empty before the first.
    evaluation
        The latest evaluation, a list over seeds each; None before the first.
    """

    step: int
    steps: int
    updates: int
    seconds: float
    metrics: Mapping[str, list[float]]
    evaluation: Mapping[str, list[float]] | None


@dataclass
class TrainResult:
    """Result of a training.

    Attributes
    ----------
    agent
        The agent after the last step.
    history
        The lines of ``progress.jsonl``: ``step``, ``seed``, ``updates`` and numbers; ``episode_return`` is the mean sum
        of rewards of the episodes that finished since the line before, where there are any. Once a seed has diverged,
        ``diverged`` is 1 for it and 0 for the others.
    stopped
        Why training ended early, None where it did not.
    diverged
        For each seed whether it diverged. Such a seed keeps its last good parameters in ``agent``; the others trained
        on unaffected.
    """

    agent: SAC
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None
    diverged: tuple[bool, ...] = ()


def train(
    env: BatchedEnv,
    config: SACConfig,
    *,
    seeds: Sequence[int],
    steps: int,
    directory: Path | None = None,
    evaluate: Callable[[SAC, int], Evaluation] | None = None,
    evaluate_every: int = 1000,
    log_every: int = 100,
    checkpoint_every: int = 10_000,
    action_repeat: int = 1,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainResult:
    """Train SAC in an environment.

    A seed diverges when a loss, a value or a parameter of it is not finite or beyond `SACConfig.divergence_limit`,
    checked when logging and before a checkpoint. It returns to its parameters at the check before and learns no more;
    the others go on. Training stops when all have diverged, or when the environment returns numbers that are not
    finite.

    Parameters
    ----------
    env
        Made with the same seeds.
    config
        Settings of the agent.
    seeds
        The S seeds.
    steps
        Steps of the environments in all, those before a resume included.
    directory
        Where to write; nothing is written without one.
    evaluate
        Returns numbers ``[S]`` by name for an agent at a step; called every ``evaluate_every`` steps and at the end.
        An `Evaluator` repeats actions as training does; another callable must do so itself.
    evaluate_every, log_every, checkpoint_every
        In steps. Metrics are read from the device when logged only.
    action_repeat
        Steps of ``env`` that each action is taken for; all counts of steps are then counts of decisions. See
        `rl_core.ActionRepeat`.
    resume
        Go on from the newest checkpoint in ``directory``, or from the start where there is none.
    on_progress
        Called at each logging step.

    Raises
    ------
    ConfigError
        For seeds other than the environment's, a checkpoint of other settings or another symmetry, settings that never
        learn or relax nothing, an environment that does not fit its declarations (the message names the part), or a
        directory in which another process is training.
    """
    if tuple(seeds) != tuple(env.seeds):
        raise ConfigError(f"seeds: the environment was made with {list(env.seeds)}, not {list(seeds)}")
    if steps < 1 or min(evaluate_every, log_every, checkpoint_every) < 1:
        raise ConfigError("steps, evaluate_every, log_every and checkpoint_every must be at least 1")
    if action_repeat != 1:
        env = ActionRepeat(env, action_repeat)
        if isinstance(evaluate, Evaluator):
            evaluate = replace(evaluate, action_repeat=action_repeat)
    if directory is not None and not resume and (directory / "checkpoints").exists():
        raise ConfigError(f"{directory}: a training already exists; resume it or choose another directory")
    alone = nullcontext() if directory is None else exclusive(directory)
    with _determinism(config.deterministic), alone, TrainingLog(directory, resume) as log:
        loop = _Loop(env, config, tuple(seeds), log)
        if resume and directory is not None:
            loop.restore(directory)
        schedule = _Schedule(steps, evaluate_every, log_every, checkpoint_every)
        return loop.run(schedule, directory, evaluate, on_progress)


@dataclass(frozen=True)
class _Schedule:
    steps: int
    evaluate: int
    log: int
    checkpoint: int

    def due(self, every: int, step: int) -> bool:
        return step % every == 0 or step == self.steps


class _Loop:
    """State of one training."""

    def __init__(self, env: BatchedEnv, config: SACConfig, seeds: tuple[int, ...], log: TrainingLog) -> None:
        self.env, self.config, self.log = env, config, log
        self.agent = SAC(env.symmetry, config, seeds)
        self.noise = Noise(seeds, env.device)
        self.observation = env.reset()
        check_reset(env, self.observation)
        check_encoding(env, config, self.observation)
        check_relaxed(self.agent)
        self.replay = Replay(
            self.observation,
            env.action_size,
            capacity=config.capacity,
            gamma=config.gamma,
            n_step=config.n_step,
            halves=needs_halves(config),
        )
        self.paths = _paths(env, self.agent)
        self.source = None if self.paths is not None else _transitions(env, config)
        kept = self.replay.capacity * env.n_envs
        if self.paths is None and self.source is None and kept < config.learning_starts:
            raise ConfigError(
                f"capacity is {config.capacity}, below learning_starts = {config.learning_starts}: the replay would "
                "never hold enough transitions to learn; raise capacity or lower learning_starts"
            )
        self.episodes = EpisodeReturns(len(seeds), env.n_envs, env.device)
        self.checked = False
        # Of a seed not finite once anything of its environments was not: read when logging only, since that waits for
        # the device.
        self.probe = torch.zeros(len(seeds), device=env.device)
        self.frozen = FrozenSeeds(self.agent)
        self.step = 0
        self.result = TrainResult(self.agent, log.lines, diverged=self.frozen.mask)
        self.evaluation: dict[str, list[float]] | None = None

    def restore(self, directory: Path) -> None:
        """Go back to the newest checkpoint, or to the start where there is none."""
        folder = latest_checkpoint(directory)
        if folder is None:
            forget_rows(directory, 0)
            self.log.cut(0)
            return
        document = load_training(folder, self.agent, self.env, self.replay)
        forget_rows(directory, self.replay.steps)
        self.step = int(document["step"])
        self.evaluation = document["evaluation"]
        self.episodes.load(document.get("episodes"))
        self.frozen.remember()
        self.freeze(document.get("diverged", ()))
        self.observation = self.replay.observation[:, self.replay.steps % self.replay.rows].clone()
        self.log.cut(self.step)

    def run(
        self,
        schedule: _Schedule,
        directory: Path | None,
        evaluate: Callable[[SAC, int], Evaluation] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> TrainResult:
        started = time.perf_counter()
        while self.step < schedule.steps:
            self.advance()
            self.frozen.hold()
            self.step += 1
            evaluated = evaluate is not None and schedule.due(schedule.evaluate, self.step)
            logged = evaluated or schedule.due(schedule.log, self.step)
            saved = directory is not None and schedule.due(schedule.checkpoint, self.step)
            if logged or saved:
                read = {name: _list(value) for name, value in self.agent.metrics().items()}
                self.result.stopped = self.check(read)
            if evaluated and evaluate is not None:
                self.evaluation = {
                    name: _list(value) for name, value in evaluate(self.agent, self.step).items()
                }
            if logged:
                self.write(read, self.evaluation if evaluated else None)
                if on_progress is not None:
                    seconds = time.perf_counter() - started
                    on_progress(
                        Progress(
                            self.step, schedule.steps, self.agent.updates, seconds, read, self.evaluation
                        )
                    )
            if self.result.stopped:
                # The newest checkpoint stays the one before the fault.
                logger.warning("training stopped at step %d: %s", self.step, self.result.stopped)
                return self.result
            if saved and directory is not None:
                self.log.flush()
                extra = {
                    "evaluation": self.evaluation,
                    "episodes": self.episodes.state(),
                    "diverged": self.frozen.diverged,
                }
                save_training(directory, self.step, self.agent, self.env, self.replay, extra)
        return self.result

    def advance(self) -> None:
        """Take one step of the environments and its updates."""
        c = self.config
        if self.paths is not None:
            for _ in range(c.updates_per_step):
                roll_out = partial(
                    self.paths.roll_out, draw=self.agent.updates, size=c.batch_size, steps=c.horizon
                )
                self.watch(self.agent.ascend(roll_out)[:, None])
            return
        if self.source is not None:
            for _ in range(c.updates_per_step):
                self.agent.update(self.made(self.source))
            return
        shape = (self.env.n_envs, self.env.action_size)
        exploring = len(self.replay) < c.learning_starts
        if not exploring or c.normalize_observations:
            encoded = self.env.encode(self.observation)
            self.agent.observe(encoded)
        if exploring:
            action = self.noise.uniform("explore", self.step, shape) * 2 - 1
        else:
            action = self.agent.act(encoded)
        outcome = self.env.step(action)
        if not self.checked:
            check_step(self.env, outcome)
            self.checked = True
        observation, reward, terminated, truncated, final = outcome
        self.replay.add(action, observation, reward, terminated, truncated, final)
        self.episodes.add(reward, terminated, truncated)
        self.watch(observation, reward, final)
        self.observation = observation
        if len(self.replay) < max(c.learning_starts, c.n_step * self.env.n_envs):
            return
        count, first = c.updates_per_step, self.agent.updates
        if count == 0:
            return
        drawn = [self.noise.integers("replay", first + k, (c.batch_size,)) for k in range(count)]
        batch = self.replay.sample(drawn[0] if count == 1 else torch.cat(drawn, dim=1))
        batch = batch._replace(
            observation=self.encode(batch.observation, 2 * first),
            next_observation=self.encode(batch.next_observation, 2 * first + 1),
        )
        self.agent.update(batch, count)

    def made(self, source: MakesTransitions) -> Batch:
        """Make the transitions of the next update."""
        config, agent = self.config, self.agent
        act = self.explore if config.exploration else agent.act
        batch = source.make_transitions(act, agent.updates, config.batch_size, discount=config.gamma)
        batch = fit_rewards(batch, rows=config.row_values)
        agent.observe(batch.observation)
        self.watch(batch.reward, batch.next_observation)
        return batch

    def explore(self, observation: Tensor) -> Tensor:
        """Return the policy's actions [S, B, A], or random ones for the share of them that explores."""
        action = self.agent.act(observation)
        draw, (size, width) = self.agent.updates, action.shape[1:]
        random = self.noise.uniform("explored action", draw, (size, width)) * 2 - 1
        explored = self.noise.uniform("explored share", draw, (size, 1)) < self.config.exploration
        return torch.where(explored, random.to(action.dtype), action)

    def watch(self, *parts: Tensor) -> None:
        """Spoil the probe of the seeds whose numbers of the environment are not finite."""
        for part in parts:
            if part.is_floating_point():
                self.probe = self.probe + 0.0 * part.flatten(1).sum(1)

    def encode(self, observation: Tensor, draw: int) -> Tensor:
        """Encode sampled observations; an environment may augment them by an `encode_sampled` of its own."""
        augmenting = getattr(self.env, "encode_sampled", None)
        encoded: Tensor = (
            self.env.encode(observation) if augmenting is None else augmenting(observation, draw)
        )
        return encoded

    def check(self, metrics: Mapping[str, list[float]]) -> str | None:
        """Freeze seeds that have diverged; return why training must stop, None where it goes on."""
        seeds, frozen = self.agent.seeds, self.frozen
        faults = frozen.faults(metrics, self.config.divergence_limit)
        alive = [k for k in range(len(seeds)) if k not in frozen.diverged]
        spoiled = not bool(torch.isfinite(self.probe[alive]).all())
        source = nonfinite_source(self.env, self.replay, alive) if faults or spoiled else None
        if source is not None:
            return source
        if spoiled and (self.source is not None or self.paths is not None):
            return "environment: a made transition is not finite; correct the environment"
        self.freeze(faults)
        frozen.remember()
        if not faults:
            return None
        reason = f"{next(iter(faults.values()))}; lower the learning rate or scale the rewards"
        healthy = [str(seeds[k]) for k in alive if k not in faults]
        if not healthy:
            return reason if len(seeds) == 1 else f"all seeds diverged: {reason}"
        logger.warning(
            "seed %s diverged by step %d and stays at its last good parameters; healthy and unaffected: seed %s (%s)",
            ", ".join(str(seeds[k]) for k in faults),
            self.step,
            ", ".join(healthy),
            reason,
        )
        return None

    def freeze(self, places: Iterable[int]) -> None:
        """Freeze further seeds and report them in the result."""
        self.frozen.freeze(list(places))
        self.result.diverged = self.frozen.mask

    def write(self, metrics: Mapping[str, list[float]], evaluation: Mapping[str, list[float]] | None) -> None:
        """Log metrics, returns of finished episodes, diverged seeds and an evaluation."""
        lines = {**metrics, **self.episodes.take()}
        if any(self.result.diverged):
            lines["diverged"] = [float(seed) for seed in self.result.diverged]
        self.log.write(self.step, self.agent, lines, evaluation)


def _paths(env: BatchedEnv, agent: SAC) -> RollsOut | None:
    """Return the environment where the agent follows gradients through it.

    Raises
    ------
    ConfigError
        If that is not possible there.
    """
    if not agent.kind.direct:
        return None
    if not isinstance(env, RollsOut):
        raise ConfigError(
            f"agent {agent.kind.name!r} follows the gradient of rewards, but {type(env).__name__} has no roll_out; "
            "choose another agent"
        )
    return env


def _transitions(env: BatchedEnv, config: SACConfig) -> MakesTransitions | None:
    """Return the environment where its made transitions are asked for.

    Raises
    ------
    ConfigError
        If it cannot make any.
    """
    if config.transitions == "stored":
        return None
    if isinstance(env, ActionRepeat):
        raise ConfigError('action_repeat: made transitions take each action once; use transitions = "stored"')
    if not isinstance(env, MakesTransitions):
        raise ConfigError(
            f"transitions is 'made', but {type(env).__name__} has no make_transitions; use 'stored'"
        )
    return env


@contextmanager
def _determinism(wanted: bool) -> Iterator[None]:
    """Refuse operations whose result may vary, while training."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _list(value: Tensor) -> list[float]:
    return [float(x) for x in value.detach().double().cpu().flatten().tolist()]
