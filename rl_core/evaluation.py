"""Evaluation: deterministic episodes in environments of their own, with fixed seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rl_core.env import ActionRepeat, BatchedEnv
from rl_core.sac import SAC

__all__ = ["Evaluator", "evaluate"]


@torch.no_grad()
def evaluate(agent: SAC, env: BatchedEnv, steps: int) -> dict[str, Tensor]:
    """Run deterministic actions for a number of steps from fresh episodes.

    Parameters
    ----------
    agent
        S seeds.
    env
        With as many seeds; not the one that trains.
    steps
        At least the length of an episode, if whole episodes are to be counted.

    Returns
    -------
    dict
        ``return`` [S]: mean over environments of the reward summed up to each one's first episode end, or up to
        ``steps``; ``length`` [S]: mean steps of it.
    """
    observation = env.reset()
    total = torch.zeros(observation.shape[:2], device=env.device)
    going = torch.ones_like(total)
    length = torch.zeros_like(total)
    for _ in range(steps):
        action = agent.act(env.encode(observation), deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total += going * reward
        length += going
        going = going * (~(terminated | truncated)).float()
    return {"return": total.mean(1), "length": length.mean(1)}


@dataclass(frozen=True)
class Evaluator:
    """Make a fresh environment for each evaluation, so that each sees the same episodes.

    Attributes
    ----------
    make
        Returns the environment.
    steps
        As in `evaluate`; decisions, where actions are repeated.
    action_repeat
        Steps of the environment that each action is taken for; an environment that repeats actions itself is left as
        it is.
    """

    make: Callable[[], BatchedEnv]
    steps: int
    action_repeat: int = 1

    def __call__(self, agent: SAC, _step: int) -> dict[str, Tensor]:
        """Evaluate an agent."""
        env = self.make()
        if self.action_repeat != 1 and not isinstance(env, ActionRepeat):
            env = ActionRepeat(env, self.action_repeat)
        return evaluate(agent, env, self.steps)
