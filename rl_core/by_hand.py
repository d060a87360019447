"""The gradient of `rl_core.sac.SAC.losses` derived by hand, for networks on vectors.

It does no product that the losses do not need, runs observations and next observations (and for the critics
stored and chosen actions) through a network together, and reuses its memory; the numbers are those of autograd.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from rl_core.networks import Network
from rl_core.networks_vectors import FourierNetwork, VectorNetwork, act
from rl_core.replay import Batch
from rl_core.sac import HALF_LOG_TWO_PI, SAC, Metrics

__all__ = ["Arena", "HandGradient", "VectorPass", "can_derive"]

threshold_backward = torch.ops.aten.threshold_backward.grad_input


class Arena:
    """Buffers handed out in the order of asking, the same ones again after each `reset`."""

    def __init__(self) -> None:
        self._buffers: list[Tensor] = []
        self._next = 0

    def reset(self) -> None:
        """Begin a new step: all buffers are free."""
        self._next = 0

    def take(self, like: Tensor, *shape: int) -> Tensor:
        """Give a buffer of this shape, its contents arbitrary."""
        place = self._next
        self._next += 1
        if place == len(self._buffers):
            self._buffers.append(like.new_empty(shape))
        held = self._buffers[place]
        if held.shape != shape or held.dtype != like.dtype:
            held = self._buffers[place] = like.new_empty(shape)
        return held


class VectorPass:
    """Forward and backward through a vector network, given its expanded weights.

    Activations lie as ``[K·n, B, F]``, n = 1 for plain networks and the group's order for those in the Fourier
    form, where n products share the weights of lifting and head.

    Parameters
    ----------
    network
        Linear layers with rectifiers between; plain, or exact in the Fourier form.
    arena
        Where results are put.
    """

    def __init__(self, network: VectorNetwork, arena: Arena) -> None:
        self.arena = arena
        self.copies, self.ensemble = network.copies, network.ensemble or 1
        self.n = 1
        self.turn: Tensor | None = None
        self.turn_back: Tensor | None = None
        self.butterfly = False
        if isinstance(network, FourierNetwork):
            turn = network.transform.expand(self.copies, -1, -1)
            self.n = turn.shape[1]
            self.turn, self.turn_back = turn.contiguous(), turn.mT.contiguous() / self.n
            self.butterfly = network.transform.tolist() == [[1.0, 1.0], [1.0, -1.0]]
            self.entry_action, self.exit_action = network.lifting.action, network.head.action

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Give the output ``[K, B, out]`` for inputs ``[S, B, in]``, and what `backward` needs.

        The latter holds the input of each linear layer, and after each hidden one its rectified output.
        """
        s, batch, size = x.shape
        k, n = self.copies, self.n
        h = x
        if n > 1:
            moved = act(self.entry_action.to(x.dtype), x[:, None, None])
            h = moved.expand(s, self.ensemble, n, batch, size).reshape(k * n, batch, size)
        elif self.ensemble > 1:
            h = x[:, None].expand(s, self.ensemble, batch, size).reshape(k, batch, size)
        saved = [h]
        for i in range(0, len(weights) - 2, 2):
            if i:
                h = self._turned(h)
                saved.append(h)
            weight, bias = weights[i], weights[i + 1]
            # Layers without blocks of their own see all n parts as one longer batch.
            h = h.view(weight.shape[0], -1, h.shape[2])
            h = torch.baddbmm(bias, h, weight, out=self.arena.take(weight, *h.shape[:2], weight.shape[2]))
            h = h.view(k * n, batch, -1)
            if i:
                h = self._turned(h, back=True)
            h.clamp_min_(0)
            saved.append(h)
        if n == 1:
            return torch.baddbmm(weights[-1], h, weights[-2]), saved
        parts = torch.bmm(h.view(k, n * batch, -1), weights[-2]).view(k, n, batch, -1)
        return act(self.exit_action.to(x.dtype), parts).sum(1) + weights[-1], saved

    def backward(
        self,
        weights: Sequence[Tensor],
        saved: Sequence[Tensor],
        g: Tensor,
        gradients: Sequence[Tensor],
        inputs_after: int | None = None,
    ) -> Tensor | None:
        """Write the gradients of the weights; give that of the last columns of the input.

        Parameters
        ----------
        weights, saved
            As given to, and by, `forward`.
        g
            Gradient of the output, ``[K, B′, out]``. With ``inputs_after`` None it concerns the first B′ samples
            and weights alone. Otherwise B′ = B; its first half concerns the weights and its second the input.
        gradients
            Where to write, one for each weight and bias.
        inputs_after
            Give the gradient of the input's columns from this one on, ``[K, B/2, columns]``.
        """
        batch = g.shape[1]
        half = batch if inputs_after is None else batch // 2
        torch.sum(g[:, :half], 1, keepdim=True, out=gradients[-1])
        if self.n > 1:
            moved = act(self.exit_action.mT.to(g.dtype), g[:, None])
            g = moved.expand(-1, self.n, -1, -1).reshape(self.copies * self.n, batch, -1)
        place = len(saved) - 1
        for i in range(len(weights) - 2, -1, -2):
            h = saved[place][:, :batch]
            self._write(gradients[i], h[:, :half].mT, g[:, :half])
            if i < len(weights) - 2:
                self._write_bias(gradients[i + 1], g[:, :half])
            if i == 0:
                break
            weight = self._spread(weights[i])
            g = torch.bmm(g, weight.mT, out=self.arena.take(g, *h.shape))
            if i < len(weights) - 2:
                g = self._turned(g, transposed=True)
                place -= 1
            rectified = saved[place][:, :batch]
            g = threshold_backward(g, rectified, 0, grad_input=g)
            place -= 1
            if i > 2:
                g = self._turned(g, back=True, transposed=True)
        if inputs_after is None:
            return None
        inner = torch.bmm(g[:, half:], self._spread(weights[0])[:, inputs_after:].mT)
        if self.n == 1:
            return inner
        action = self.entry_action.mT[..., inputs_after:].to(g.dtype)
        if action.shape[1] > 1:
            action = action[:, inputs_after:]
        return act(action, inner.view(self.copies, self.n, half, -1)).sum(1)

    def _turned(self, h: Tensor, back: bool = False, transposed: bool = False) -> Tensor:
        """Apply the transform over the n parts, or its inverse, or the transpose of either."""
        turn = self.turn_back if back else self.turn
        if turn is None:
            return h
        rows, batch, size = h.shape
        flat = h.reshape(self.copies, self.n, batch * size)
        out = self.arena.take(h, *flat.shape)
        if not self.butterfly:
            turn = turn.to(h.dtype)
            torch.bmm(turn.mT if transposed else turn, flat, out=out)
        elif back:
            # (a + b)/2, and (a − b)/2 = (a + b)/2 − b: one pass over memory each, quicker than a product.
            torch.lerp(flat[:, 0], flat[:, 1], 0.5, out=out[:, 0])
            torch.sub(out[:, 0], flat[:, 1], out=out[:, 1])
        else:
            torch.add(flat[:, 0], flat[:, 1], out=out[:, 0])
            torch.sub(flat[:, 0], flat[:, 1], out=out[:, 1])
        return out.view(rows, batch, size)

    def _spread(self, weight: Tensor) -> Tensor:
        """A weight for each of the n parts, ``[K·n, in, out]``."""
        return weight if weight.shape[0] == self.copies * self.n else weight.repeat_interleave(self.n, 0)

    def _write(self, room: Tensor, a: Tensor, b: Tensor) -> None:
        """Put the product into ``room``, summed over the n parts where they share a weight."""
        if room.shape[0] == a.shape[0]:
            torch.bmm(a, b, out=room)
        else:
            product = torch.bmm(a, b, out=self.arena.take(room, a.shape[0], *room.shape[1:]))
            torch.sum(product.view(-1, self.n, *room.shape[1:]), 1, out=room)

    def _write_bias(self, room: Tensor, g: Tensor) -> None:
        if room.shape[0] == g.shape[0]:
            torch.sum(g, 1, keepdim=True, out=room)
        else:
            torch.sum(g.reshape(self.copies, -1, g.shape[2]), 1, keepdim=True, out=room)


def can_derive(network: Network) -> bool:
    """Whether the gradient of this network is known here: on vectors, rectified, without LayerNorm."""
    return isinstance(network, VectorNetwork) and network.rectified and not network.norm


class HandGradient:
    """Fills an agent's gradient buffer, as ``agent.losses(batch, noise)[0].backward()`` does.

    Parameters
    ----------
    agent
        Its actor and critic must be ones that `can_derive` accepts.
    """

    def __init__(self, agent: SAC) -> None:
        self.agent = agent
        self.arena = Arena()
        assert isinstance(agent.actor, VectorNetwork)
        assert isinstance(agent.critic, VectorNetwork)
        self.actor = VectorPass(agent.actor, self.arena)
        self.critic = VectorPass(agent.critic, self.arena)

    def __call__(self, batch: Batch, noise: Tensor) -> Metrics:
        """Derive the losses of encoded transitions; arguments and metrics as for ``agent.losses``."""
        agent = self.agent
        self.arena.reset()
        agent.flat.gradients.zero_()
        actor, critic = agent.actor.expand(), agent.critic.expand()
        with torch.no_grad():
            actor_weights = agent.products(weight.detach() for weight in actor)
            critic_weights = agent.products(weight.detach() for weight in critic)
            actor_gradients = self._rooms(actor, actor_weights)
            critic_gradients = self._rooms(critic, critic_weights)
            metrics = self._derive(
                batch, noise, actor_weights, critic_weights, actor_gradients, critic_gradients
            )
        self._hand_over([*actor, *critic], [*actor_gradients, *critic_gradients])
        return metrics

    def _derive(
        self,
        batch: Batch,
        noise: Tensor,
        actor_weights: list[Tensor],
        critic_weights: list[Tensor],
        actor_gradients: list[Tensor],
        critic_gradients: list[Tensor],
    ) -> Metrics:
        agent = self.agent
        config = agent.config
        s, size, actions = batch.action.shape
        alpha = agent.log_alpha.exp()
        observation, following = batch.observation, batch.next_observation
        if observation.ndim > 3:
            observation, following = observation.flatten(2), following.flatten(2)
        both = torch.cat([observation, following], 1).to(agent.dtype)
        output, actor_saved = self.actor.forward(actor_weights, both)
        output = output.float()
        raw = output[..., actions:]
        log_std = raw.clamp(config.log_std_min, config.log_std_max)
        stretch = log_std.exp() * noise.reshape(s, 2 * size, actions)
        before = output[..., :actions] + stretch
        chosen = before.tanh()
        log_prob = log_density(before, log_std, noise.view_as(before))

        inputs = torch.cat([following, chosen[:, size:]], 2).to(agent.dtype)
        target_weights = agent.products(agent.target.expand())
        q_next = self.critic.forward(target_weights, inputs)[0].float().view(s, -1, size).amin(1)
        y = batch.reward + batch.discount * (q_next - alpha[:, None] * log_prob[:, size:])

        actions_twice = torch.cat([batch.action, chosen[:, :size]], 1)
        twice = torch.cat([torch.cat([observation, observation], 1), actions_twice], 2).to(agent.dtype)
        value, critic_saved = self.critic.forward(critic_weights, twice)
        value = value.float().view(s, -1, 2 * size)
        q, q_chosen = value[..., :size], value[..., size:]
        error = q - y[:, None]
        least = q_chosen.amin(1, keepdim=True)
        ties = (q_chosen == least).to(q.dtype)
        g = torch.cat([error, -ties / ties.sum(1, keepdim=True)], 2).div_(size)
        g = g.view(-1, 2 * size, 1).to(agent.dtype)
        split = observation.shape[2]
        inner = self.critic.backward(critic_weights, critic_saved, g, critic_gradients, split)
        assert inner is not None
        slope = inner.float().view(s, -1, size, actions).sum(1)

        now = chosen[:, :size]
        share = (alpha / size)[:, None, None]
        g_before = slope * (1 - now.square()) + 2 * share * now
        inside = (log_std == raw)[:, :size]
        g_log_std = (g_before * stretch[:, :size] - share) * inside
        g = torch.cat([g_before, g_log_std], 2).to(agent.dtype)
        self.actor.backward(actor_weights, actor_saved, g, actor_gradients)

        mean_log_prob = log_prob[:, :size].mean(1)
        assert agent.log_alpha.grad is not None
        torch.neg(mean_log_prob + agent.target_entropy, out=agent.log_alpha.grad)
        return {
            "critic_loss": 0.5 * error.square().sum(1).mean(1),
            "actor_loss": alpha * mean_log_prob - least.mean((1, 2)),
            "q": q[:, 0].mean(1),
            "entropy": -mean_log_prob,
            "alpha": alpha,
        }

    def _rooms(self, expanded: Sequence[Tensor], weights: Sequence[Tensor]) -> list[Tensor]:
        """Where gradients go: straight to a parameter's own, or to a buffer, to be handed on."""
        rooms = []
        for tensor, weight in zip(expanded, weights, strict=True):
            own = tensor.grad if tensor.is_leaf and tensor.dtype == weight.dtype else None
            rooms.append(self.arena.take(weight, *weight.shape) if own is None else own)
        return rooms

    def _hand_over(self, expanded: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Carry gradients of expanded weights, and the penalty's, on to the parameters."""
        agent = self.agent
        outputs, seeds = [], []
        for tensor, gradient in zip(expanded, gradients, strict=True):
            if not tensor.is_leaf or gradient is not tensor.grad:
                outputs.append(tensor)
                seeds.append(gradient.to(tensor.dtype))
        if agent.config.gain_penalty > 0:
            penalty = agent.config.gain_penalty * agent.penalty()
            if penalty.requires_grad:
                outputs.append(penalty)
                seeds.append(torch.ones_like(penalty))
        if outputs:
            torch.autograd.backward(outputs, seeds)


def log_density(before: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Log-probability of tanh(before), where before = mean + std · noise, ``[…, A]`` to ``[…]``."""
    slope = 2 * (math.log(2) - before - functional.softplus(-2 * before))
    return (-0.5 * noise.square() - log_std - HALF_LOG_TWO_PI - slope).sum(-1)
