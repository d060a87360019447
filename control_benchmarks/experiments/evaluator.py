"""Evaluation of agents: returns, equivariance errors of policy and critic, and returns under noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from control_benchmarks.envs.physics import Simulation, copies_of
from control_benchmarks.envs.process_pool import ControlEnv
from control_benchmarks.envs.variants import Variant
from control_benchmarks.experiments.suites import Settings
from control_benchmarks.tasks.base import FRAMES, Task
from rl_core.random import Noise
from rl_core.sac import SAC
from rl_core.symmetry import Symmetry
from rl_core.symmetry.measure import FunctionError, critic_errors, policy_errors, relaxation

_SAMPLES = 20  # decisions of an episode at whose states equivariance is measured


@dataclass(frozen=True)
class Evaluation:
    """Results of an evaluation of S seeds.

    Attributes
    ----------
    returns
        Returns of episodes [S, episodes].
    policy_error, critic_error
        Mean over visited states and elements of the distance from equivariance [S].
    policy_scale, critic_scale
        Mean length of an action and standard deviation of Q [S], to hold the errors against.
    """

    returns: Tensor
    policy_error: Tensor
    policy_scale: Tensor
    critic_error: Tensor
    critic_scale: Tensor

    def lines(self, seed: int) -> dict[str, object]:
        """Return the numbers of one seed's row for a file; null where an agent has diverged."""
        errors = ("policy_error", "policy_scale", "critic_error", "critic_scale")
        values = {name: float(getattr(self, name)[seed]) for name in errors}
        numbers = {name: round(value, 6) if math.isfinite(value) else None for name, value in values.items()}
        return {"returns": [round(value, 4) for value in self.returns[seed].tolist()], **numbers}


class Evaluator:
    """Evaluates S agents on the same episodes each time, which training never sees.

    Parameters
    ----------
    task
        The task.
    seeds, variants
        Seed and variant of each agent [S].
    settings
        Episodes, noise levels and the like.
    threads, workers, device
        As for `ControlEnv`.
    """

    def __init__(
        self,
        task: Task,
        seeds: Sequence[int],
        variants: Sequence[Variant],
        settings: Settings,
        *,
        threads: int = 1,
        workers: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self._settings, self._decisions = settings, FRAMES // settings.action_repeat

        def environments(numbers: Sequence[int]) -> ControlEnv:
            return ControlEnv(
                task,
                seeds,
                variants=variants,
                n_envs=len(numbers),
                environments=numbers,
                action_repeat=settings.action_repeat,
                threads=threads,
                workers=workers,
                pixels=settings.pixels,
                stream="evaluate",
                device=device,
            )

        self._env = environments(range(settings.episodes))
        levels = settings.noise_levels
        self._noisy = environments(list(range(settings.noise_episodes)) * len(levels))
        sizes = [level for level in levels for _ in range(settings.noise_episodes)]
        self._levels = torch.tensor(sizes, device=device)
        self._spread = (
            _picture_spread() if settings.pixels else observation_spread(task, settings.action_repeat)
        )
        self._noise = Noise(seeds, device)

    def evaluate(self, agent: SAC) -> Evaluation:
        """Run deterministic policies for the suite's episodes."""
        env, visited = self._env, []
        every = max(1, self._decisions // _SAMPLES)
        observation = env.restart()
        total = torch.zeros(observation.shape[:2], device=observation.device)
        for decision in range(self._decisions):
            x = env.encode(observation)
            action = agent.act(x, deterministic=True)
            if decision % every == 0:
                visited.append((x, action))
            step = env.step(action)
            observation, total = step.observation, total + step.reward
        x, a = (torch.cat(column, dim=1) for column in zip(*visited, strict=True))
        policy, critic = _errors(agent, env.symmetry, x, a)
        return Evaluation(
            total.cpu(),
            _mean(policy, "mean"),
            _mean(policy, "scale"),
            _mean(critic, "mean"),
            _mean(critic, "scale"),
        )

    def evaluate_noise(self, agent: SAC) -> Tensor:
        """Return returns [S, levels, episodes] with noise on what the policies see."""
        env = self._noisy
        observation = env.restart()
        total = torch.zeros(observation.shape[:2], device=observation.device)
        scale = self._levels.view(-1, *[1] * len(env.observation_shape)) * self._spread.to(observation.device)
        for decision in range(self._decisions):
            noise = self._noise.normal("test-time", decision, observation.shape[1:])
            action = agent.act(env.encode(observation) + scale * noise, deterministic=True)
            step = env.step(action)
            observation, total = step.observation, total + step.reward
        return total.cpu().view(len(total), len(self._settings.noise_levels), -1)

    def close(self) -> None:
        """Let go of the environments."""
        self._env.close()
        self._noisy.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def observation_spread(task: Task, action_repeat: int) -> Tensor:
    """Return the standard deviation [O] of a task's observations under random actions from its starts."""
    copies = copies_of(
        task, [Variant()], [0], environments=range(32), action_repeat=action_repeat, stream="spread"
    )
    simulation = Simulation(copies, copies.arrays())
    simulation.reset()
    random = torch.Generator().manual_seed(0)
    seen = []
    for _ in range(50):
        actions = torch.rand(simulation.arrays["action"].shape, generator=random) * 2 - 1
        simulation.arrays["action"][:] = actions.numpy()
        simulation.step()
        seen.append(torch.from_numpy(simulation.arrays["observation"].copy()))
    simulation.close()
    return torch.cat(seen).std(dim=0)


def relaxed_weight_lines(agent: SAC) -> list[dict[str, object]]:
    """Return the relaxed weights of every layer and their relative spread over the group, for each seed."""
    found: list[dict[str, object]] = []
    for name, network in (("actor", agent.actor), ("critic", agent.critic)):
        by_layer = {layer: weights.detach().cpu() for layer, weights in network.relaxed_weights().items()}
        copies = network.ensemble or 1
        for layer, values in relaxation(by_layer).items():
            weights = by_layer[layer]
            for row in range(len(agent.seeds)):
                mine = slice(row * copies, (row + 1) * copies)
                found.append(
                    {
                        "row": row,
                        "network": name,
                        "layer": layer,
                        "relaxation": round(float(values[mine].mean()), 6),
                        "weights": [round(w, 5) for w in weights[row * copies].flatten().tolist()],
                        "shape": list(weights.shape[1:]),
                    }
                )
    return found


def _errors(
    agent: SAC, symmetry: Symmetry, x: Tensor, a: Tensor
) -> tuple[dict[str, FunctionError], dict[str, FunctionError]]:
    def policy(observation: Tensor) -> Tensor:
        return agent.act(observation, deterministic=True)

    def critic(observation: Tensor, action: Tensor) -> Tensor:
        return agent.values(observation, action)

    return policy_errors(policy, symmetry, x), critic_errors(critic, symmetry, x, a)


def _mean(errors: dict[str, FunctionError], part: str) -> Tensor:
    """Average over elements, and over an ensemble where there is one: [S]."""
    stacked = torch.stack([getattr(error, part) for error in errors.values()])
    return stacked.flatten(2).mean(dim=(0, 2)).cpu() if stacked.ndim > 2 else stacked.mean(dim=0).cpu()


def _picture_spread() -> Tensor:
    """Return a quarter of the range [-0.5, 0.5] of images as their standard deviation."""
    return torch.tensor(0.25)
