"""The gradient of `rl_core.sac.SAC.losses` derived by hand, for networks on rows.

It goes seed by seed, so that all that a seed's networks leave in memory stays in the processor's cache, shares
what the losses have in common and reuses its memory; the numbers are those of autograd.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from rl_core.networks import Network
from rl_core.networks_sets import SetNetwork
from rl_core.replay import Batch
from rl_core.sac import HALF_LOG_TWO_PI, SAC, Metrics
from rl_core.set_passes import Buffers, Entry, LiftingPass

__all__ = ["SetGradient", "SetPass", "can_derive_sets"]

AT_ONCE = 2**18
"""Numbers in a hidden layer's activations up to which several seeds go together."""

Weights = list[tuple[Tensor, ...]]
"""Of each layer, what its pass works with."""


class SetPass:
    """Forward and backward through a network on rows.

    Parameters
    ----------
    network
        One that `can_derive_sets` accepts.
    """

    def __init__(self, network: SetNetwork) -> None:
        self.ensemble = network.ensemble
        self.passes = network.passes()
        lifting = self.passes[0]
        assert isinstance(lifting, LiftingPass)
        self.lifting = lifting

    def expand(self, network: Network) -> Weights:
        """The weights of this network or of its target, differentiable in the parameters."""
        layers = (layer for _, layer in network.named_layers())
        return [one.expand(layer) for one, layer in zip(self.passes, layers, strict=True)]

    def enter(self, weights: Weights, entry: Entry) -> None:
        """Take an observation."""
        self.lifting.enter(weights[0], entry)

    def forward(self, weights: Weights, action: Tensor | None = None) -> Tensor:
        """Values [S, E, B] of the observation and actions [S, B, N], or an actor's output [S, B, 2N]."""
        h = self.lifting.activate(
            self.lifting.forward(weights[0], None if action is None else action.transpose(1, 2))
        )
        for one, own in zip(self.passes[1:], weights[1:], strict=True):
            h = one.activate(one.forward(own, h))
        if self.ensemble is None:
            return h.permute(0, 2, 3, 1).flatten(2)
        return h.view(-1, self.ensemble, h.shape[1])

    def backward(self, weights: Weights, g: Tensor, rooms: Weights | None) -> Tensor:
        """Write the gradients of weights into rooms; without any, give that of the actions [S, B, N]."""
        if self.ensemble is None:
            g = g.view(*g.shape[:2], 2, -1).permute(0, 3, 1, 2).contiguous()
        else:
            g = g.reshape(-1, g.shape[2], 1)
        for place in range(len(self.passes) - 1, -1, -1):
            one = self.passes[place]
            g = one.backward(weights[place], one.deactivate(g), None if rooms is None else rooms[place])
        return g.transpose(1, 2)


def can_derive_sets(network: Network) -> bool:
    """Whether the gradient of this network is known here: on rows that see one another by their mean.

    On the CPU alone: other devices have no use for small pieces of work one after the other.
    """
    on_cpu = next(network.parameters()).device.type == "cpu"
    return on_cpu and isinstance(network, SetNetwork) and len(network.passes()) > 0


class SetGradient:
    """Fills an agent's gradient buffer, as ``agent.losses(batch, noise)[0].backward()`` does.

    Parameters
    ----------
    agent
        Its actor and critic must be ones that `can_derive_sets` accepts.
    """

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        assert isinstance(agent.actor, SetNetwork)
        assert isinstance(agent.critic, SetNetwork)
        self.actor, self.critic = SetPass(agent.actor), SetPass(agent.critic)
        self.buffers = Buffers()

    def __call__(self, batch: Batch, noise: Tensor) -> Metrics:
        """Derive the losses of encoded transitions; arguments and metrics as for ``agent.losses``."""
        agent = self.agent
        agent.flat.gradients.zero_()
        actor, critic = self.actor.expand(agent.actor), self.critic.expand(agent.critic)
        with torch.no_grad():
            held = [self._products(w) for w in (actor, critic, self.critic.expand(agent.target))]
            rooms = [self._rooms("actor", held[0]), self._rooms("critic", held[1])]
            seeds, ensemble, found = len(batch.action), agent.config.ensemble, []
            several = self._at_once(batch)
            for start in range(0, seeds, several):
                one = slice(start, start + several)
                many = slice(start * ensemble, (start + several) * ensemble)
                parts = [
                    _part(w, copies)
                    for w, copies in zip((*held, *rooms), (one, many, many, one, many), strict=True)
                ]
                found.append(self._derive(one, Batch(*(x[one] for x in batch)), noise[one], *parts))
        self._hand_over([*actor, *critic], [*rooms[0], *rooms[1]])
        return {name: torch.cat([metrics[name] for metrics in found]) for name in found[0]}

    def _derive(
        self,
        seeds: slice,
        batch: Batch,
        noise: Tensor,
        actor: Weights,
        critic: Weights,
        target: Weights,
        actor_rooms: Weights,
        critic_rooms: Weights,
    ) -> Metrics:
        agent, size = self.agent, batch.action.shape[1]
        alpha = agent.log_alpha[seeds, None].exp()
        now, following = (Entry.of(x.to(agent.dtype)) for x in (batch.observation, batch.next_observation))

        self.actor.enter(actor, following)
        chosen = _Choice(agent, self.actor.forward(actor).float(), noise[:, 1])
        self.critic.enter(target, following)
        q_next = self.critic.forward(target, chosen.action.to(agent.dtype)).float().amin(1)
        y = batch.reward + batch.discount * (q_next - alpha * chosen.log_prob)

        self.critic.enter(critic, now)
        q = self.critic.forward(critic, batch.action.to(agent.dtype)).float()
        error = q - y[:, None]
        self.critic.backward(critic, (error / size).to(agent.dtype), critic_rooms)

        self.actor.enter(actor, now)
        chosen = _Choice(agent, self.actor.forward(actor).float(), noise[:, 0])
        value = self.critic.forward(critic, chosen.action.to(agent.dtype)).float()
        least = value.amin(1, keepdim=True)
        ties = (value == least).to(value.dtype)
        g = (-ties / ties.sum(1, keepdim=True) / size).to(agent.dtype)
        slope = self.critic.backward(critic, g, None).float()
        self.actor.backward(actor, chosen.gradient(slope, alpha / size).to(agent.dtype), actor_rooms)

        mean_log_prob = chosen.log_prob.mean(1)
        assert agent.log_alpha.grad is not None
        torch.neg(mean_log_prob + agent.target_entropy, out=agent.log_alpha.grad[seeds])
        return {
            "critic_loss": 0.5 * error.square().sum(1).mean(1),
            "actor_loss": alpha[:, 0] * mean_log_prob - least.mean((1, 2)),
            "q": q[:, 0].mean(1),
            "entropy": -mean_log_prob,
            "alpha": alpha[:, 0],
        }

    def _at_once(self, batch: Batch) -> int:
        """How many seeds go together."""
        numbers = batch.action[0].numel() * self.agent.config.ensemble * self.agent.config.width
        return max(1, AT_ONCE // numbers)

    def _products(self, weights: Weights) -> Weights:
        """Cast to the precision of the matrix products, apart from the graph of the expansion."""
        return [tuple(weight.detach().to(self.agent.dtype) for weight in own) for own in weights]

    def _rooms(self, network: str, weights: Weights) -> Weights:
        """Where gradients of weights go."""
        return [
            tuple(self.buffers.take(f"{network} {i} {j}", w, *w.shape) for j, w in enumerate(own))
            for i, own in enumerate(weights)
        ]

    def _hand_over(self, expanded: Weights, rooms: Weights) -> None:
        """Carry gradients of expanded weights, and the penalty's, on to the parameters."""
        agent = self.agent
        outputs = [tensor for own in expanded for tensor in own]
        seeds = [room.to(outputs[0].dtype) for own in rooms for room in own]
        if agent.config.gain_penalty > 0:
            penalty = agent.config.gain_penalty * agent.penalty()
            if penalty.requires_grad:
                outputs.append(penalty)
                seeds.append(torch.ones_like(penalty))
        torch.autograd.backward(outputs, seeds)


class _Choice:
    """Actions drawn from an actor's output ``[S, B, 2N]``, and the way back from them."""

    def __init__(self, agent: SAC, output: Tensor, noise: Tensor) -> None:
        mean, self.raw = output.chunk(2, dim=-1)
        self.log_std = self.raw.clamp(agent.config.log_std_min, agent.config.log_std_max)
        self.stretch = self.log_std.exp() * noise
        before = mean + self.stretch
        self.action = before.tanh()
        self.log_prob = log_density(before, self.log_std, noise)

    def gradient(self, slope: Tensor, share: Tensor) -> Tensor:
        """The gradient of the output, given that of −Q in the actions; ``share`` is α/B, ``[S, 1]``."""
        g_mean = slope * (1 - self.action.square()) + 2 * share[..., None] * self.action
        g_log_std = (g_mean * self.stretch - share[..., None]) * (self.log_std == self.raw)
        return torch.cat([g_mean, g_log_std], dim=2)


def _part(weights: Weights, copies: slice) -> Weights:
    """Those of some copies."""
    return [tuple(weight[copies] for weight in own) for own in weights]


def log_density(before: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Log-probability of tanh(before), where before = mean + std · noise, ``[…, A]`` to ``[…]``."""
    slope = 2 * (math.log(2) - before - functional.softplus(-2 * before))
    return (-0.5 * noise.square() - log_std - HALF_LOG_TWO_PI - slope).sum(-1)
