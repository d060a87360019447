"""States of single environments, where they can be read and set."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

__all__ = ["SettableState"]

Array = npt.NDArray[np.float64]
# Their steps depend on no past observation or action (a time limit's count is reset before each transition).
MEMORYLESS = (
    gymnasium.ActionWrapper,
    gymnasium.ObservationWrapper,
    gymnasium.RewardWrapper,
    OrderEnforcing,
    PassiveEnvChecker,
    TimeLimit,
)


class SettableState:
    """The state of an environment as a vector: that of MuJoCo's environments, or the attribute ``state``.

    Parameters
    ----------
    env
        An environment of which `offered` is true.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._env, self._base = env, env.unwrapped
        self._wrappers: list[gymnasium.ObservationWrapper[Any, Any, Any]] = []
        while isinstance(env, gymnasium.Wrapper):
            if isinstance(env, gymnasium.ObservationWrapper):
                self._wrappers.insert(0, env)
            env = env.env

    @staticmethod
    def offered(env: gymnasium.Env[Any, Any]) -> bool:
        """Return True if the state of an environment that was reset can be set, and observed without a step.

        That needs the method ``_get_obs`` and either ``set_state`` with ``data`` (MuJoCo) or an array ``state``, and
        wrappers without memory.
        """
        base: Any = env.unwrapped
        while isinstance(env, gymnasium.Wrapper):
            if not isinstance(env, MEMORYLESS):
                return False
            env = env.env
        return hasattr(base, "_get_obs") and (_is_mujoco(base) or hasattr(base, "state"))

    def read(self) -> Array:
        """Return the state; the environment must have been reset."""
        base: Any = self._base
        if _is_mujoco(base):
            return np.concatenate([base.data.qpos, base.data.qvel])
        return np.array(base.state, dtype=np.float64).reshape(-1)

    def write(self, state: Array) -> None:
        """Set the state."""
        base: Any = self._base
        if _is_mujoco(base):
            positions = len(base.data.qpos)
            base.set_state(state[:positions].copy(), state[positions:].copy())
        else:
            base.state = state.reshape(np.shape(base.state)).copy()

    def observe(self) -> Array:
        """Return the observation of the present state, flat."""
        base: Any = self._base
        observation = base._get_obs()
        for wrapper in self._wrappers:
            observation = wrapper.observation(observation)
        return np.array(observation, dtype=np.float64).reshape(-1)


def _is_mujoco(base: Any) -> bool:
    return hasattr(base, "set_state") and hasattr(getattr(base, "data", None), "qpos")
