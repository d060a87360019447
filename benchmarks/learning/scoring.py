"""Training on a planted market with the share of the optimum as its learning curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from rl_core.config import SACConfig
from rl_core.env import BatchedEnv
from rl_core.sac import SAC
from rl_core.training import TrainResult, train
from trading_app.synthetic.planted_score import PlantedScore

__all__ = ["EPISODES", "PERIODS", "ScoredTraining", "train_and_score"]

EPISODES, PERIODS = 64, 60
"""Episodes that score an agent, and their length."""


class ScoredTraining(NamedTuple):
    """A training and the shares of the optimum of its seeds [S] by the number of updates, the last ones at the end."""

    result: TrainResult
    curve: dict[int, list[float]]

    @property
    def share(self) -> list[float]:
        """Shares at the end."""
        return list(self.curve.values())[-1]


def train_and_score(
    env: BatchedEnv,
    score: PlantedScore,
    config: SACConfig,
    seeds: Sequence[int],
    *,
    steps: int,
    every: int,
    log_every: int,
) -> ScoredTraining:
    """Train all seeds at once, and score the agent after each ``every`` steps and at the end."""
    curve: dict[int, list[float]] = {}

    def evaluate(agent: SAC, step: int) -> dict[str, Tensor]:
        share = score.share(lambda x: agent.act(x, deterministic=True), len(seeds))
        curve[agent.updates] = share.tolist()
        return {"share": share}

    result = train(
        env,
        config,
        seeds=tuple(seeds),
        steps=steps,
        evaluate=evaluate,
        evaluate_every=every,
        log_every=log_every,
    )
    # A diverged seed counts as a loss, although its agent stays as it was before.
    last = max(curve)
    curve[last] = [
        float("nan") if over else share for share, over in zip(curve[last], result.diverged, strict=True)
    ]
    return ScoredTraining(result, curve)
