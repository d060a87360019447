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
from rl_core.networks_vectors import FourierNetwork, VectorNetwork
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

    Parameters
    ----------
    network
        Linear layers with rectifiers between; plain, or exact in the Fourier form.
    arena
        Where results are put.
    """

    def __init__(self, network: VectorNetwork, arena: Arena) -> None:
        self.arena = arena
        self.copies = network.copies
        self.blocks, self.turn, self.turn_back = 1, None, None
        if isinstance(network, FourierNetwork):
            self.blocks = network.symmetry.group.order
            turn = network.transform().expand(self.copies, -1, -1)
            self.turn, self.turn_back = turn.contiguous(), turn.mT.contiguous()

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Give the output ``[K, B, out]`` and what `backward` needs.

        The latter holds the input of each linear layer, and after each hidden one its rectified output.
        """
        s, batch, size = x.shape
        rows = self.copies * self.blocks
        h = x if rows == s else x[:, None].expand(s, rows // s, batch, size).reshape(rows, batch, size)
        saved = [h]
        last = len(weights) - 2
        for i in range(0, last, 2):
            if i:
                h = self._turned(h, self.turn)
                saved.append(h)
            weight, bias = weights[i], weights[i + 1]
            h = torch.baddbmm(bias, h, weight, out=self.arena.take(weight, rows, batch, weight.shape[2]))
            if i:
                h = self._turned(h, self.turn_back)
            h.clamp_min_(0)
            saved.append(h)
        if self.blocks == 1:
            return torch.baddbmm(weights[-1], h, weights[-2]), saved
        parts = torch.bmm(h, weights[-2]).view(self.copies, self.blocks, batch, -1)
        return parts.sum(1) + weights[-1], saved

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
            and weights alone. Otherwise B′ = B, its first half concerns the weights and its second the input.
        gradients
            Where to write, one for each weight and bias.
        inputs_after
            Give the gradient of the input's columns from this one on, ``[K, B/2, columns]``.
        """
        batch = g.shape[1]
        half = batch if inputs_after is None else batch // 2
        rows = self.copies * self.blocks
        torch.sum(g[:, :half], 1, keepdim=True, out=gradients[-1])
        if self.blocks > 1:
            g = g[:, None].expand(-1, self.blocks, -1, -1).reshape(rows, batch, -1)
        place = len(saved) - 1
        for i in range(len(weights) - 2, -1, -2):
            h = saved[place][:, :batch]
            torch.bmm(h[:, :half].mT, g[:, :half], out=gradients[i])
            if i < len(weights) - 2:
                torch.sum(g[:, :half], 1, keepdim=True, out=gradients[i + 1])
            if i == 0:
                break
            g = torch.bmm(g, weights[i].mT, out=self.arena.take(g, *h.shape))
            if i < len(weights) - 2:
                g = self._turned(g, self.turn_back)
                place -= 1
            rectified = saved[place][:, :batch]
            g = threshold_backward(g, rectified, 0, grad_input=g)
            place -= 1
            if i > 2:
                g = self._turned(g, self.turn)
        if inputs_after is None:
            return None
        inner = torch.bmm(g[:, half:], weights[0][:, inputs_after:].mT)
        if self.blocks == 1:
            return inner
        return inner.view(self.copies, self.blocks, half, -1).sum(1)

    def _turned(self, h: Tensor, turn: Tensor | None) -> Tensor:
        if turn is None:
            return h
        rows, batch, size = h.shape
        flat = h.reshape(self.copies, self.blocks, batch * size)
        out = self.arena.take(h, *flat.shape)
        return torch.bmm(turn.to(h.dtype), flat, out=out).view(rows, batch, size)


def can_derive(network: Network) -> bool:
    """Whether the gradient of this network is known here: on vectors, without LayerNorm."""
    return isinstance(network, VectorNetwork) and not network.norm


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
