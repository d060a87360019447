"""Conversion between Gymnasium's spaces and the learner's vectors."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Box, Space

from rl_core.errors import ConfigError
from rl_core.symmetry import Symmetry

__all__ = ["ActionBox", "check_sizes", "make_env", "observation_space"]

Array = npt.NDArray[Any]


class ActionBox:
    """A bounded action space: actions in [−1, 1] are scaled to it.

    Parameters
    ----------
    space
        The action space.
    name
        Name of the environment, for messages.

    Raises
    ------
    ConfigError
        If the space is not a Box of bounded floating point numbers.
    """

    def __init__(self, space: Space[Any], name: str) -> None:
        if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
            raise ConfigError(
                f"{name}: its actions are {space}, but SAC needs continuous ones (a Box of floating point numbers)"
            )
        unbounded = np.flatnonzero(~(np.isfinite(space.low) & np.isfinite(space.high)).reshape(-1))
        if len(unbounded):
            raise ConfigError(
                f"{name}: action entry {unbounded[0]} is unbounded ({space}); bound it, for example with "
                "gymnasium.wrappers.RescaleAction or a Box with finite limits"
            )
        self.space = space
        self.size = int(np.prod(space.shape))

    def scale(self, action: Array) -> Array:
        """Return actions [..., *space.shape] of the Box for actions [..., A] in [−1, 1]."""
        shaped = action.astype(np.float64).reshape(*action.shape[:-1], *self.space.shape)
        low, high = self.space.low.astype(np.float64), self.space.high.astype(np.float64)
        scaled = low + 0.5 * (shaped + 1.0) * (high - low)
        bounded: Array = np.clip(scaled.astype(self.space.dtype), self.space.low, self.space.high)
        return bounded


def observation_space(space: Space[Any], name: str) -> Box:
    """Return an observation space that is a Box.

    Raises
    ------
    ConfigError
        If it is another one.
    """
    if not isinstance(space, Box):
        raise ConfigError(
            f"{name}: its observations are {type(space).__name__}, but a Box is needed; wrap the environment in "
            "gymnasium.wrappers.FlattenObservation"
        )
    return space


def check_sizes(symmetry: Symmetry, observation_size: int, action_size: int, name: str) -> None:
    """Refuse a symmetry of vectors of other sizes.

    Raises
    ------
    ConfigError
        Naming the sizes.
    """
    sizes = [("action", symmetry.action_size, action_size)]
    if symmetry.observation_ndim == 1:
        sizes.append(("observation", symmetry.observation.dimension, observation_size))
    for part, declared, size in sizes:
        if declared != size:
            raise ConfigError(
                f"{name}: its {part} has {size} entries, but the symmetry acts on {declared}; declare every entry"
            )


def make_env(name: str) -> gymnasium.Env[Any, Any]:
    """Make an environment by its name.

    Raises
    ------
    ConfigError
        If there is none, or if it needs packages that are missing.
    """
    try:
        return gymnasium.make(name)
    except (gymnasium.error.Error, ImportError) as error:
        raise ConfigError(f"{name}: {' '.join(str(error).split())}") from error
