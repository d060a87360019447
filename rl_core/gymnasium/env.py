"""Any Gymnasium environment as a `BatchedEnv` with a declared symmetry.

Axes: S seeds, n environments of each, A entries of an action.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from torch import Tensor

from rl_core.env import Step
from rl_core.errors import ConfigError
from rl_core.gymnasium.spaces import ActionBox, check_sizes, make_env, observation_space
from rl_core.random import stream_seed
from rl_core.symmetry import Symmetry

__all__ = ["GymnasiumEnv"]

Array = npt.NDArray[Any]
Environment = gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]

logger = logging.getLogger(__name__)


class GymnasiumEnv:
    """S × n_envs copies of a Gymnasium environment; implements `rl_core.BatchedEnv`.

    Each seed has a vector environment of its own, so that seed k of a batch behaves as seed k alone. Actions in [−1, 1]
    are scaled to the action space; observations become float32 and are flattened, unless the symmetry acts on their
    shape. Transitions never join two episodes, in whichever autoreset mode the vector environment is.

    An episode of a single environment, or of one in a `SyncVectorEnv` or `AsyncVectorEnv`, starts with a seed that is
    a function of the run's seed and the episode's number. A resumed training repeats the actions of the running
    episodes from their starts and so goes on bit for bit, if the environment depends on nothing but seed and actions.
    Other environments cannot be resumed so: new episodes start. The actions of the running episodes are in memory for
    this, so an environment whose episodes never end needs a `gymnasium.wrappers.TimeLimit`.

    Parameters
    ----------
    environment
        Name of a registered environment; a function that makes an environment or a vector environment (one for each
        seed); or, with a single seed, a vector environment.
    symmetry
        Action of the group on observations and actions; no symmetry by default.
    seeds
        The S seeds.
    n_envs
        Environments of each seed; those of a vector environment by default.
    stream
        Name that separates the episodes of training from those of evaluation with the same seeds.
    device
        Device of the tensors; the environments are stepped on the CPU.

    Raises
    ------
    ConfigError
        If the environment's actions are not bounded and continuous, its observations are not a Box, the symmetry has
        other sizes, or a vector environment cannot end episodes one by one; the message names the environment.
    """

    def __init__(
        self,
        environment: str | VectorEnv[Any, Any, Any] | Callable[[], Environment],
        symmetry: Symmetry | None = None,
        *,
        seeds: Sequence[int],
        n_envs: int | None = None,
        stream: str = "train",
        device: torch.device | str = "cpu",
    ) -> None:
        self.seeds, self._stream = tuple(int(seed) for seed in seeds), stream
        if not self.seeds or (n_envs is not None and n_envs < 1):
            raise ConfigError(
                f"at least one seed and environment are needed, got {seeds} and n_envs = {n_envs}"
            )
        self._vectors = _vectors(environment, len(self.seeds), n_envs)
        first = self._vectors[0]
        self.name = _name(first)
        self.n_envs = first.num_envs
        self._autoreset = _autoreset(first, self.name)
        # Episodes of these start with seeds of ours, one by one.
        self.repeatable = _restarts_one_by_one(first)
        self._box = ActionBox(first.single_action_space, self.name)
        self.action_size = self._box.size
        shape = observation_space(first.single_observation_space, self.name).shape
        size = int(np.prod(shape))
        self.symmetry = symmetry if symmetry is not None else Symmetry.none(size, self.action_size)
        check_sizes(self.symmetry, size, self.action_size, self.name)
        self.observation_shape = shape if len(shape) == self.symmetry.observation_ndim else (size,)
        self.device = torch.device(device)
        lead = (len(self.seeds), self.n_envs)
        self._episode, self._age = np.full(lead, -1), np.zeros(lead, dtype=np.int64)
        self._actions: deque[Array] = deque()
        self._observation = np.zeros((*lead, *self.observation_shape), dtype=np.float32)
        self._broken = False

    def reset(self) -> Tensor:
        """Start new episodes everywhere; observations [S, n_envs, *observation_shape]."""
        self._episode += 1
        self._age[:] = 0
        self._actions.clear()
        self._start()
        return self._tensor(self._observation)

    def step(self, action: Tensor, /) -> Step:
        """Step with actions [S, n_envs, A] in [−1, 1]; ended episodes restart by themselves."""
        if self._broken:
            return self._begin_again()
        actions = action.detach().cpu().numpy().astype(np.float32)
        lead = self._age.shape
        reward, final = np.zeros(lead, dtype=np.float32), self._observation.copy()
        terminated, truncated = np.zeros(lead, dtype=bool), np.zeros(lead, dtype=bool)
        for k in range(len(self.seeds)):
            final[k], reward[k], terminated[k], truncated[k] = self._step_seed(k, actions[k])
        if self.repeatable:
            self._actions.append(actions)
            while len(self._actions) > self._age.max():
                self._actions.popleft()
        outcome = (self._observation, reward, terminated, truncated, final)
        return Step(*(self._tensor(part) for part in outcome))

    def encode(self, observation: Tensor, /) -> Tensor:
        """Return observations as they are: they are the network's input."""
        return observation

    def close(self) -> None:
        """Close the environments, with the processes that some of them have."""
        for vector in self._vectors:
            vector.close()

    def state_dict(self) -> Mapping[str, Tensor]:
        """Numbers and ages of the running episodes, their actions, and the latest observations."""
        state = {"episode": self._episode, "age": self._age, "observation": self._observation}
        if self._actions:
            state["actions"] = np.stack(self._actions)
        return {name: torch.from_numpy(value.copy()) for name, value in state.items()}

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        """Continue from a `state_dict`: repeat the actions of the running episodes, or else start new ones."""
        saved = {name: value.cpu().numpy() for name, value in state.items()}
        if saved["observation"].shape != self._observation.shape:
            raise ConfigError(
                f"{self.name}: the checkpoint has observations {list(saved['observation'].shape)} of seeds, "
                f"environments and entries, this training {list(self._observation.shape)}"
            )
        self._episode, self._age = saved["episode"].copy(), saved["age"].copy()
        self._actions = deque(saved.get("actions", ()))
        self._broken = not (self.repeatable and self._repeat(saved["observation"]))
        if self._broken:
            logger.warning("%s cannot be resumed bit for bit: its episodes start anew", self.name)
            self._observation = saved["observation"].copy()

    def _repeat(self, wanted: Array) -> bool:
        """Repeat the actions since the oldest running episode began; return True if that led to these observations."""
        total = len(self._actions)
        self._start()
        for left, actions in zip(range(total, 0, -1), self._actions, strict=True):
            for k, age in enumerate(self._age):
                # Younger episodes begin later; until then, their environments do anything.
                if left < total:
                    self._restart(k, age == left)
                _, _, terminated, truncated = self._advance(k, actions[k])
                over = terminated | truncated
                if (over & (age >= left)).any():
                    return False
                self._restart(k, over)
        for k, age in enumerate(self._age):
            self._restart(k, age == 0)
        return bool(np.array_equal(self._observation, wanted))

    def _begin_again(self) -> Step:
        """Start new episodes; the step is one that a limit cut, from the latest observation to itself."""
        final = self._tensor(self._observation)
        self._broken = False
        nothing = torch.zeros(final.shape[:2], device=self.device)
        return Step(self.reset(), nothing, nothing.bool(), ~nothing.bool(), final)

    def _start(self) -> None:
        """Start the episodes with the present numbers everywhere."""
        for k, vector in enumerate(self._vectors):
            seeds = self._episode_seeds(k)
            # Those of environments that are reset one by one, which the type of `VectorEnv` does not have.
            seed: Any = seeds if self.repeatable else seeds[0]
            observation, _ = vector.reset(seed=seed)
            self._observation[k] = self._flat(observation)

    def _step_seed(self, k: int, action: Array) -> tuple[Array, Array, Array, Array]:
        """Step the environments of a seed; return final observations, rewards, and which episodes ended."""
        final, reward, terminated, truncated = self._advance(k, action)
        over = terminated | truncated
        self._age[k] += 1
        self._age[k][over] = 0
        self._episode[k][over] += 1
        if self.repeatable or self._autoreset is AutoresetMode.DISABLED:
            self._restart(k, over)
        return final, reward, terminated, truncated

    def _advance(self, k: int, action: Array) -> tuple[Array, Array, Array, Array]:
        observation, reward, terminated, truncated, info = self._vectors[k].step(self._box.scale(action))
        self._observation[k] = self._flat(observation)
        final = self._observation[k].copy()
        terminated, truncated = np.asarray(terminated), np.asarray(truncated)
        if self._autoreset is AutoresetMode.SAME_STEP:
            for index in np.flatnonzero(terminated | truncated):
                if "final_obs" not in info:
                    raise ConfigError(f"{self.name}: info has no final_obs of the episodes that ended")
                final[index] = np.asarray(info["final_obs"][index]).reshape(self.observation_shape)
        return final, np.asarray(reward), terminated, truncated

    def _restart(self, k: int, chosen: Array) -> None:
        """Start the chosen [n_envs] episodes of a seed."""
        if chosen.any():
            seed: Any = self._episode_seeds(k) if self.repeatable else None
            observation, _ = self._vectors[k].reset(seed=seed, options={"reset_mask": chosen.copy()})
            self._observation[k][chosen] = self._flat(observation)[chosen]

    def _episode_seeds(self, k: int) -> list[int]:
        # 31 bits, since some environments use generators that take no more than 32.
        return [
            stream_seed(self.seeds[k], "gymnasium", self._stream, index, int(episode)) % 2**31
            for index, episode in enumerate(self._episode[k])
        ]

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(array, device=self.device)

    def _flat(self, observation: Any) -> Array:
        return np.asarray(observation, dtype=np.float32).reshape(self.n_envs, *self.observation_shape)


def _vectors(
    environment: str | VectorEnv[Any, Any, Any] | Callable[[], Environment], seeds: int, n_envs: int | None
) -> list[VectorEnv[Any, Any, Any]]:
    """Make a vector environment for each seed."""
    if isinstance(environment, VectorEnv):
        if seeds != 1:
            raise ConfigError(
                f"{_name(environment)} serves one seed, not {seeds}; give a function that makes one"
            )
        made: list[Environment] = [environment]
    else:
        make = partial(make_env, environment) if isinstance(environment, str) else environment
        made = [make()]
        if isinstance(made[0], VectorEnv):
            made += [make() for _ in range(seeds - 1)]
        else:
            made += [make() for _ in range(seeds * (n_envs or 1) - 1)]
    vectors = [one for one in made if isinstance(one, VectorEnv)]
    if not vectors:
        singles = [one for one in made if isinstance(one, gymnasium.Env)]
        size = len(singles) // seeds
        return [_joined(singles[k * size : (k + 1) * size]) for k in range(seeds)]
    if n_envs not in (None, vectors[0].num_envs):
        raise ConfigError(
            f"n_envs is {n_envs}, but {_name(vectors[0])} has {vectors[0].num_envs} environments"
        )
    return vectors


def _joined(environments: Sequence[gymnasium.Env[Any, Any]]) -> SyncVectorEnv:
    makers = [partial(_same, one) for one in environments]
    return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)


def _same(environment: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return environment


def _autoreset(vector: VectorEnv[Any, Any, Any], name: str) -> AutoresetMode:
    """Return the autoreset mode of a vector environment.

    Raises
    ------
    ConfigError
        If it names none, or one in which a transition would join two episodes.
    """
    mode = vector.metadata.get("autoreset_mode")
    if mode is None:
        raise ConfigError(f"{name}: metadata has no autoreset_mode; set it to what the environment does")
    mode = AutoresetMode(mode)
    if mode is AutoresetMode.NEXT_STEP and not _restarts_one_by_one(vector):
        raise ConfigError(
            f"{name}: autoreset mode NEXT_STEP of {type(vector.unwrapped).__name__} resets all environments at a time; "
            "make it with SAME_STEP, or as a SyncVectorEnv"
        )
    return mode


def _restarts_one_by_one(vector: VectorEnv[Any, Any, Any]) -> bool:
    """Return True if single environments can be reset with seeds of their own."""
    base = vector.unwrapped
    # Without shared memory, gymnasium 1.4 resets such an environment once more at its next step.
    return isinstance(base, SyncVectorEnv) or (isinstance(base, AsyncVectorEnv) and base.shared_memory)


def _name(vector: VectorEnv[Any, Any, Any]) -> str:
    base = vector.unwrapped
    one = base.envs[0] if isinstance(base, SyncVectorEnv) else base
    return one.spec.id if one.spec is not None else type(one.unwrapped).__name__
