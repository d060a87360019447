"""The gradient of `rl_core.sac.SAC.losses` derived by hand, for networks on vectors.

It does no product that the losses do not need, runs observations and next observations (and for the critics
stored and chosen actions) through a network together, and reuses its memory; the numbers are those of autograd.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from rl_core.fused.recorder import Tape
from rl_core.fused.vector_network import VectorPass
from rl_core.fused.vector_weights import Expansion, supports_layers
from rl_core.networks.base import Network
from rl_core.networks.vectors import FourierNetwork, VectorNetwork
from rl_core.precision import lower_precision
from rl_core.replay import Batch, Metrics
from rl_core.tanh_normal import HALF_LOG_TWO_PI

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["VectorGradient", "supports_vectors"]

LOG_TWO = math.log(2)


def supports_vectors(network: Network) -> bool:
    """Whether the gradient of this network is known here: on vectors, rectified, without LayerNorm.

    Network and layers are recognised by their exact types: a subclass may compute something else.
    """
    if type(network) not in (VectorNetwork, FourierNetwork) or not supports_layers(network):
        return False
    assert isinstance(network, VectorNetwork)
    return network.rectified and not network.norm


class VectorGradient:
    """Fills an agent's gradient buffer, as ``agent.losses(batch, noise)[0].backward()`` does.

    Parameters
    ----------
    agent
        Its actor and critic must be ones that `supports_vectors` accepts; its parameters stay where they are.
    """

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        self._steps: dict[tuple[torch.Size, ...], _Step] = {}
        self._latest: _Step | None = None

    @torch.no_grad()
    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Derive the losses of encoded transitions; arguments as for ``agent.losses``."""
        key = tuple(part.shape for part in batch)
        if key not in self._steps:
            self._steps[key] = _Step(self.agent, batch, noise)
        self._latest = self._steps[key]
        self._latest(batch, noise)

    @torch.no_grad()
    def metrics(self) -> Metrics:
        """Those of the last call, as from ``agent.losses``."""
        return {} if self._latest is None else self._latest.metrics()


class _Step:
    """The gradient for batches of one shape.

    Names: s and s′ are the observations and next observations, a the stored actions, ã = tanh(u) those that the
    actor chooses at s, ã′ at s′. The actor sees (s, s′), the critics (s, a) and (s, ã), their targets (s′, ã′).
    """

    def __init__(self, agent: SAC, batch: Batch, noise: Tensor) -> None:
        self.agent, self.tape = agent, Tape()
        tape, dtype = self.tape, agent.dtype
        self.seeds, self.size, self.actions = batch.action.shape
        self.batch = Batch(*(torch.empty_like(part, memory_format=torch.contiguous_format) for part in batch))
        self.noise = torch.empty_like(noise, memory_format=torch.contiguous_format)
        self._read(batch, noise)
        assert isinstance(agent.actor, VectorNetwork)
        assert isinstance(agent.critic, VectorNetwork)
        assert isinstance(agent.target, VectorNetwork)
        rough = (
            lower_precision(agent.config.matmul_dtype, agent.device) if agent.device.type == "cpu" else None
        )
        if rough is not None:
            # Only products between hidden layers are rounded: elsewhere it would save nothing.
            tape.do(torch.set_float32_matmul_precision, "highest")
        actor = Expansion(tape, agent.actor, dtype)
        critic = Expansion(tape, agent.critic, dtype)
        target = Expansion(tape, agent.target, dtype, trained=False)
        self.actor = VectorPass(tape, agent.actor, actor.weights, 2, self.size, hidden=rough)
        self.critic = VectorPass(tape, agent.critic, critic.weights, 2, self.size, hidden=rough)
        self.target = VectorPass(tape, agent.target, target.weights, 1, self.size, False, hidden=rough)

        self.alpha = tape(torch.exp, agent.log_alpha.detach())
        self.mean = self._constant(1 / self.size)
        self._choose()
        self._put_samples()
        g_critic = self._critic_loss(self._returns())
        slope = self.critic.backward(g_critic, self.start)
        assert slope is not None
        self.actor.backward(self._actor_loss(slope))
        actor.derive()
        critic.derive()
        self._temperature()

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Fill the gradient buffer."""
        self._read(batch, noise)
        self.tape.run()
        if self.agent.config.relaxed_penalty > 0:
            self._add_penalty()

    def metrics(self) -> Metrics:
        """Those of the last call; they take a tenth as long as a small step, and few are read."""
        least = self.least.mean((1, 2))
        return {
            "critic_loss": self.error.square().sum((1, 2)) * (0.5 / self.size),
            "actor_loss": -torch.addcmul(least, self.alpha, self.entropy),
            "q": self.q[:, 0].mean(1),
            "entropy": self.entropy.clone(),
            "alpha": self.alpha.clone(),
        }

    def _read(self, batch: Batch, noise: Tensor) -> None:
        for room, part in zip((*self.batch, self.noise), (*batch, noise), strict=True):
            room.copy_(part)

    def _choose(self) -> None:
        """ã and ã′ [S, 2B, A] with the entropy −log π of each [S, 2B]."""
        tape, config, batch = self.tape, self.agent.config, self.batch
        observations = [x.flatten(2) for x in (batch.observation, batch.next_observation)]
        self.start = observations[0].shape[2]
        for part, x in enumerate(observations):
            self.actor.enter(x, 0, part, part + 1)
        output = tape.cast(self.actor.forward(), torch.float32).flatten(1, 2)
        noise = self.noise.flatten(1, 2)
        self.raw = output[..., self.actions :]
        self.log_std = tape(torch.clamp, self.raw, config.log_std_min, config.log_std_max)
        self.stretch = tape(torch.mul, tape(torch.exp, self.log_std), noise)
        u = tape(torch.add, output[..., : self.actions], self.stretch)
        self.chosen = tape(torch.tanh, u)
        # −log π = Σ ½ noise² + log_std + log √2π + log(1 − tanh²u), and log(1 − tanh²u) = 2 (log 2 − u −
        # softplus(−2u)) does not underflow. With β = −2 the function gives −½ softplus(−2u).
        slope = tape(torch.add, u, tape(functional.softplus, u, beta=-2), alpha=-2)
        terms = tape(torch.sub, self.log_std, slope, alpha=2)
        terms = tape(torch.addcmul, terms, noise, noise, value=0.5)
        constant = self._constant(self.actions * (HALF_LOG_TWO_PI + 2 * LOG_TWO))
        self.entropies = tape(torch.add, tape.total(terms, 2), constant)

    def _put_samples(self) -> None:
        """The inputs of the critics, (s, a) and (s, ã), and of their targets, (s′, ã′)."""
        batch, size, start = self.batch, self.size, self.start
        self.critic.enter(batch.observation.flatten(2), 0)
        self.critic.enter(batch.action, start, 0, 1)
        self.critic.enter(self.chosen[:, :size], start, 1, 2)
        self.target.enter(batch.next_observation.flatten(2), 0)
        self.target.enter(self.chosen[:, size:], start)

    def _values(self, critic: VectorPass) -> Tensor:
        """What the critics say, [S, E, parts · B]."""
        values = self.tape.cast(critic.forward(), torch.float32)
        return values.view(self.seeds, -1, critic.parts * self.size)

    def _returns(self) -> Tensor:
        """y = r + γ (min Q − α log π) [S, B] at (s′, ã′)."""
        tape, batch = self.tape, self.batch
        least = tape(torch.amin, self._values(self.target), 1)
        value = tape(torch.addcmul, least, self.alpha[:, None], self.entropies[:, self.size :])
        return tape(torch.addcmul, batch.reward, batch.discount, value)

    def _critic_loss(self, y: Tensor) -> Tensor:
        """∂/∂Q [K, 2, B, 1] of ½ (Q − y)² at (s, a), and of −min Q at (s, ã), shared where critics tie."""
        tape, size = self.tape, self.size
        values = self._values(self.critic)
        self.q, chosen = values[..., :size], values[..., size:]
        self.error = tape(torch.sub, self.q, y[:, None])
        self.least = tape(torch.amin, chosen, 1, keepdim=True)
        g = torch.empty_like(values)
        tape(torch.mul, self.error, self.mean, out=g[..., :size])
        ties = tape(torch.eq, chosen, self.least, out=torch.empty_like(self.error))
        count = tape(torch.sum, ties, 1, keepdim=True)
        tape(torch.div, ties, tape(torch.mul, count, self._constant(-float(size))), out=g[..., size:])
        return tape.cast(g.view(-1, 2, size, 1), self.agent.dtype)

    def _actor_loss(self, slope: Tensor) -> Tensor:
        """∂/∂(mean, log_std) [S, 1, B, 2A] of α log π(ã) − min Q(s, ã), the slope being ∂(−min Q)/∂ã."""
        tape, size, actions = self.tape, self.size, self.actions
        a = self.chosen[:, :size]
        slope = tape.cast(slope, torch.float32)
        g = slope.new_empty(self.seeds, 1, size, 2 * actions)
        mean, log_std = g[:, 0, :, :actions], g[:, 0, :, actions:]
        share = tape(torch.mul, self.alpha, self.mean)[:, None, None]
        # Through tanh, and −log(1 − ã²) of log π: slope (1 − ã²) + 2 share ã = slope + ã (2 share − slope ã).
        inner = tape(torch.addcmul, tape(torch.add, share, share), slope, a, value=-1)
        tape(torch.addcmul, slope, a, inner, out=mean)
        outer = tape(torch.addcmul, tape(torch.neg, share), mean, self.stretch[:, :size])
        inside = tape(torch.eq, self.log_std[:, :size], self.raw[:, :size], out=torch.empty_like(outer))
        tape(torch.mul, outer, inside, out=log_std)
        return tape.cast(g, self.agent.dtype)

    def _temperature(self) -> None:
        """∂/∂log α of log α (entropy − target)."""
        tape, agent = self.tape, self.agent
        self.entropy = tape(torch.mul, tape.total(self.entropies[:, : self.size], 1), self.mean)
        assert agent.log_alpha.grad is not None
        tape(torch.sub, self.entropy, self._constant(agent.target_entropy), out=agent.log_alpha.grad)

    def _constant(self, value: float) -> Tensor:
        """A number as a tensor, which calls need not make each time."""
        return torch.full((), value, device=self.agent.device)

    def _add_penalty(self) -> None:
        """Autograd adds the penalty's gradient to what is there."""
        with torch.enable_grad():
            penalty = self.agent.config.relaxed_penalty * self.agent.penalty()
        if penalty.requires_grad:
            torch.autograd.backward(penalty)
