"""Action repeat: one decision for several steps of an environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rl_core.env import BatchedEnv, Step
from rl_core.errors import ConfigError

__all__ = ["ActionRepeat"]


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
