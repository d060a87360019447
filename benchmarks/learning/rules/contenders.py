"""Rules of relaxation beside `rl_core.relaxation.Evidence`: agreement, held-out derivative, dual ascent.

Each decides how far relaxed weights w may leave their mean over the group, w̄; d = w − w̄ is their deviation.
Axes: K copies, L banks, N rows, G group.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from rl_core.experience.replay import Batch
from rl_core.layers.base import group_mean
from rl_core.relaxation import Evidence, Free, halves, over_copies, register_rule, symmetric_weights
from rl_core.sac import SAC

__all__ = ["AgreementRule", "DualAscentRule", "HeldOutRule", "SymmetricNoiseRule", "register_contenders"]

EVERY = 8
"""Updates between measurements of `AgreementRule`."""
AVERAGE = 1 / 40
"""Weight of a new measurement in its running mean."""
DUAL_RATE = 0.01
"""Step of `DualAscentRule`'s multipliers."""
DUAL_SLACK = 1.0
"""Cost of its slack: a bound of u costs ½ · DUAL_SLACK · u²."""


class _Contender(Free):
    """The relaxed weights of an agent with their rates."""

    def __init__(self, agent: SAC) -> None:
        config, self.agent = agent.config, agent
        self.critic = list(agent.critic.relaxed_parameters())
        self.actor = list(agent.actor.relaxed_parameters())
        self.rates = [config.critic_lr * config.relaxed_lr_multiplier] * len(self.critic)
        self.rates += [config.actor_lr * config.relaxed_lr_multiplier] * len(self.actor)

    @property
    def weights(self) -> list[torch.nn.Parameter]:
        return [*self.critic, *self.actor]

    def gradients(self, batch: Batch, noise: Tensor) -> list[Tensor]:
        """Gradients of the critics' deviations."""
        self.agent.gradient(batch, noise)
        return [_gradient(w) - group_mean(_gradient(w)) for w in self.critic]

    @torch.no_grad()
    def decay(self, shares: list[Tensor]) -> None:
        """Move each weight towards symmetry by a share [K, …] of its rate."""
        for w, rate, share in zip(self.weights, self.rates, shares, strict=True):
            w.lerp_(group_mean(w).expand_as(w), rate * share)

    def of_actor(self, shares: list[Tensor]) -> list[Tensor]:
        """The critics' shares, and their mean over a seed's critics and layers for the actor."""
        seeds = len(self.agent.seeds)
        mean = torch.stack([share.view(seeds, -1).mean(1) for share in shares]).mean(0)
        return [*shares, *(mean.view(-1, *[1] * (w.ndim - 1)) for w in self.actor)]


class AgreementRule(_Contender):
    """Decay by 1 − a, with a the agreement of the gradients on two halves of the data, by layer, bank and copy."""

    def __init__(self, agent: SAC) -> None:
        super().__init__(agent)
        self.means = [torch.zeros(2, *w.shape) for w in self.critic]

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """Average the gradients of both halves."""
        if self.agent.updates % EVERY:
            return
        for side, half in enumerate(halves(batch, noise)):
            for mean, gradient in zip(self.means, self.gradients(*half), strict=True):
                mean[side].lerp_(gradient, AVERAGE)

    def settle(self) -> None:
        """Decay what the halves do not agree on."""
        shares = []
        for first, second in (mean.flatten(3) for mean in self.means):
            size = (first.square() + second.square()).sum(2) / 2
            agreement = ((first * second).sum(2) / size.clamp_min(1e-30)).clamp(0.0, 1.0)
            shares.append(1 - agreement)
        banks = [
            share.view(*share.shape, *[1] * (w.ndim - 2))
            for share, w in zip(shares, self.critic, strict=True)
        ]
        self.decay(self.of_actor(banks))

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the averaged gradients."""
        return {f"means.{i}": mean for i, mean in enumerate(self.means)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        for i, mean in enumerate(self.means):
            mean.copy_(state[f"means.{i}"])


class HeldOutRule(_Contender):
    """Decay set by the derivative of the held-out critic loss along the relaxation.

    Deviations of the critics learn from the first half of the data. The second half measures ⟨g, d⟩, the derivative of
    its loss along d; where it is positive, less deviation is better, and d decays.
    """

    def __init__(self, agent: SAC) -> None:
        super().__init__(agent)
        self.held_out: list[Tensor] = []
        self.slopes = torch.zeros(2, len(self.critic), len(agent.seeds))

    def prepare(self, batch: Batch, noise: Tensor) -> None:
        """Measure the derivative on the second half."""
        _, second = halves(batch, noise)
        self.held_out = self.gradients(*second)
        for i, (w, gradient) in enumerate(zip(self.critic, self.held_out, strict=True)):
            deviation = w.detach() - group_mean(w.detach())
            slope = (gradient * deviation).view(len(self.agent.seeds), -1).sum(1)
            self.slopes[0, i].lerp_(slope, AVERAGE)
            self.slopes[1, i].lerp_(slope.square(), AVERAGE)

    def correct(self) -> None:
        """Take the second half off the gradient of the deviations."""
        for w, gradient in zip(self.critic, self.held_out, strict=True):
            own = _gradient(w)
            own.add_(own - group_mean(own) - gradient)

    def settle(self) -> None:
        """Decay by the mean slope relative to its root mean square."""
        share = (self.slopes[0] / self.slopes[1].sqrt().clamp_min(1e-30)).clamp(0.0, 1.0)
        self.decay(self.of_actor([over_copies(s, w) for s, w in zip(share, self.critic, strict=True)]))

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the averaged slopes."""
        return {"slopes": self.slopes}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        self.slopes.copy_(state["slopes"])


class DualAscentRule(_Contender):
    """Dual ascent on a bound of the deviation of each layer, after ACE (Manolache et al., arXiv 2505.13631).

    The loss has the term λ (e − u) + ½ ρ u² with e the root mean square of d: the slack is u = λ / ρ, and λ rises while
    e is above it.
    """

    def __init__(self, agent: SAC) -> None:
        super().__init__(agent)
        self.multipliers = torch.zeros(len(self.weights), len(agent.seeds))

    @torch.no_grad()
    def correct(self) -> None:
        """Add the gradients of the bounds."""
        for w, multiplier in zip(self.weights, self.multipliers, strict=True):
            deviation = w - group_mean(w)
            size = deviation.square().flatten(1).mean(1).sqrt()
            count = deviation[0].numel()
            own = over_copies(multiplier, w) / (count * size.view(-1, *[1] * (w.ndim - 1))).clamp_min(1e-12)
            _gradient(w).add_(own * deviation)
            violation = size.view(len(self.agent.seeds), -1).mean(1) - multiplier / DUAL_SLACK
            multiplier.add_(DUAL_RATE * violation).clamp_(min=0.0)

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the multipliers."""
        return {"multipliers": self.multipliers}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        self.multipliers.copy_(state["multipliers"])


class SymmetricNoiseRule(Evidence):
    """Evidence whose noise is measured at the symmetric point, as its signal is."""

    def measure(self, batch: Batch, noise: Tensor) -> None:
        """Average all gradients at the symmetric point."""
        with symmetric_weights(self.critic):
            super().measure(batch, noise)


def register_contenders() -> tuple[str, ...]:
    """Make all contenders known by name, and return the names with those of `rl_core`."""
    register_rule("agreement", AgreementRule)
    register_rule("held-out", HeldOutRule)
    register_rule("dual-ascent", DualAscentRule)
    register_rule("symmetric-noise", SymmetricNoiseRule)
    return ("free", "evidence", "symmetric-noise", "agreement", "held-out", "dual-ascent")


def _gradient(weight: torch.nn.Parameter) -> Tensor:
    assert weight.grad is not None
    return weight.grad
