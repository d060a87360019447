"""Parts of the fused gradient that do not depend on the form of the networks, recorded on a tape.

The losses are those of `rl_core.sac.SAC.losses`; names as there. A step derives them for batches of one shape:
`SampledActions` are the policy's actions, `LossGradient` has the derivatives in Q values and temperature, and
`FusedGradient` is the strategy that `rl_core.learner` chooses.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from rl_core.config import SACConfig
from rl_core.experience.replay import Batch, Metrics
from rl_core.fused.recorder import Tape
from rl_core.networks.tanh_normal import HALF_LOG_TWO_PI

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["FusedGradient", "LossGradient", "RowLossGradient", "SampledActions", "Step"]


class Step(Protocol):
    """The gradient for batches of one shape, without the penalty's."""

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Overwrite the gradient buffer."""

    def metrics(self) -> Metrics:
        """Metrics of the last call."""


class FusedGradient:
    """Fills an agent's gradient buffer with the numbers of ``agent.losses(batch, noise)[0].backward()``.

    Parameters
    ----------
    agent
        Its parameters stay where they are in memory.
    step
        Makes the step for batches of one shape.
    autograd
        Used for batches with the presence of rows, which fused passes do not support.
    """

    def __init__(
        self, agent: SAC, step: Callable[[SAC, Batch, Tensor], Step], autograd: Step | None = None
    ) -> None:
        self.agent, self._step, self._autograd = agent, step, autograd
        self._steps: dict[tuple[torch.Size, ...], Step] = {}
        self._latest: Step | None = None

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Compute the gradient of the losses of encoded transitions; arguments as for ``agent.losses``."""
        if self._autograd is not None and self.agent.presence(batch.observation) is not None:
            self._latest = self._autograd
            self._latest(batch, noise)
            return
        key = tuple(part.shape for part in batch)
        if key not in self._steps:
            with torch.no_grad():
                self._steps[key] = self._step(self.agent, batch, noise)
        self._latest = self._steps[key]
        self._latest(batch, noise)
        if self.agent.config.relaxed_penalty > 0:
            self._add_penalty()

    @torch.no_grad()
    def metrics(self) -> Metrics:
        """Metrics of the last call, as from ``agent.losses``."""
        return {} if self._latest is None else self._latest.metrics()

    @torch.enable_grad()
    def _add_penalty(self) -> None:
        """Add the penalty's gradient by autograd; its layers have many forms and it costs little."""
        penalty = self.agent.config.relaxed_penalty * self.agent.penalty()
        if penalty.requires_grad:
            torch.autograd.backward(penalty)


class SampledActions:
    """Actions tanh(u), u = mean + exp(log_std) · noise, of a tanh-Gaussian policy.

    Parameters
    ----------
    tape
        Where the arithmetic is recorded.
    config
        Bounds of the log standard deviation.
    mean, raw
        The policy's mean and its log standard deviation before the bounds [S, B, A].
    noise
        Standard normal [S, B, A].

    Attributes
    ----------
    action : Tensor [S, B, A]
    entropy : Tensor [S, B]
        −log π of each action.
    entropies : Tensor [S, B, A]
        The same of each entry.
    stretch : Tensor [S, B, A]
        exp(log_std) · noise, which is ∂u/∂log_std.
    """

    def __init__(self, tape: Tape, config: SACConfig, mean: Tensor, raw: Tensor, noise: Tensor) -> None:
        self._tape, self._raw = tape, raw
        self._log_std = tape(torch.clamp, raw, config.log_std_min, config.log_std_max)
        self.stretch = tape(torch.mul, tape(torch.exp, self._log_std), noise)
        u = tape(torch.add, mean, self.stretch)
        self.action = tape(torch.tanh, u)
        # −log π = Σ ½ noise² + log_std + log √2π + log(1 − tanh²u), and log(1 − tanh²u) = 2 (log 2 − u −
        # softplus(−2u)) does not underflow. With β = −2 the function returns −½ softplus(−2u).
        slope = tape(torch.add, u, tape(functional.softplus, u, beta=-2), alpha=-2)
        terms = tape(torch.sub, self._log_std, slope, alpha=2)
        terms = tape(torch.addcmul, terms, noise, noise, value=0.5)
        constant = HALF_LOG_TWO_PI + 2 * math.log(2)
        if config.row_values:
            self.entropies = tape(torch.add, terms, terms.new_tensor(constant))
            self.entropy = tape.total(self.entropies, 2)
        else:
            self.entropy = tape(torch.add, tape.total(terms, 2), terms.new_tensor(noise.shape[2] * constant))

    def unclamped(self, count: int) -> Tensor:
        """1 where the bounds let the gradient of log_std pass and 0 elsewhere, for the first samples [S, count, A]."""
        inside = self._raw.new_empty(self._raw[:, :count].shape)
        return self._tape(torch.eq, self._log_std[:, :count], self._raw[:, :count], out=inside)


class LossGradient:
    """Derivatives of the losses of some seeds in Q values and temperature, and the metrics.

    Parameters
    ----------
    tape
        Where the arithmetic is recorded.
    agent
        Its temperature is read and that gradient written.
    batch
        Transitions of these seeds; the tensors stay where they are.
    seeds
        Which of the agent's seeds they are.

    Attributes
    ----------
    alpha : Tensor [S]
        Temperature.
    """

    def __init__(self, tape: Tape, agent: SAC, batch: Batch, seeds: slice = slice(None)) -> None:
        assert agent.log_alpha.grad is not None
        self._tape, self._batch, self._size = tape, batch, batch.action.shape[1]
        self._alpha_gradient = agent.log_alpha.grad[seeds]
        self.alpha = tape(torch.exp, agent.log_alpha.detach()[seeds])
        # Numbers as tensors: calls with Python numbers make one each time.
        self._mean, self._minus_size, self._target_entropy = (
            self.alpha.new_tensor(value)
            for value in (1 / self._size, -float(self._size), agent.target_entropy)
        )
        #: Weight α/B of log π in the actor's loss [S].
        self.share = tape(torch.mul, self.alpha, self._mean)

    def targets(self, q_next: Tensor, entropy_next: Tensor) -> Tensor:
        """y = r + γ (min Q − α log π) [S, B] from the target critics' values [S, E, B] at the next actions."""
        tape, batch = self._tape, self._batch
        least = tape(torch.amin, q_next, 1)
        value = tape(torch.addcmul, least, self.alpha[:, None], entropy_next)
        return tape(torch.addcmul, batch.reward, batch.discount, value)

    def of_critic(self, q: Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
        """∂/∂Q of ½ (Q − y)², averaged over the batch [S, E, B]; q is kept for the metrics."""
        self._q = q
        self._error = self._tape(torch.sub, q, y[:, None])
        return self._tape(torch.mul, self._error, self._mean, out=out)

    def of_actor(self, q: Tensor, out: Tensor | None = None) -> Tensor:
        """∂/∂Q of −min Q at the policy's actions, averaged over the batch, shared where critics tie [S, E, B]."""
        tape = self._tape
        self._least = tape(torch.amin, q, 1, keepdim=True)
        ties = tape(torch.eq, q, self._least, out=torch.empty_like(self._error))
        count = tape(torch.sum, ties, 1, keepdim=True)
        return tape(torch.div, ties, tape(torch.mul, count, self._minus_size), out=out)

    def of_temperature(self, entropy: Tensor) -> None:
        """Write ∂/∂log α of log α (entropy − target), for −log π [S, B] of the policy's actions."""
        tape = self._tape
        self._entropy = tape(torch.mul, tape.total(entropy, 1), self._mean)
        tape(torch.sub, self._entropy, self._target_entropy, out=self._alpha_gradient)

    def metrics(self) -> Metrics:
        """Metrics of the last run, computed when asked for: they take a tenth as long as a small step."""
        least, q = self._least.mean((1, 2)), self._q[:, 0].mean(-1)
        return {
            "critic_loss": self._error.square().sum(tuple(range(1, self._error.ndim))) * (0.5 / self._size),
            "actor_loss": -torch.addcmul(least, self.alpha, self._entropy),
            "q": q if q.ndim == 1 else q.sum(1),
            "entropy": self._entropy.clone(),
            "alpha": self.alpha.clone(),
        }


class RowLossGradient(LossGradient):
    """The same for critics with values of rows [S, E, N, B], trained on rewards of rows."""

    def targets(self, q_next: Tensor, entropy_next: Tensor) -> Tensor:
        """y [S, N, B] of each row, from the member of the ensemble with the smallest sum; entropies are [S, B, N]."""
        tape, batch = self._tape, self._batch
        least = tape(torch.gather, q_next, 1, self._smallest(q_next))[:, 0]
        value = tape(torch.addcmul, least, self.alpha[:, None, None], entropy_next.transpose(1, 2))
        return tape(torch.addcmul, batch.reward.transpose(1, 2), batch.discount[:, None], value)

    def of_actor(self, q: Tensor, out: Tensor | None = None) -> Tensor:
        """∂/∂Q of −min Q at the policy's actions, averaged over the batch [S, E, N, B]."""
        tape = self._tape
        member = self._smallest(q)
        self._least = tape(torch.sum, tape(torch.gather, q, 1, member), 2)
        gradient = torch.zeros_like(q) if out is None else out
        tape.do(gradient.zero_)
        tape.do(gradient.scatter_, 1, member, -1.0 / self._size)
        return gradient

    def _smallest(self, q: Tensor) -> Tensor:
        """Index of the member with the smallest sum over rows, [S, 1, N, B]."""
        member = self._tape(torch.argmin, self._tape.total(q, 2), 1, keepdim=True)
        return member[:, :, None].expand(-1, -1, q.shape[2], -1)
