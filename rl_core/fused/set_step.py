"""The gradient of `rl_core.sac.SAC.losses` derived by hand, for networks on rows.

It goes seed by seed, so that what a seed's networks leave in memory is small, shares what the losses have in
common and reuses its memory; the numbers are those of autograd.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from rl_core.fused.recorder import Tape
from rl_core.fused.set_entry import Entry, LiftingPass
from rl_core.fused.set_layers import LayerPass, layer_pass
from rl_core.layers.sets import SetLifting
from rl_core.networks.base import Network
from rl_core.networks.sets import SetNetwork
from rl_core.replay import Batch, Metrics
from rl_core.tanh_normal import HALF_LOG_TWO_PI

if TYPE_CHECKING:
    from rl_core.sac import SAC

__all__ = ["SetGradient", "SetPass", "supports_sets"]

AT_ONCE = 2**18
"""Numbers in a hidden layer's activations up to which several seeds go together."""

Weights = list[tuple[Tensor, ...]]
"""Of each layer, what its pass works with."""


class SetPass:
    """Forward and backward through a network on rows.

    Parameters
    ----------
    tape : Tape
    network : SetNetwork
        One that `supports_sets` accepts.
    """

    def __init__(self, tape: Tape, network: SetNetwork) -> None:
        self.tape, self.ensemble = tape, network.ensemble
        self.passes = layer_passes(tape, network)
        lifting = self.passes[0]
        assert isinstance(lifting, LiftingPass)
        self.lifting = lifting

    def expand(self, network: Network) -> Weights:
        """What the weights of this network or of its target are made of, differentiable in the parameters."""
        layers = (layer for _, layer in network.named_layers())
        return [one.expand(layer) for one, layer in zip(self.passes, layers, strict=True)]

    def prepare(self, sources: Weights, dtype: torch.dtype, trained: bool) -> Weights:
        """The weights, from what `expand` gives, in the precision of the products."""
        prepared = (one.prepare(own, trained) for one, own in zip(self.passes, sources, strict=True))
        return [tuple(self.tape.cast(w, dtype) for w in own) for own in prepared]

    def collect(self, sources: Weights, rooms: Weights) -> Weights:
        """From the gradients of weights those of what `expand` gives."""
        cast = [tuple(self.tape.cast(room, torch.float32) for room in own) for own in rooms]
        return [one.collect(*both) for one, *both in zip(self.passes, sources, cast, strict=True)]

    def enter(self, weights: Weights, entry: Entry) -> None:
        """Take an observation."""
        self.lifting.enter(weights[0], entry)

    def forward(self, weights: Weights, action: Tensor | None = None) -> Tensor:
        """Values [S, E, B] of the observation and actions [S, B, N], or an actor's output [S, N, B, 2]."""
        action = None if action is None else action.transpose(1, 2)
        h = self.lifting.activate(self.lifting.forward(weights[0], action))
        for one, own in zip(self.passes[1:], weights[1:], strict=True):
            h = one.activate(one.forward(own, h))
        return h if self.ensemble is None else h.view(-1, self.ensemble, h.shape[1])

    def backward(self, weights: Weights, g: Tensor, rooms: Weights | None) -> Tensor:
        """Write the gradients of weights into rooms; without any, give that of the actions [S, B, N]."""
        if self.ensemble is not None:
            g = g.view(-1, g.shape[2], 1)
        for place in range(len(self.passes) - 1, -1, -1):
            one = self.passes[place]
            g = one.backward(weights[place], one.deactivate(g), None if rooms is None else rooms[place])
        return g.transpose(1, 2)


def supports_sets(network: Network) -> bool:
    """Whether the gradient of this network is known here: on rows that see one another by their mean.

    On the CPU alone: other devices have no use for small pieces of work one after the other.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    return on_cpu and type(network) is SetNetwork and len(layer_passes(Tape(), network)) > 0


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


class SetGradient:
    """Fills an agent's gradient buffer, as ``agent.losses(batch, noise)[0].backward()`` does.

    Parameters
    ----------
    agent
        Its actor and critic must be ones that `supports_sets` accepts.
    """

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        self._steps: dict[tuple[torch.Size, ...], _Step] = {}
        self._latest: _Step | None = None

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Derive the losses of encoded transitions; arguments as for ``agent.losses``."""
        key = tuple(part.shape for part in batch)
        if key not in self._steps:
            self._steps[key] = _Step(self.agent, batch, noise)
        self._latest = self._steps[key]
        self._latest(batch, noise)

    def metrics(self) -> Metrics:
        """Those of the last call, as from ``agent.losses``."""
        return {} if self._latest is None else self._latest.metrics()


class _Step:
    """The gradient for batches of one shape.

    Filters become matrices, whose gradients are handed on to the parameters, by autograd; all between is noted
    on a tape.
    """

    def __init__(self, agent: SAC, batch: Batch, noise: Tensor) -> None:
        assert isinstance(agent.actor, SetNetwork)
        assert isinstance(agent.critic, SetNetwork)
        self.agent, self.tape = agent, Tape()
        self.actor, self.critic = SetPass(self.tape, agent.actor), SetPass(self.tape, agent.critic)
        self.batch = Batch(*(part.clone(memory_format=torch.contiguous_format) for part in batch))
        self.noise = noise.clone(memory_format=torch.contiguous_format)
        passes = self.actor, self.critic, self.critic
        with torch.no_grad():
            self.sources = [[tuple(map(_clone, own)) for own in network] for network in self._expand()]
            weights = [
                one.prepare(own, agent.dtype, trained)
                for one, own, trained in zip(passes, self.sources, (True, True, False), strict=True)
            ]
            rooms = [[tuple(map(torch.zeros_like, own)) for own in network] for network in weights[:2]]
            self.alpha = self.tape(torch.exp, agent.log_alpha.detach())
            seeds, ensemble = len(batch.action), agent.config.ensemble
            several = max(1, AT_ONCE // (batch.action[0].numel() * ensemble * agent.config.width))
            self.found: list[Metrics] = []
            for start in range(0, seeds, several):
                one = slice(start, start + several)
                many = slice(start * ensemble, (start + several) * ensemble)
                copies = (one, many, many, one, many)
                parts = [_part(w, c) for w, c in zip((*weights, *rooms), copies, strict=True)]
                self.found.append(self._derive(one, *parts))
            collected = zip(passes, self.sources, rooms, strict=False)
            self.gradients = [g for one, *both in collected for g in _flat(one.collect(*both))]

    def __call__(self, batch: Batch, noise: Tensor) -> None:
        """Fill the gradient buffer."""
        self.agent.flat.gradients.zero_()
        expanded = self._expand()
        with torch.no_grad():
            for room, part in zip((*self.batch, self.noise), (*batch, noise), strict=True):
                room.copy_(part)
            for held, values in zip(self.sources, expanded, strict=True):
                for room, value in zip(_flat(held), _flat(values), strict=True):
                    room.copy_(value)
            self.tape.run()
        self._hand_over(_flat(expanded[0]) + _flat(expanded[1]))

    def metrics(self) -> Metrics:
        """Those of the last call."""
        return {name: torch.cat([metrics[name] for metrics in self.found]) for name in self.found[0]}

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
        actor_rooms: Weights,
        critic_rooms: Weights,
    ) -> Metrics:
        agent, tape, dtype = self.agent, self.tape, self.agent.dtype
        batch, noise = Batch(*(x[seeds] for x in self.batch)), self.noise[seeds]
        size, alpha = batch.action.shape[1], self.alpha[seeds, None]
        now = Entry.of(tape, tape.cast(batch.observation, dtype))
        following = Entry.of(tape, tape.cast(batch.next_observation, dtype))

        self.actor.enter(actor, following)
        chosen = _Choice(tape, agent, self.actor.forward(actor), noise[:, 1])
        self.critic.enter(target, following)
        least = tape(torch.amin, self._values(target, chosen.action), 1)
        value = tape(torch.addcmul, least, alpha, chosen.log_prob, value=-1)
        y = tape(torch.addcmul, batch.reward, batch.discount, value)

        self.critic.enter(critic, now)
        q = self._values(critic, batch.action)
        first = tape(torch.mean, q[:, 0], 1)
        error = tape(torch.sub, q, y[:, None])
        g = tape.cast(tape(torch.div, error, size), dtype)
        self.critic.backward(critic, g, critic_rooms)

        self.actor.enter(actor, now)
        chosen = _Choice(tape, agent, self.actor.forward(actor), noise[:, 0])
        values = self._values(critic, chosen.action)
        least = tape(torch.amin, values, 1, keepdim=True)
        ties = tape(torch.eq, values, least, out=torch.empty_like(values))
        count = tape.total(ties, 1)
        g = tape(torch.div, ties, tape(torch.mul, count, -size)[:, None])
        slope = self.critic.backward(critic, tape.cast(g, dtype), None)
        slope = tape.cast(slope, torch.float32)
        self.actor.backward(actor, chosen.backward(slope, tape(torch.div, alpha, size)), actor_rooms)

        log_prob = tape(torch.mean, chosen.log_prob, 1)
        assert agent.log_alpha.grad is not None
        entropy = tape(torch.neg, log_prob)
        tape(torch.sub, entropy, agent.target_entropy, out=agent.log_alpha.grad[seeds])
        squares = tape.total(tape(torch.square, error), 1)
        gain = tape(torch.mean, least, (1, 2))
        return {
            "critic_loss": tape(torch.mul, tape(torch.mean, squares, 1), 0.5),
            "actor_loss": tape(torch.sub, tape(torch.mul, alpha[:, 0], log_prob), gain),
            "q": first,
            "entropy": entropy,
            "alpha": alpha[:, 0],
        }

    def _values(self, weights: Weights, action: Tensor) -> Tensor:
        """What critics say of the observation that they have, [S, E, B]."""
        values = self.critic.forward(weights, self.tape.cast(action, self.agent.dtype))
        return self.tape.cast(values, torch.float32)

    def _hand_over(self, expanded: list[Tensor]) -> None:
        """Carry gradients of expanded weights, and the penalty's, on to the parameters."""
        agent = self.agent
        seeds = self.gradients
        if agent.config.relaxed_penalty > 0:
            penalty = agent.config.relaxed_penalty * agent.penalty()
            if penalty.requires_grad:
                expanded, seeds = [*expanded, penalty], [*seeds, torch.ones_like(penalty)]
        torch.autograd.backward(expanded, seeds)


class _Choice:
    """Actions drawn from an actor's output ``[S, N, B, 2]``, and the way back from them."""

    def __init__(self, tape: Tape, agent: SAC, output: Tensor, noise: Tensor) -> None:
        self.tape, self.output, config = tape, output, agent.config
        mean, raw = tape.cast(output, torch.float32).transpose(1, 2).unbind(3)
        log_std = tape(torch.clamp, raw, config.log_std_min, config.log_std_max)
        self.inside = tape(torch.eq, log_std, raw, out=torch.empty_like(noise))
        self.stretch = tape(torch.mul, tape(torch.exp, log_std), noise)
        before = tape(torch.add, mean, self.stretch)
        self.action = tape(torch.tanh, before)
        # −log π = Σ ½ noise² + log_std + log √2π + log(1 − tanh²u), and log(1 − tanh²u) = 2 (log 2 − u −
        # softplus(−2u)) does not underflow.
        soft = tape(functional.softplus, tape(torch.mul, before, -2))
        terms = tape(torch.sub, log_std, tape(torch.add, before, soft), alpha=2)
        terms = tape(torch.addcmul, terms, noise, noise, value=0.5)
        constant = noise.shape[2] * (HALF_LOG_TWO_PI + 2 * math.log(2))
        self.log_prob = tape(torch.neg, tape(torch.add, tape.total(terms, 2), constant))

    def backward(self, slope: Tensor, share: Tensor) -> Tensor:
        """The gradient of the output, given that of −Q in the actions; ``share`` is α/B, ``[S, 1]``."""
        tape, a = self.tape, self.action
        g = slope.new_empty(self.output.shape)
        mean, log_std = g.transpose(1, 2).unbind(3)
        # Through tanh, and −log(1 − ã²) of log π: slope (1 − ã²) + 2 share ã.
        flat = tape(torch.addcmul, slope.new_ones(()), a, a, value=-1)
        double = tape(torch.mul, a, tape(torch.mul, share, 2)[..., None])
        tape(torch.addcmul, double, slope, flat, out=mean)
        outer = tape(torch.mul, mean, self.stretch)
        tape(torch.mul, tape(torch.sub, outer, share[..., None]), self.inside, out=log_std)
        return tape.cast(g, self.output.dtype)


def _clone(weight: Tensor) -> Tensor:
    return weight.clone(memory_format=torch.contiguous_format)


def _part(weights: Weights, copies: slice) -> Weights:
    """Those of some copies."""
    return [tuple(weight[copies] for weight in own) for own in weights]


def _flat(weights: Weights) -> list[Tensor]:
    """All of them in one list."""
    return [weight for own in weights for weight in own]
