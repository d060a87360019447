"""The gradient of `rl_core.sac.SAC.losses` for networks on rows; the same numbers as by autograd.

It goes through few seeds at a time, so that their activations fit into a cache, computes once what the losses share,
and reuses its memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rl_core.experience.replay import Batch, Metrics
from rl_core.fused.recorder import Tape
from rl_core.fused.sac_gradient import LossGradient, RowLossGradient, SampledActions
from rl_core.fused.set_entry import Entry, LiftingPass
from rl_core.fused.set_layers import LayerPass, layer_pass
from rl_core.layers.sets import SetLifting
from rl_core.networks.base import Network
from rl_core.networks.sets import SetNetwork

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["SetPass", "SetStep", "supports_sets"]

AT_ONCE = 2**18
"""Numbers in a hidden layer's activations up to which several seeds go together."""

Weights = list[tuple[Tensor, ...]]
"""Tensors of each layer: sources, weights or gradients."""


class SetPass:
    """Forward and backward through a network on rows.

    Parameters
    ----------
    tape : Tape
    network : SetNetwork
        One that `supports_sets` accepts.
    """

    def __init__(self, tape: Tape, network: SetNetwork) -> None:
        self.tape, self.ensemble, self.row_values = tape, network.ensemble, network.row_values
        self.passes = layer_passes(tape, network)
        lifting = self.passes[0]
        assert isinstance(lifting, LiftingPass)
        self.lifting = lifting

    def expand(self, network: Network) -> Weights:
        """Sources of the weights of this network or of its target, differentiable in the parameters."""
        layers = (layer for _, layer in network.named_layers())
        return [one.expand(layer) for one, layer in zip(self.passes, layers, strict=True)]

    def prepare(self, sources: Weights, dtype: torch.dtype, trained: bool) -> Weights:
        """Turn the sources from `expand` into weights in the precision of the products."""
        prepared = (one.prepare(own, trained) for one, own in zip(self.passes, sources, strict=True))
        return [tuple(self.tape.cast(w, dtype) for w in own) for own in prepared]

    def collect(self, sources: Weights, buffers: Weights) -> Weights:
        """Turn the gradients of weights into those of their sources."""
        cast = [tuple(self.tape.cast(buffer, torch.float32) for buffer in own) for own in buffers]
        return [one.collect(*both) for one, *both in zip(self.passes, sources, cast, strict=True)]

    def enter(self, weights: Weights, entry: Entry) -> None:
        """Take an observation."""
        self.lifting.enter(weights[0], entry)

    def forward(self, weights: Weights, action: Tensor | None = None) -> Tensor:
        """Values [S, E, B] (of rows [S, E, N, B]) of the observation and actions [S, B, N], or an actor's output.

        The latter is [S, N, B, 2].
        """
        action = None if action is None else action.transpose(1, 2)
        h = self.lifting.activate(self.lifting.forward(weights[0], action))
        for one, own in zip(self.passes[1:], weights[1:], strict=True):
            h = one.activate(one.forward(own, h))
        if self.ensemble is None:
            return h
        return h.view(-1, self.ensemble, *h.shape[1:-1])

    def backward(self, weights: Weights, g: Tensor, buffers: Weights | None) -> Tensor:
        """Write the gradients of weights into buffers; without any, return that of the actions [S, B, N]."""
        if self.ensemble is not None:
            g = g.flatten(0, 1).unsqueeze(-1)
        for place in range(len(self.passes) - 1, -1, -1):
            one = self.passes[place]
            g = one.backward(weights[place], one.deactivate(g), None if buffers is None else buffers[place])
        return g.transpose(1, 2)


def supports_sets(network: Network) -> bool:
    """Return whether `SetStep` can derive this network: rows that see one another by their mean, without sectors.

    Only on the CPU: on other devices small pieces of work one after the other are slow.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    if not on_cpu or type(network) is not SetNetwork or network.symmetry.sectors is not None:
        return False
    return len(layer_passes(Tape(), network)) > 0


def layer_passes(tape: Tape, network: SetNetwork) -> list[LayerPass]:
    """Return the pass of each layer, or none where a layer has none.

    Layers are recognised by their exact type: a subclass may compute something else.
    """
    found: list[LayerPass | None] = []
    for name, layer in network.named_layers():
        activation = network.activation if name in network.activated else None
        if type(layer) is SetLifting:
            found.append(LiftingPass(tape, layer, activation))
        else:
            found.append(layer_pass(tape, layer, activation))
    known = [one for one in found if one is not None]
    return known if len(known) == len(found) else []


class SetStep:
    """The gradient for batches of one shape.

    Filters become matrices, and their gradients those of the parameters, by autograd; all between is recorded on a
    tape.

    Parameters
    ----------
    agent
        Its actor and critic must be ones that `supports_sets` accepts.
    batch, noise
        Arguments as for ``agent.losses``, of the shapes to come.
    """

    def __init__(self, agent: SAC, batch: Batch, noise: Tensor) -> None:
        assert isinstance(agent.actor, SetNetwork)
        assert isinstance(agent.critic, SetNetwork)
        self.agent, self.tape = agent, Tape()
        self.actor, self.critic = SetPass(self.tape, agent.actor), SetPass(self.tape, agent.critic)
        self.batch = Batch(*(part.clone(memory_format=torch.contiguous_format) for part in batch))
        self.noise = noise.clone(memory_format=torch.contiguous_format)
        passes = self.actor, self.critic, self.critic
        self.sources = [[tuple(map(_clone, own)) for own in network] for network in self._expand()]
        weights = [
            one.prepare(own, agent.dtype, trained)
            for one, own, trained in zip(passes, self.sources, (True, True, False), strict=True)
        ]
        buffers = [[tuple(map(torch.zeros_like, own)) for own in network] for network in weights[:2]]
        seeds, ensemble = len(batch.action), agent.config.ensemble
        several = max(1, AT_ONCE // (batch.action[0].numel() * ensemble * agent.config.width))
        self.losses: list[LossGradient] = []
        for start in range(0, seeds, several):
            one = slice(start, start + several)
            many = slice(start * ensemble, (start + several) * ensemble)
            copies = (one, many, many, one, many)
            parts = [_part(w, c) for w, c in zip((*weights, *buffers), copies, strict=True)]
            self.losses.append(self._derive(one, *parts))
        collected = zip(passes, self.sources, buffers, strict=False)
        self.gradients = [g for one, *both in collected for g in _flat(one.collect(*both))]

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Overwrite the gradient buffer."""
        self.agent.flat.gradients.zero_()
        expanded = self._expand()
        with torch.no_grad():
            for buffer, part in zip((*self.batch, self.noise), (*batch, noise), strict=True):
                buffer.copy_(part)
            for stored, values in zip(self.sources, expanded, strict=True):
                for buffer, value in zip(_flat(stored), _flat(values), strict=True):
                    buffer.copy_(value)
            self.tape.run()
        torch.autograd.backward(_flat(expanded[0]) + _flat(expanded[1]), self.gradients)

    def metrics(self) -> Metrics:
        """Metrics of the last call."""
        parts = [loss.metrics() for loss in self.losses]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _expand(self) -> list[Weights]:
        """Of the actor, the critics and their targets."""
        agent = self.agent
        trained = [self.actor.expand(agent.actor), self.critic.expand(agent.critic)]
        with torch.no_grad():
            return [*trained, self.critic.expand(agent.target)]

    def _derive(
        self,
        seeds: slice,
        actor: Weights,
        critic: Weights,
        target: Weights,
        actor_gradients: Weights,
        critic_gradients: Weights,
    ) -> LossGradient:
        tape, dtype = self.tape, self.agent.dtype
        batch, noise = Batch(*(x[seeds] for x in self.batch)), self.noise[seeds]
        rows = self.critic.row_values
        loss = (RowLossGradient if rows else LossGradient)(tape, self.agent, batch, seeds)
        now = Entry.of(tape, tape.cast(batch.observation, dtype))
        following = Entry.of(tape, tape.cast(batch.next_observation, dtype))

        sampled = self._sample(actor, following, noise[:, 1])
        self.critic.enter(target, following)
        y = loss.targets(
            self._values(target, sampled.action),
            sampled.entropies if rows else sampled.entropy,
        )

        self.critic.enter(critic, now)
        # Copied, as the next pass through the critics reuses the memory of their values.
        q = tape(torch.add, self._values(critic, batch.action), 0)
        self.critic.backward(critic, tape.cast(loss.of_critic(q, y), dtype), critic_gradients)

        sampled = self._sample(actor, now, noise[:, 0])
        g = loss.of_actor(self._values(critic, sampled.action))
        slope = tape.cast(self.critic.backward(critic, tape.cast(g, dtype), None), torch.float32)
        self.actor.backward(actor, self._actor_gradient(sampled, slope, loss.share), actor_gradients)
        loss.of_temperature(sampled.entropy)
        return loss

    def _sample(self, actor: Weights, observation: Entry, noise: Tensor) -> SampledActions:
        """The actor's actions at an observation."""
        self.actor.enter(actor, observation)
        output = self.tape.cast(self.actor.forward(actor), torch.float32)
        mean, log_std = output.transpose(1, 2).unbind(3)
        return SampledActions(self.tape, self.agent.config, mean, log_std, noise)

    def _values(self, weights: Weights, action: Tensor) -> Tensor:
        """Q values [S, E, B] or [S, E, N, B] of actions at the observation that was entered."""
        values = self.critic.forward(weights, self.tape.cast(action, self.agent.dtype))
        return self.tape.cast(values, torch.float32)

    def _actor_gradient(self, sampled: SampledActions, slope: Tensor, share: Tensor) -> Tensor:
        """∂/∂(mean, log_std) [S, N, B, 2] of α log π(ã) − min Q(s, ã), the slope being ∂(−min Q)/∂ã."""
        tape, a = self.tape, sampled.action
        g = slope.new_empty(len(a), a.shape[2], a.shape[1], 2)
        mean, log_std = g.transpose(1, 2).unbind(3)
        # Through tanh, and −log(1 − ã²) of log π: slope (1 − ã²) + 2 share ã.
        flat = tape(torch.addcmul, slope.new_ones(()), a, a, value=-1)
        double = tape(torch.mul, a, tape(torch.mul, share, 2)[:, None, None])
        tape(torch.addcmul, double, slope, flat, out=mean)
        outer = tape(torch.mul, mean, sampled.stretch)
        tape(
            torch.mul,
            tape(torch.sub, outer, share[:, None, None]),
            sampled.unclamped(a.shape[1]),
            out=log_std,
        )
        return tape.cast(g, self.agent.dtype)


def _clone(weight: Tensor) -> Tensor:
    return weight.clone(memory_format=torch.contiguous_format)


def _part(weights: Weights, copies: slice) -> Weights:
    """Those of some copies."""
    return [tuple(weight[copies] for weight in own) for own in weights]


def _flat(weights: Weights) -> list[Tensor]:
    """All of them in one list."""
    return [weight for own in weights for weight in own]
