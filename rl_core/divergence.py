"""Diverged seeds: each returns to its last good parameters and stays there, while the others train on."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from rl_core.sac import SAC


class FrozenSeeds:
    """The last good parameters (and statistics of inputs) of every seed of an agent, and the seeds that stay at theirs.

    Parameters
    ----------
    agent
        Its present parameters are the first good ones. They stay where they are in memory.

    Attributes
    ----------
    diverged : list of int
        Places of the frozen seeds among the agent's, which may contain a seed several times.
    """

    def __init__(self, agent: SAC) -> None:
        self._agent = agent
        parameters: list[Tensor] = [p for network in agent.networks.values() for p in network.parameters()]
        parameters.append(agent.log_alpha)
        if agent.normalizer is not None:
            parameters += agent.normalizer.state.values()
        # Copies of networks lie seed by seed: [S, numbers of a seed].
        self._values = [p.detach().view(len(agent.seeds), -1) for p in parameters]
        self._good = [values.clone() for values in self._values]
        self.diverged: list[int] = []

    @property
    def mask(self) -> tuple[bool, ...]:
        """Return for each seed whether it is frozen."""
        return tuple(k in self.diverged for k in range(len(self._agent.seeds)))

    def faults(self, metrics: Mapping[str, Sequence[float]], limit: float) -> dict[int, str]:
        """Return the places of other seeds with a metric or parameter that is not finite or beyond a limit, and why."""
        finite = torch.stack([values.isfinite().all(1) for values in self._values]).all(0).tolist()
        found: dict[int, str] = {}
        for k, seed in enumerate(self._agent.seeds):
            if k in self.diverged:
                continue
            own = {name: values[k] for name, values in metrics.items()}
            wrong = [name for name, x in own.items() if not math.isfinite(x) or abs(x) > limit]
            if wrong:
                found[k] = f"{wrong[0]} of seed {seed} is {own[wrong[0]]:g}"
            elif not finite[k]:
                found[k] = f"a parameter of seed {seed} is not finite"
        return found

    def remember(self) -> None:
        """Take the present parameters as good."""
        for good, values in zip(self._good, self._values, strict=True):
            good.copy_(values)

    def freeze(self, places: Collection[int]) -> None:
        """Return further seeds to their last good parameters, for good."""
        self.diverged = sorted({*self.diverged, *places})
        self.hold()

    def hold(self) -> None:
        """Undo what updates did to the frozen seeds."""
        if not self.diverged:
            return
        for good, values in zip(self._good, self._values, strict=True):
            values[self.diverged] = good[self.diverged]
        self._agent.refresh()
