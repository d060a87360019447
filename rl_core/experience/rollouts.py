"""Rollouts through an environment whose rewards can be differentiated.

Where the exogenous part of an environment is known, as the prices of a market are, the reward of a whole path is a
differentiable function of the actions on it: a policy can follow its gradient without any critic.

Axes: S seeds, B batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["RollsOut"]


@runtime_checkable
class RollsOut(Protocol):
    """An environment with rewards that can be differentiated through its states."""

    def roll_out(self, act: Callable[[Tensor], Tensor], draw: int, size: int, steps: int) -> Tensor:
        """Return the mean reward of a step on paths of a policy, for each seed [S].

        Parameters
        ----------
        act
            The policy: network inputs [S, B, …] to actions [S, B, A]. The result can be differentiated in what it
            computes.
        draw
            Number of the update: equal numbers draw the same paths.
        size
            B, the number of paths.
        steps
            Length of the paths.
        """
        ...
