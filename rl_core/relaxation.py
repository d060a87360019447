"""Rules that decide from evidence how far relaxed weights may leave their symmetry.

Relaxed weights fit noise of the data as if it were a broken symmetry. `Evidence` tells the two apart: at the symmetric
point, where relaxed weights are equal over the group, the expected gradient of the critics' loss along every direction
that breaks the symmetry is zero if the symmetry holds, whatever the other weights are. It is computed on two parts of
the data that do not overlap (the two halves of a batch, see `rl_core.experience.blocks`). As much of it
as the two parts agree on is evidence, the rest is sampling noise: with the Spearman–Brown formula the agreement a of
the halves gives the reliability s = 2a / (1 + a) of the whole, which is the factor by which empirical Bayes shrinks
(Efron & Morris 1975). The part 1 − s of the gradient at the symmetric point is taken off the gradient that trains:
where the loss is quadratic, relaxed weights then come to rest at s times the deviation that fits the data best.

There is no strength to choose. A rule is one class; `register_rule` adds others.

Axes: K copies, L banks, N rows, G group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.layers.base import group_mean

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["Evidence", "Free", "Rule", "effects", "make_rule", "needs_halves", "register_rule", "rule_names"]

EVERY = 8
"""Updates between looks at the symmetric point: each costs about one gradient."""
HORIZON = 40
"""Looks over which gradients are averaged."""
FIRST = 10
"""Looks before the gradient is changed."""


class Rule(Protocol):
    """Changes the gradients of an agent's relaxed weights; state as tensors, so that training resumes bit for bit."""

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """See the batch and the noise of the coming gradient."""

    def correct(self) -> None:
        """Change the gradient buffer."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the state."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""


class Free:
    """The rule that changes nothing."""

    def __init__(self, agent: SAC) -> None:
        """Take the agent, as every rule does."""

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """Do nothing."""

    def correct(self) -> None:
        """Do nothing."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Do nothing."""


class Evidence:
    """Shrinkage of the critics' relaxed weights by what two halves of the data agree on.

    The actor follows its critics, so its weights need no evidence of their own.

    Parameters
    ----------
    agent
        Its critics' relaxed weights are [K, L, G], or with rows [K, L, N, G].

    Attributes
    ----------
    reliability : list of Tensor [effects, K]
        s of each layer and effect (see `effects`); the same for all critics of a seed. Empty before the first look.
    """

    def __init__(self, agent: SAC) -> None:
        self._agent = agent
        self._weights = list(agent.critic.relaxed_parameters())
        self._seeds = len(agent.seeds)
        self._means = [torch.zeros(2, *w.shape, device=w.device) for w in self._weights]
        self._corrections = [torch.zeros_like(w) for w in self._weights]
        self._looks = torch.zeros((), dtype=torch.int64)
        self.reliability: list[Tensor] = []

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """Look at the gradient at the symmetric point, once in `EVERY` updates."""
        if not self._weights or self._agent.updates % EVERY:
            return
        self._looks += 1
        looks = int(self._looks)
        with _symmetric(self._weights):
            half = batch.action.shape[1] // 2
            for side, part in enumerate((slice(0, half), slice(half, 2 * half))):
                self._agent.gradient(Batch(*(x[:, part] for x in batch)), noise[:, :, part])
                for mean, weight in zip(self._means, self._weights, strict=True):
                    assert weight.grad is not None
                    mean[side].lerp_(weight.grad, 1.0 / min(looks, HORIZON))
        self._weigh(looks)

    def correct(self) -> None:
        """Take the unreliable part of the gradient at the symmetric point off the gradient."""
        for weight, correction in zip(self._weights, self._corrections, strict=True):
            assert weight.grad is not None
            weight.grad.sub_(correction)

    def _weigh(self, looks: int) -> None:
        """Compute the reliability of each layer's effects, and the corrections."""
        self.reliability = []
        for mean, correction in zip(self._means, self._corrections, strict=True):
            first, second = effects(mean[0]), effects(mean[1])
            agreed, size = (first * second).flatten(2).sum(2), (first**2 + second**2).flatten(2).sum(2) / 2
            # All critics of a seed have seen the same data.
            both = torch.stack([agreed, size]).view(2, len(first), self._seeds, -1)
            agreement = both[0].sum(2) / both[1].sum(2).clamp_min(1e-30)
            share = agreement.clamp(0.0, 1.0).repeat_interleave(both.shape[3], dim=1)
            reliability = 2 * share / (1 + share)
            self.reliability.append(reliability)
            if looks >= FIRST:
                doubt = (1 - reliability).view(*reliability.shape, *[1] * (correction.ndim - 1))
                correction.copy_((doubt * (first + second) / 2).sum(0))

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return averages, corrections and the number of looks."""
        named = {f"mean.{i}": mean for i, mean in enumerate(self._means)}
        return {
            **named,
            **{f"correction.{i}": c for i, c in enumerate(self._corrections)},
            "looks": self._looks,
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        for name, own in self.state_dict().items():
            own.copy_(state[name])


class _symmetric:
    """A context in which relaxed weights are equal over the group."""

    def __init__(self, weights: list[torch.nn.Parameter]) -> None:
        self._weights = weights

    @torch.no_grad()
    def __enter__(self) -> None:
        self._before = [w.detach().clone() for w in self._weights]
        for w in self._weights:
            w.copy_(group_mean(w).expand_as(w))

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for w, before in zip(self._weights, self._before, strict=True):
            w.copy_(before)


def effects(values: Tensor) -> Tensor:
    """Split numbers [K, L, G] or [K, L, N, G] into the ways in which they differ over the group.

    Returns
    -------
    Tensor
        Without rows the deviation from the mean [1, K, L, G]. With rows [3, K, L, N, G], as in an analysis of
        variance: differences between rows, between group elements, and the rest.
    """
    deviation = values - group_mean(values)
    if values.ndim == 3:
        return deviation[None]
    rows = deviation.mean(3, keepdim=True).expand_as(values)
    group = deviation.mean(2, keepdim=True).expand_as(values)
    return torch.stack([rows, group, deviation - rows - group])


_RULES: dict[str, Callable[[SAC], Rule]] = {"free": Free, "evidence": Evidence}


def register_rule(name: str, rule: Callable[[SAC], Rule]) -> None:
    """Make a rule known by a name, for `SACConfig.relaxation`."""
    _RULES[name] = rule


def rule_names() -> tuple[str, ...]:
    """Return the names of the known rules."""
    return tuple(_RULES)


def needs_halves(config: SACConfig) -> bool:
    """Return whether the halves of a batch have to come from data that do not overlap."""
    return config.agent == "relaxed" and config.relaxation != "free"


def make_rule(agent: SAC) -> Rule:
    """Return the rule that an agent's settings ask for; agents that are not relaxed are free.

    Raises
    ------
    ConfigError
        If no rule has that name.
    """
    name = agent.config.relaxation
    if name not in _RULES:
        raise ConfigError(f"relaxation is {name!r}; choose one of {', '.join(_RULES)}")
    return _RULES[name](agent) if agent.config.agent == "relaxed" else Free(agent)
