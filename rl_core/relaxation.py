"""Rules that decide from evidence how far relaxed weights may leave their symmetry.

Relaxed weights fit noise of the data as if it were a broken symmetry. `Evidence` tells the two apart. At the symmetric
point, where relaxed weights are equal over the group, the expected gradient of the critics' loss along every direction
that breaks the symmetry is zero if the symmetry holds, whatever the other weights are; what is measured there is signal
plus sampling noise. The size of the noise is measured where the weights are, by the difference of the gradients on two
parts of the data that do not overlap (the two halves of a batch, see `rl_core.experience.blocks`): there the residuals
are small, as in the standard error of a joint regression, while at the symmetric point each deviation's residual would
count as noise of the others. With the squares G of the gradient at the symmetric point and V of half the difference,
the reliability is s = 1 − V / G, the factor by which empirical Bayes shrinks (Efron & Morris 1975). The part 1 − s of
the gradient at the symmetric point is taken off the gradient that trains: where the loss is quadratic, relaxed weights
then come to rest at s times the deviation that fits the data best.

Steps are as large as the evidence, too: the step of each effect is multiplied by its s, so that noise of the gradient
does not move what has no evidence, and a deviation that has lost its evidence decays. An agent thus starts symmetric,
stays so while the data show nothing else, and has no strength to choose. A rule is one class; `register_rule` adds
others.

Axes: K copies, L banks, N rows, G group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from rl_core.agents import find_kind
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.experience.replay import Batch
from rl_core.layers.base import group_mean

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = [
    "Evidence",
    "Free",
    "Rule",
    "check_relaxed",
    "effects",
    "halves",
    "make_rule",
    "needs_halves",
    "over_copies",
    "register_rule",
    "rule_names",
    "symmetric_weights",
]

EVERY = 16
"""Updates between looks, each of which costs about two gradients."""
HORIZON = 20
"""Looks over which gradients are averaged."""
FIRST = 5
"""Looks before the gradient is changed."""
ROUNDING = 1e-10
"""Share of the squares of all effects below which an effect does not exist, as the mirror's of a trivial group."""


class Rule(Protocol):
    """Changes the gradients of an agent's relaxed weights; state as tensors, so that training resumes bit for bit."""

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """See the batch and the noise of the coming gradient."""

    def correct(self) -> None:
        """Change the gradient buffer, before the optimiser's step."""

    def settle(self) -> None:
        """Change the relaxed weights, after the optimiser's step."""

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

    def settle(self) -> None:
        """Do nothing."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return no state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Do nothing."""


class Evidence:
    """Shrinkage of relaxed weights by the reliability of their evidence.

    Gradients are measured in the critics, which learn from the data; the actor learns from its critics, and its steps
    are multiplied by the same s.

    Parameters
    ----------
    agent
        Its relaxed weights are [K, L, G], or with rows [K, L, N, G].

    Attributes
    ----------
    reliability : Tensor [effects, S]
        s of each effect (see `effects`), 0 before the first looks.
    """

    def __init__(self, agent: SAC) -> None:
        self._agent, self._seeds = agent, len(agent.seeds)
        self.critic = list(agent.critic.relaxed_parameters())
        self._all = [*self.critic, *agent.actor.relaxed_parameters()]
        # Averaged gradients: on the first half of the data, on the second, and on all of it at the symmetric point.
        self._means = [torch.zeros(3, *w.shape, device=w.device) for w in self.critic]
        self._corrections = [torch.zeros_like(w) for w in self.critic]
        self._looks = torch.zeros((), dtype=torch.int64)
        self._rows = any(w.ndim == 4 for w in self._all)
        kinds = 3 if self._rows else 1
        self.reliability = torch.zeros(kinds, self._seeds, device=agent.device)
        # Factors of steps [effects, K, 1, …], and the weights before a step.
        self._factors = [torch.zeros(kinds, len(w), *[1] * (w.ndim - 1), device=w.device) for w in self._all]
        self._before = [torch.zeros_like(w) for w in self._all]
        rates = {"actor": agent.config.actor_lr, "critic": agent.config.critic_lr}
        fast = agent.config.relaxed_lr_multiplier
        critics = len(self.critic)
        self._decays = [fast * rates["critic" if i < critics else "actor"] for i in range(len(self._all))]

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """Measure gradients, once in `EVERY` updates."""
        if not self.critic or self._agent.updates % EVERY:
            return
        self._looks += 1
        self.measure(batch, noise)
        if int(self._looks) >= FIRST:
            self._weigh()

    def measure(self, batch: Batch, noise: Tensor) -> None:
        """Average the gradients on both halves of a batch, and on all of it at the symmetric point."""
        for place, (half, own) in enumerate(halves(batch, noise)):
            self._average(place, half, own)
        with symmetric_weights(self.critic):
            self._average(2, batch, noise)

    def _average(self, place: int, batch: Batch, noise: Tensor) -> None:
        """Take the critics' gradients on a batch into one of the three averages."""
        self._agent.gradient(batch, noise)
        share = 1.0 / min(int(self._looks), HORIZON)
        for mean, weight in zip(self._means, self.critic, strict=True):
            assert weight.grad is not None
            mean[place].lerp_(weight.grad, share)

    def _weigh(self) -> None:
        """Compute reliability, corrections and factors from the averaged gradients."""
        measured = [[self._effects(part) for part in mean] for mean in self._means]
        # All critics of a seed have seen the same data. One layer has few numbers for some effects, so that its
        # noise is badly known: layers share one ratio.
        noise = torch.stack([self._squares((first - second) / 2) for first, second, _ in measured])
        whole = torch.stack([self._squares(symmetric) for *_, symmetric in measured])
        # An effect that is rounding alone, as the mirror's of a trivial group, does not exist.
        there = whole > ROUNDING * whole.sum(1, keepdim=True)
        ratio = (noise / whole).where(there, torch.zeros_like(noise)).sum(0) / there.sum(0).clamp_min(1)
        self.reliability.copy_((1 - ratio).clamp(0.0, 1.0).where(there.any(0), torch.zeros_like(ratio)))
        for factor, weight in zip(self._factors, self._all, strict=True):
            factor.copy_(over_copies(self.reliability, weight))
        for correction, factor, (*_, symmetric) in zip(
            self._corrections, self._factors[: len(self.critic)], measured, strict=True
        ):
            correction.copy_(((1 - factor) * symmetric).sum(0))

    def _squares(self, values: Tensor) -> Tensor:
        """Sums of squares by effect and seed, [effects, S]."""
        return values.square().view(len(values), self._seeds, -1).sum(2)

    def correct(self) -> None:
        """Take the unreliable part of the gradient at the symmetric point off the critics' gradient."""
        for weight, correction in zip(self.critic, self._corrections, strict=True):
            assert weight.grad is not None
            weight.grad.sub_(correction)
        for before, weight in zip(self._before, self._all, strict=True):
            before.copy_(weight.detach())

    @torch.no_grad()
    def settle(self) -> None:
        """Shorten the steps to the reliable share, and let deviations without evidence decay."""
        for weight, before, factor, rate in zip(
            self._all, self._before, self._factors, self._decays, strict=True
        ):
            step = factor * self._effects(weight - before)
            deviation = self._effects(before) * (1 - rate * (1 - factor) ** 4)
            # The mean over the group only scales a bank, as its filter does: at the rate of relaxed weights it would be
            # noise in all that the layer has learned.
            weight.copy_(group_mean(before) + (deviation + step).sum(0))

    def _effects(self, values: Tensor) -> Tensor:
        """Effects by kind; a layer behind the pool of rows has that of the group alone."""
        found = effects(values)
        if self._rows and values.ndim == 3:
            return torch.cat([torch.zeros_like(found), found, torch.zeros_like(found)])
        return found

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the averaged gradients and the number of looks; the rest follows from them."""
        return {"looks": self._looks, **{f"means.{i}": mean for i, mean in enumerate(self._means)}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        for name, own in self.state_dict().items():
            own.copy_(state[name])
        if int(self._looks) >= FIRST:
            self._weigh()


def halves(batch: Batch, noise: Tensor) -> Iterator[tuple[Batch, Tensor]]:
    """Yield both halves of a batch, each with its part of the noise [S, 2, B, A]."""
    size = batch.action.shape[1] // 2
    for part in (slice(0, size), slice(size, 2 * size)):
        yield Batch(*(x[:, part] for x in batch)), noise[:, :, part]


def over_copies(values: Tensor, weight: Tensor) -> Tensor:
    """Spread values of seeds [..., S] over the copies of a weight, [..., K, 1, …]."""
    spread = values.repeat_interleave(len(weight) // values.shape[-1], dim=-1)
    return spread.view(*spread.shape, *[1] * (weight.ndim - 1))


@contextmanager
def symmetric_weights(weights: Sequence[torch.nn.Parameter]) -> Iterator[None]:
    """Make relaxed weights equal over the group within a context."""
    before = [w.detach().clone() for w in weights]
    with torch.no_grad():
        for w in weights:
            w.copy_(group_mean(w).expand_as(w))
    try:
        yield
    finally:
        with torch.no_grad():
            for w, old in zip(weights, before, strict=True):
                w.copy_(old)


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
    kind = find_kind(config.agent)
    return kind.halves or (kind.relaxes and config.relaxation != "free")


def check_relaxed(agent: SAC) -> None:
    """Refuse a relaxed agent none of whose layers is relaxed."""
    config = agent.config
    networks = {"actor": agent.actor, "critic": agent.critic}
    meant = [network for name, network in networks.items() if config.relax in ("both", name)]
    if agent.kind.relaxes and not any(True for network in meant for _ in network.relaxed_parameters()):
        raise ConfigError(
            f"relax_layers is {config.relax_layers!r}, but at depth {config.depth} there are no such layers, so "
            "nothing is relaxed; raise depth, choose other layers, or take the exact agent"
        )


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
    rule = agent.kind.rule or (_RULES[name] if agent.kind.relaxes else Free)
    return rule(agent)
