"""The gradient of `rl_core.sac.SAC.losses` for networks on vectors; the same numbers as by autograd.

It computes no product that the losses do not need, runs observations and next observations (and for the critics
stored and sampled actions) through a network together, and reuses its memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl_core.experience.replay import Batch, Metrics
from rl_core.fused.recorder import Tape
from rl_core.fused.sac_gradient import LossGradient, SampledActions
from rl_core.fused.vector_activation import ACTIVATIONS
from rl_core.fused.vector_blocks import BlockPass
from rl_core.fused.vector_network import VectorPass
from rl_core.fused.vector_weights import Expansion, supports_layers
from rl_core.networks.base import Network
from rl_core.networks.vectors import FourierNetwork, VectorNetwork
from rl_core.precision import lower_precision

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["VectorStep", "supports_vectors"]


def supports_vectors(network: Network) -> bool:
    """Return whether `VectorStep` can derive this network: on vectors, without values of rows.

    Network and layers are recognised by their exact types: a subclass may compute something else.
    """
    if type(network) not in (VectorNetwork, FourierNetwork) or not supports_layers(network):
        return False
    assert isinstance(network, VectorNetwork)
    return network.activation in ACTIVATIONS and not network.row_values


class VectorStep:
    """The gradient for batches of one shape.

    Names: s and s′ are the observations and next observations, a the stored actions, ã = tanh(u) those that the
    actor chooses at s, ã′ at s′. The actor sees (s, s′), the critics (s, a) and (s, ã), their targets (s′, ã′).

    Parameters
    ----------
    agent
        Its actor and critic must be ones that `supports_vectors` accepts; its parameters stay where they are.
    batch, noise
        Arguments as for ``agent.losses``, of the shapes to come.
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
        form = BlockPass if agent.actor.residual else VectorPass
        self.actor = form(tape, agent.actor, actor.weights, 2, self.size, hidden=rough)
        self.critic = form(tape, agent.critic, critic.weights, 2, self.size, hidden=rough)
        self.target = form(tape, agent.target, target.weights, 1, self.size, False, hidden=rough)

        self.loss = LossGradient(tape, agent, self.batch)
        self.sampled = self._sample()
        self._enter_critics()
        y = self.loss.targets(self._values(self.target), self.sampled.entropy[:, self.size :])
        slope = self.critic.backward(self._critic_gradient(y), self.start)
        assert slope is not None
        self.actor.backward(self._actor_gradient(slope))
        actor.derive()
        critic.derive()
        self.loss.of_temperature(self.sampled.entropy[:, : self.size])

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Overwrite the gradient buffer."""
        self._read(batch, noise)
        self.tape.run()

    def metrics(self) -> Metrics:
        """Metrics of the last call."""
        return self.loss.metrics()

    @torch.no_grad()
    def _read(self, batch: Batch, noise: Tensor) -> None:
        for buffer, part in zip((*self.batch, self.noise), (*batch, noise), strict=True):
            buffer.copy_(part)

    def _sample(self) -> SampledActions:
        """ã and ã′, side by side [S, 2B, A]."""
        observations = [x.flatten(2) for x in (self.batch.observation, self.batch.next_observation)]
        self.start = observations[0].shape[2]
        for part, x in enumerate(observations):
            self.actor.enter(x, 0, part, part + 1)
        output = self.tape.cast(self.actor.forward(), torch.float32).flatten(1, 2)
        mean, log_std = output[..., : self.actions], output[..., self.actions :]
        return SampledActions(self.tape, self.agent.config, mean, log_std, self.noise.flatten(1, 2))

    def _enter_critics(self) -> None:
        """Copy the inputs of the critics, (s, a) and (s, ã), and of their targets, (s′, ã′)."""
        batch, size, start, sampled = self.batch, self.size, self.start, self.sampled.action
        self.critic.enter(batch.observation.flatten(2), 0)
        self.critic.enter(batch.action, start, 0, 1)
        self.critic.enter(sampled[:, :size], start, 1, 2)
        self.target.enter(batch.next_observation.flatten(2), 0)
        self.target.enter(sampled[:, size:], start)

    def _values(self, critic: VectorPass) -> Tensor:
        """Q values [S, E, parts · B]."""
        values = self.tape.cast(critic.forward(), torch.float32)
        return values.view(self.seeds, -1, critic.parts * self.size)

    def _critic_gradient(self, y: Tensor) -> Tensor:
        """∂/∂Q [K, 2, B, 1] of ½ (Q − y)² at (s, a), and of −min Q at (s, ã)."""
        size, values = self.size, self._values(self.critic)
        g = torch.empty_like(values)
        self.loss.of_critic(values[..., :size], y, out=g[..., :size])
        self.loss.of_actor(values[..., size:], out=g[..., size:])
        return self.tape.cast(g.view(-1, 2, size, 1), self.agent.dtype)

    def _actor_gradient(self, slope: Tensor) -> Tensor:
        """∂/∂(mean, log_std) [S, 1, B, 2A] of α log π(ã) − min Q(s, ã), the slope being ∂(−min Q)/∂ã."""
        tape, size, actions, sampled = self.tape, self.size, self.actions, self.sampled
        a, slope = sampled.action[:, :size], tape.cast(slope, torch.float32)
        g = slope.new_empty(self.seeds, 1, size, 2 * actions)
        mean, log_std = g[:, 0, :, :actions], g[:, 0, :, actions:]
        share = self.loss.share[:, None, None]
        # Through tanh, and −log(1 − ã²) of log π: slope (1 − ã²) + 2 share ã = slope + ã (2 share − slope ã).
        inner = tape(torch.addcmul, tape(torch.add, share, share), slope, a, value=-1)
        tape(torch.addcmul, slope, a, inner, out=mean)
        outer = tape(torch.addcmul, tape(torch.neg, share), mean, sampled.stretch[:, :size])
        tape(torch.mul, outer, sampled.unclamped(size), out=log_std)
        return tape.cast(g, self.agent.dtype)
