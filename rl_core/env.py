"""Interface of environments: S seeds × n environments stepped together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from rl_core.symmetry import Symmetry

__all__ = ["BatchedEnv", "Step"]


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
        """Turn compact observations ``[S, B, *observation_shape]`` into network input ``[S, B, …]``."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """Everything that the future of the environment depends on, as tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        """Continue from a `state_dict`."""
        ...
