"""Environments, S seeds × n stepped together: their interface, action repeat, and checks when training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Replay
from rl_core.symmetry import Symmetry

__all__ = [
    "ActionRepeat",
    "BatchedEnv",
    "Step",
    "check_encoding",
    "check_reset",
    "check_step",
    "nonfinite_source",
]

CHUNK = 4096
"""Steps of a replay that are searched at once."""


class Step(NamedTuple):
    """Outcome of a step. Every tensor begins ``[S, n_envs]``.

    Attributes
    ----------
    observation
        Compact observations to act on next, ``[S, n_envs, *observation_shape]``; after an episode's
        end, those of the next episode.
    reward
        float32.
    terminated
        bool: the episode reached an end of its own, beyond which there is nothing to earn.
    truncated
        bool: a time limit cut the episode, which would have gone on.
    final_observation
        The observation before the reset; equal to ``observation`` where the episode goes on.
    """

    observation: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    final_observation: Tensor


@runtime_checkable
class BatchedEnv(Protocol):
    """S × n_envs copies of one environment.

    Randomness comes from `rl_core.random.Noise`, so that seed k of a batch behaves as seed k alone,
    and the state consists of tensors, so that training resumes bit for bit.
    """

    @property
    def symmetry(self) -> Symmetry:
        """Action of the group on encoded observations and on actions."""
        ...

    @property
    def seeds(self) -> tuple[int, ...]:
        """The S seeds."""
        ...

    @property
    def n_envs(self) -> int:
        """Environments of each seed."""
        ...

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one compact observation, as the replay stores it."""
        ...

    @property
    def action_size(self) -> int:
        """Length of an action; each entry lies in [−1, 1]."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        ...

    def reset(self) -> Tensor:
        """Start new episodes everywhere; observations ``[S, n_envs, *observation_shape]``."""
        ...

    def step(self, action: Tensor, /) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Step with actions ``[S, n_envs, A]`` in [−1, 1]; a `Step`. Ended episodes restart by themselves."""
        ...

    def encode(self, observation: Tensor, /) -> Tensor:
        """Turn compact observations ``[S, B, *observation_shape]`` into network input ``[S, B, …]``.

        Rows may have their presence, 1 or 0, as a last number that the symmetry does not act on.
        """
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """Everything that the future of the environment depends on, as tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        """Continue from a `state_dict`."""
        ...


class ActionRepeat:
    """A `BatchedEnv` whose every step takes an action ``times`` times in another one.

    Rewards of the repeats are summed. Where an episode ends within them, its outcome is that of its last step, and
    the repeats that are left play the start of the next episode with the same action: unrewarded and unseen, since
    the environments of a batch step together. Lengths of episodes that are multiples of ``times`` lose nothing.

    Parameters
    ----------
    env
        What to step.
    times
        Steps of ``env`` a decision, at least 1.

    Raises
    ------
    ConfigError
        If ``times`` is below 1.
    """

    def __init__(self, env: BatchedEnv, times: int) -> None:
        if times < 1:
            raise ConfigError(f"action_repeat is {times}; it must be at least 1")
        self.env, self.times = env, times
        self.symmetry, self.seeds, self.n_envs = env.symmetry, env.seeds, env.n_envs
        self.observation_shape, self.action_size, self.device = (
            env.observation_shape,
            env.action_size,
            env.device,
        )

    def __getattr__(self, name: str) -> Any:
        # What an environment may have besides, such as `encode_sampled`.
        if name == "env":
            raise AttributeError(name)
        return getattr(self.env, name)

    def reset(self) -> Tensor:
        """Start new episodes everywhere."""
        return self.env.reset()

    def encode(self, observation: Tensor, /) -> Tensor:
        """Turn compact observations into network input."""
        return self.env.encode(observation)

    def step(self, action: Tensor, /) -> Step:
        """Step with actions [S, n_envs, A]."""
        observation, reward, terminated, truncated, final = self.env.step(action)
        for _ in range(self.times - 1):
            over = terminated | truncated
            observation, more, ends, cuts, last = self.env.step(action)
            reward = reward + torch.where(over, 0.0, more)
            terminated, truncated = terminated | (ends & ~over), truncated | (cuts & ~over)
            final = torch.where(over.view(*over.shape, *[1] * (last.ndim - 2)), final, last)
        return Step(observation, reward, terminated, truncated, final)

    def state_dict(self) -> Mapping[str, Tensor]:
        """State of the environment, and how often actions repeat."""
        return {**self.env.state_dict(), "action_repeat": torch.tensor(self.times)}

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        """Continue from a `state_dict`.

        Raises
        ------
        ConfigError
            If actions were repeated another number of times.
        """
        own = dict(state)
        times = int(own.pop("action_repeat", torch.tensor(1)))
        if times != self.times:
            raise ConfigError(
                f"the checkpoint repeats actions {times} times, this training {self.times} times"
            )
        self.env.load_state_dict(own)


def check_reset(env: BatchedEnv, observation: Tensor) -> None:
    """Refuse first observations that do not fit the environment's declarations.

    Raises
    ------
    ConfigError
        Naming what is wrong, and the seed and environment where it is.
    """
    wanted = (len(env.seeds), env.n_envs, *env.observation_shape)
    _check_tensor("environment.reset: observation", observation, wanted)
    _check_finite("environment.reset: observation", observation, env)
    if env.action_size != env.symmetry.action_size:
        raise ConfigError(
            f"environment: action_size is {env.action_size}, but its symmetry acts on {env.symmetry.action_size} "
            "numbers; declare a representation of the same size"
        )


def check_encoding(env: BatchedEnv, config: SACConfig, observation: Tensor) -> None:
    """Refuse network inputs on which the declared symmetry cannot act.

    Raises
    ------
    ConfigError
        Naming the shape, and the shape that the symmetry and the settings need.
    """
    symmetry, encoded = env.symmetry, env.encode(observation)
    lead, size = tuple(observation.shape[:2]), symmetry.observation.dimension
    if symmetry.plane is not None:
        wanted: tuple[int, ...] = (size, *encoded.shape[-symmetry.plane.dimension :])
    else:
        wanted = (size,) if symmetry.rows is None else (symmetry.rows, size)
    if encoded.ndim > 3 and symmetry.rows is not None and symmetry.fits(encoded):
        wanted = (symmetry.rows, encoded.shape[-1])
    if tuple(encoded.shape) != lead + wanted:
        raise ConfigError(
            f"environment.encode: shape is {list(encoded.shape)}, but the declared symmetry acts on "
            f"{list(lead + wanted)}"
        )
    if not encoded.is_floating_point():
        raise ConfigError(
            f"environment.encode: type is {encoded.dtype}, but networks need floating point numbers"
        )
    _check_finite("environment.encode", encoded, env)
    if symmetry.plane is not None:
        sides = list(encoded.shape[3:])
        if any(side != config.image_size for side in sides):
            raise ConfigError(
                f"environment.encode: images or windows are {' x '.join(map(str, sides))}, but image_size is "
                f"{config.image_size}; set image_size={sides[0]}, or make the environment's {config.image_size} long"
            )
    for g in range(symmetry.group.order):
        symmetry.transform_observation(g, encoded)


def check_step(env: BatchedEnv, outcome: tuple[Tensor, ...]) -> None:
    """Refuse a first step whose parts do not fit the environment's declarations.

    Raises
    ------
    ConfigError
        Naming the part, and the seed and environment where it is not finite.
    """
    if len(outcome) != len(Step._fields):
        raise ConfigError(
            f"environment.step: {len(outcome)} values returned, but {', '.join(Step._fields)} are needed"
        )
    lead = (len(env.seeds), env.n_envs)
    for name, value in zip(Step._fields, outcome, strict=True):
        place = f"environment.step: {name}"
        _check_tensor(place, value, (*lead, *env.observation_shape) if "observation" in name else lead)
        if name in ("terminated", "truncated"):
            if value.dtype != torch.bool:
                raise ConfigError(f"{place}: type is {value.dtype}, but it must be bool")
        else:
            _check_finite(place, value, env)


def nonfinite_source(env: BatchedEnv, replay: Replay, places: Sequence[int]) -> str | None:
    """First number of some seeds' environments in the replay that is not finite, as a message; None without any.

    An environment that was given an action that is not finite is not to blame for what follows.
    """
    suspects = list(places)
    for start in range(replay.oldest, replay.steps, CHUNK):
        rows = replay.rows_between(start, min(start + CHUNK, replay.steps))
        bad = {name: _bad(rows[name]) for name in ("action", "reward", "observation")}
        bad["final_observation"] = torch.zeros_like(bad["action"])
        cut = rows["next_row"] >= replay.rows
        bad["final_observation"][cut] = _bad(rows["final"][:, None, None])[:, 0, 0]
        for k in list(suspects):
            # An observation precedes the action of its row, the others follow it.
            order = ("observation", "action", "reward", "final_observation")
            steps = {name: _first(bad[name][k]) for name in order if bool(bad[name][k].any())}
            name = min(steps, key=lambda name: steps[name], default=None)
            if name == "action":
                suspects.remove(k)
            elif name is not None:
                index = int(bad[name][k, steps[name]].int().argmax())
                return (
                    f"environment: {name} of seed {env.seeds[k]}, environment {index} at step {start + steps[name]} is "
                    "not finite; correct the environment"
                )
    latest = replay.observation[:, replay.steps % replay.rows]
    if not bool(torch.isfinite(env.encode(latest)[suspects]).all()):
        return f"environment: observation after step {replay.steps} is not finite; correct the environment"
    return None


def _bad(values: Tensor) -> Tensor:
    """Where numbers [S, rows, n, …] are not finite, [S, rows, n]."""
    if not values.is_floating_point():
        return torch.zeros(values.shape[:3], dtype=torch.bool, device=values.device)
    return (~torch.isfinite(values)).unsqueeze(3).flatten(3).any(dim=3)


def _first(bad: Tensor) -> int:
    """First row of [rows, n] where any is set."""
    return int(bad.any(dim=1).int().argmax())


def _check_tensor(place: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise ConfigError(f"{place}: {type(value).__name__} returned, but a tensor is needed")
    if tuple(value.shape) != shape:
        raise ConfigError(f"{place}: shape is {list(value.shape)}, but {list(shape)} is declared")


def _check_finite(place: str, value: Tensor, env: BatchedEnv) -> None:
    finite = torch.isfinite(value).flatten(2).all(dim=2) if value.ndim > 2 else torch.isfinite(value)
    if not bool(finite.all()):
        seed, index = (int(i) for i in torch.nonzero(~finite)[0])
        raise ConfigError(f"{place} of seed {env.seeds[seed]}, environment {index} is not finite")
