"""First layer of networks on rows: their observations and the pass through the lifting, recorded on a tape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rl_core.fused.recorder import Tape
from rl_core.fused.set_layers import MeanPath, SpreadPass
from rl_core.layers.base import Layer
from rl_core.layers.products import accumulate, product, to_weight
from rl_core.layers.sets import SetLifting

__all__ = ["Entry", "LiftingPass"]

NARROW = 16
"""Up to so many inputs of a row, their mean and a one are further inputs, instead of a path of their own."""


class Entry(NamedTuple):
    """An observation as passes through liftings take it.

    Attributes
    ----------
    x : Tensor [S, N, B, O]
        A view.
    mean : Tensor [S, B, O]
        Of the rows.
    joined : Tensor [S, N, B, 2·O + 1] or None
        Row, mean and a one, where rows are narrow.
    """

    x: Tensor
    mean: Tensor
    joined: Tensor | None

    @classmethod
    def of(cls, tape: Tape, observation: Tensor) -> Entry:
        """From an observation [S, B, N, O]."""
        x, (seeds, batch, rows, size) = observation.transpose(1, 2), observation.shape
        mean = tape(torch.mean, observation, 2)
        if size > NARROW:
            return cls(x, mean, None)
        joined = x.new_ones(seeds, rows, batch, 2 * size + 1)
        tape.do(joined[..., :size].copy_, x)
        tape.do(joined[..., size : 2 * size].copy_, mean[:, None])
        return cls(x, mean, joined)


class LiftingPass(SpreadPass):
    """From observations, for a critic with each row's action, to regular fields for each row.

    Weights: for narrow rows one tensor over (row, mean, one), [K, N, 2·O + 1, out] (exact: N = 1), and for a
    critic (action, mean action); otherwise one over rows, for a critic one over (action, mean action), and
    those of `MeanPath`.
    """

    def __init__(self, tape: Tape, layer: SetLifting, activation: str | None) -> None:
        super().__init__(tape, layer, activation)
        self.critic = layer.last_apart
        self.size = layer.input_size - int(self.critic)
        self.spreads = layer.w is not None and self.size > NARROW
        self.path = MeanPath(tape, layer)

    def expand(self, layer: Layer) -> tuple[Tensor, ...]:
        """See `LayerPass`."""
        assert isinstance(layer, SetLifting)
        size, bias = self.size, layer.full_bias()
        gates = None if layer.w is None else layer.gates()
        rows, mean = layer.bank_weights(layer.psi), layer.bank_weights(layer.psi_mean)

        def spread(*banks: Tensor) -> Tensor:
            joined = torch.cat(banks, dim=2)
            return joined if gates is None else layer.row_weights(joined, gates)

        tail = [spread(rows[:, :, size:], mean[:, :, size:])] if self.critic else []
        if size <= NARROW:
            entry = spread(rows[:, :, :size], mean[:, :, :size])
            return (torch.cat([entry, bias[:, None].expand(-1, entry.shape[1], -1, -1), *tail], dim=2),)
        side_by_side = mean[:, :, :size].transpose(1, 2).flatten(2)
        ones = [] if gates is None else [torch.nn.functional.pad(gates, (0, 1), value=1.0)]
        return rows[:, :, :size], *tail, side_by_side, bias, *ones

    def enter(self, weights: Sequence[Tensor], entry: Entry) -> None:
        """Take an observation, which several calls of `forward` may share."""
        self._entry = entry
        copies, (seeds, rows, batch, _) = len(weights[0]), entry.x.shape
        self._z = self.take("z", weights[0], copies, rows, batch, weights[0].shape[3])
        if entry.joined is not None:
            self._joined = entry.joined
            if self.critic:
                # With columns for the actions.
                self._joined = self.take("joined", entry.x, *entry.joined.shape[:3], 2 * self.size + 3)
                self.tape.do(self._joined[..., :-2].copy_, entry.joined)
            return
        self._entered = self.take("entered", self._z, *self._z.shape) if self.critic else self._z
        mean = entry.mean
        if copies > seeds:
            mean = mean.new_empty(copies, *mean.shape[1:])
            by_seed = mean.view(seeds, -1, *mean.shape[1:])
            self.tape.do(by_seed.copy_, entry.mean[:, None])
        self.path.forward(self._path(weights), mean, self._entered)
        accumulate(self._entered, entry.x, weights[0], self.tape.do)

    def forward(self, weights: Sequence[Tensor], x: Tensor | None = None) -> Tensor:
        """Output for the observation of the latest `enter` and, for a critic, actions x [S, N, B]."""
        tape, narrow = self.tape, self._entry.joined is not None
        z = self.take("z", weights[0], *self._z.shape)
        if x is not None:
            self._tail = self._joined[..., -2:] if narrow else self.take("tail", x, *x.shape, 2)
            tape.do(self._tail[..., 0].copy_, x)
            tape.do(self._tail[..., 1].copy_, tape(torch.mean, x, 1, keepdim=True))
        if narrow:
            return product(self._joined, weights[0], z, tape.do)
        if x is not None:
            tape.do(z.copy_, self._entered)
            accumulate(z, self._tail, weights[1], tape.do)
        return z

    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """Fill the buffers; without any, return the gradient of the actions [S, N, B]."""
        if buffers is None:
            return self._to_actions(
                weights[0][:, :, -2:] if self._entry.joined is not None else weights[1], g
            )
        if self._entry.joined is not None:
            to_weight(g, self._joined, buffers[0], self.tape.do)
            return g
        to_weight(g, self._entry.x, buffers[0], self.tape.do)
        if self.critic:
            to_weight(g, self._tail, buffers[1], self.tape.do)
        self.path.backward(self._path(weights), g, self._path(buffers))
        return g

    def _to_actions(self, weight: Tensor, g: Tensor) -> Tensor:
        """The gradient [S, N, B] of actions, by themselves and in their mean."""
        tape, (a, b) = self.tape, (1, 2) if weight.shape[1] == 1 else (0, 1)
        each = tape(torch.bmm, g.flatten(a, b), weight.flatten(0, 1).mT)
        each = tape.total(each.view(len(self._tail), -1, *g.shape[1:3], 2), 1)
        return tape(torch.add, each[..., 0], tape(torch.mean, each[..., 1], 1, keepdim=True))

    def _path(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of `MeanPath`."""
        return tensors[2:] if self.critic else tensors[1:]
