"""Linear-quadratic control problem of the SAC benchmarks: 17 observed numbers, 6 actions, a symmetry of order 2."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rl_core.env import Step
from rl_core.experience.replay import Replay
from rl_core.random import Noise
from rl_core.symmetry import Symmetry, cyclic, sign, trivial

OBSERVATION, ACTION, ODD = 17, 6, 9
LENGTH = 40
"""Steps of an episode."""


def symmetry() -> Symmetry:
    """Return the symmetry of order two that negates 9 of 17 observed numbers and all 6 of the action."""
    group = cyclic(2)
    observation = trivial(group, OBSERVATION - ODD)
    for _ in range(ODD):
        observation = sign(group) + observation
    action = sign(group)
    for _ in range(ACTION - 1):
        action = action + sign(group)
    return Symmetry(group, observation, action)


def filled_replay(seeds: int, device: str = "cpu", steps: int = 10_000) -> Replay:
    """Return a replay of normally distributed transitions."""
    noise = Noise(range(seeds), device)
    replay = Replay(noise.normal("observation", 0, (1, OBSERVATION)), ACTION, capacity=steps, gamma=0.99)
    false = torch.zeros(seeds, 1, dtype=torch.bool, device=device)
    for step in range(1, 1 + min(steps, 2000)):
        observation = noise.normal("observation", step, (1, OBSERVATION))
        action = noise.normal("action", step, (1, ACTION)).tanh()
        reward = noise.normal("reward", step, (1,))
        replay.add(action, observation, reward, false, false, observation)
    return replay


class Regulator:
    """The regulator x′ = A x + B u + noise with reward −mean x² − mean u² / 20 over the coordinates that actions move.

    Actions act on the first `ODD` coordinates, which A rotates; the others decay and are driven by noise alone.
    """

    def __init__(self, seeds: tuple[int, ...], n_envs: int) -> None:
        self.seeds, self.n_envs = seeds, n_envs
        self.symmetry, self.device = symmetry(), torch.device("cpu")
        self.observation_shape, self.action_size = (OBSERVATION,), ACTION
        generator = torch.Generator().manual_seed(0)
        self.turn = 0.98 * torch.linalg.qr(torch.randn(ODD, ODD, generator=generator)).Q
        self.push = 0.3 * torch.randn(ACTION, ODD, generator=generator)
        self.noise, self.draws = Noise(seeds), 0
        self.x = self.age = torch.zeros(0)

    def reset(self) -> Tensor:
        """Start new episodes everywhere."""
        self.x, self.age = self._normal(), torch.zeros(len(self.seeds), self.n_envs)
        return self.x

    def step(self, action: Tensor) -> Step:
        """Step with actions [S, n_envs, 6]; episodes are truncated after 40 steps."""
        moved = self.x[..., :ODD] @ self.turn + action @ self.push
        final = torch.cat([moved, 0.9 * self.x[..., ODD:]], -1) + 0.1 * self._normal()
        reward = -final[..., :ODD].square().mean(-1) - 0.05 * action.square().mean(-1)
        self.age = self.age + 1
        truncated = self.age >= LENGTH
        self.x = torch.where(truncated[..., None], self._normal(), final)
        self.age = torch.where(truncated, 0.0, self.age)
        return Step(self.x, reward, torch.zeros_like(truncated), truncated, final)

    def encode(self, observation: Tensor) -> Tensor:
        """Return observations unchanged."""
        return observation

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return state, age and number of draws."""
        return {"x": self.x, "age": self.age, "draws": torch.tensor(self.draws)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        self.x, self.age, self.draws = state["x"], state["age"], int(state["draws"])

    def _normal(self) -> Tensor:
        self.draws += 1
        return self.noise.normal("state", self.draws, (self.n_envs, OBSERVATION))
