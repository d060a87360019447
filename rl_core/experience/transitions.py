"""Made transitions: batches computed from a known history instead of replayed from what was done.

Prices do not depend on what an agent does: a market is a Markov decision process with an exogenous part that is known
(Sinclair et al., "Hindsight learning for MDPs with exogenous inputs", ICML 2023). The reward and the next observation
of any day, holdings and action can be computed. Each update therefore draws days from the whole history, holdings near
those that the policy would have had, and actions of the policy, and nothing is stored or stepped.

The first half of a batch comes from other blocks of the history than the second half, so that `rl_core.relaxation` can
compare gradients of data that do not overlap.

Axes: S seeds, B batch, N numbers held, T days.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.random import Noise

__all__ = ["HeldByDay", "MakesTransitions", "disturb", "fit_rewards"]

DISTURBANCE = 0.1
"""Standard deviation of the noise on holdings, in units of the largest."""


@runtime_checkable
class MakesTransitions(Protocol):
    """An environment with a known exogenous part."""

    def make_transitions(
        self, act: Callable[[Tensor], Tensor], draw: int, size: int, *, discount: float
    ) -> Batch:
        """Make the transitions of an update.

        Parameters
        ----------
        act
            The policy: network inputs [S, B, …] to actions [S, B, A].
        draw
            Number of the update: equal numbers draw the same days and noise.
        size
            B.
        discount
            γ of the learner.

        Returns
        -------
        Batch
            Encoded; rewards [S, B], or of each row [S, B, N].
        """
        ...


def fit_rewards(batch: Batch, *, rows: bool) -> Batch:
    """Return the batch with rewards of rows, or with their sum where the critics have one value.

    Raises
    ------
    ConfigError
        Where rewards of rows are needed and there are none.
    """
    if rows and batch.reward.shape != batch.action.shape:
        raise ConfigError(
            f"environment.make_transitions: reward has shape {list(batch.reward.shape)}, but row_values needs rewards "
            f"of rows, {list(batch.action.shape)}; set row_values = false"
        )
    return batch if rows or batch.reward.ndim == 2 else batch._replace(reward=batch.reward.sum(-1))


class HeldByDay:
    """What the policy held at the beginning of each day, as far as transitions were made.

    A transition of day t stores its result for day t + 1, from where a later transition of day t + 1 goes on: after a
    few passes over the history, holdings are those of the policy.

    Parameters
    ----------
    seeds, days, size
        S, T and N.
    device
        Device of the tensors.
    """

    def __init__(self, seeds: int, days: int, size: int, device: torch.device) -> None:
        self.values = torch.zeros(seeds, days, size, device=device)
        self._seed = torch.arange(seeds, device=device)[:, None]

    def at(self, day: Tensor) -> Tensor:
        """Return the holdings [S, B, N] of days [S, B]."""
        return self.values[self._seed, day]

    def store(self, day: Tensor, held: Tensor) -> None:
        """Store holdings [S, B, N] of days [S, B]; of equal days the last one of the batch."""
        # Equal days write equal numbers, so that the order of writing, which threads decide, does not matter.
        order = torch.arange(day.shape[1], device=day.device).expand_as(day)
        last = day.new_zeros(self.values.shape[:2]).scatter_reduce_(1, day, order, "amax")
        self.values[self._seed, day] = held[self._seed, last.gather(1, day)]


def disturb(noise: Noise, draw: int, held: Tensor) -> Tensor:
    """Return holdings in [−1, 1] near those of the policy.

    The policy's own noise explores actions. Holdings or actions drawn from the whole range now and then did harm on the
    planted market: their costs, many times those of the policy, took most of what the critics can represent.

    Parameters
    ----------
    noise
        Random numbers.
    draw
        Number of the update.
    held
        What the policy held [S, B, N], in [−1, 1].
    """
    moved: Tensor = held + DISTURBANCE * noise.normal("made disturbance", draw, held.shape[1:])
    return moved.clamp(-1.0, 1.0)
