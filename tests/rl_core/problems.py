"""Small agents, batches and trainings for tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.experience.replay import Batch
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry, cyclic, dihedral, regular, sign, standard, trivial
from rl_core.training import TrainResult, train

B = 16
KINDS = ["dense", "exact", "relaxed", "rpp", "augmented"]
SMALL = SACConfig(
    width=8, depth=2, batch_size=16, capacity=64, learning_starts=8, agent="relaxed", cuda_graph=False
)


def symmetries() -> dict[str, Symmetry]:
    c2, d2, d4 = cyclic(2), dihedral(2), dihedral(4)
    odd, plane, turned = sign(c2), standard(d2), standard(d4)
    return {
        "C2": Symmetry(c2, odd + odd + trivial(c2, 3), odd + odd),
        "swap": Symmetry(c2, regular(c2) + odd + trivial(c2, 1), regular(c2) + odd),
        "D2": Symmetry(d2, plane + plane + trivial(d2, 2), plane),
        "D4": Symmetry(d4, turned + turned, turned),
        "rows": Symmetry(c2, odd + trivial(c2, 1), odd, rows=3),
    }


def make(kind: str, symmetry: Symmetry, seeds: tuple[int, ...] = (0, 1), **settings: object) -> SAC:
    config = {"agent": kind, "width": 16, "depth": 3, "batch_size": B, **settings}
    return SAC(symmetry, SACConfig.from_dict(config), seeds)


def batch(symmetry: Symmetry, seeds: tuple[int, ...], step: int, size: int = B) -> Batch:
    noise = Noise(seeds)
    rows = () if symmetry.rows is None else (symmetry.rows,)
    shape = (size, *rows, symmetry.observation.dimension)
    return Batch(
        noise.normal("observation", step, shape),
        noise.normal("action", step, (size, symmetry.action_size)).tanh(),
        noise.normal("reward", step, (size,)),
        noise.uniform("discount", step, (size,)),
        noise.normal("next", step, shape),
    )


class Point:
    """A point on a line that is to be pushed to the origin; mirrored states and pushes are alike."""

    def __init__(self, seeds: tuple[int, ...], n_envs: int = 2, length: int = 7) -> None:
        self.seeds, self.n_envs, self.length = seeds, n_envs, length
        self.symmetry = Symmetry(cyclic(2), sign(cyclic(2)), sign(cyclic(2)))
        self.observation_shape, self.action_size, self.device = (1,), 1, torch.device("cpu")
        self.noise = Noise(seeds)
        self.draws = 0
        self.x = self.age = torch.zeros(0)

    def reset(self) -> Tensor:
        self.x, self.age = self._start(), torch.zeros(len(self.seeds), self.n_envs)
        return self.x

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        final = self.x + 0.5 * action
        self.age = self.age + 1
        truncated = self.age >= self.length
        reward = -final.square().sum(-1)
        self.x = torch.where(truncated[..., None], self._start(), final)
        self.age = torch.where(truncated, 0.0, self.age)
        return self.x, reward, torch.zeros_like(truncated), truncated, final

    def encode(self, observation: Tensor) -> Tensor:
        return observation

    def state_dict(self) -> Mapping[str, Tensor]:
        return {"x": self.x, "age": self.age, "draws": torch.tensor(self.draws)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.x, self.age, self.draws = state["x"], state["age"], int(state["draws"])

    def _start(self) -> Tensor:
        self.draws += 1
        return self.noise.uniform("start", self.draws, (self.n_envs, 1)) * 2 - 1


def run(
    seeds: tuple[int, ...], steps: int, directory: Path | None = None, resume: bool = False
) -> TrainResult:
    return train(
        Point(seeds),
        SMALL,
        seeds=seeds,
        steps=steps,
        directory=directory,
        resume=resume,
        log_every=5,
        checkpoint_every=20,
    )


def values(agent: SAC) -> Tensor:
    return torch.cat([agent.flat.values, agent.target_values])
