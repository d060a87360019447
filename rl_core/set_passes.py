"""Forward and backward through layers on rows, derived by hand, in memory that is used again at each step.

A pass holds what its `backward` needs of its latest `forward`. Activations lie as [K, N, B, fibre]; weights are
those that the pass's ``expand`` gives for its layer, and gradients are written into ``rooms`` of their shapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rl_core.layers.base import Layer
from rl_core.layers.linear import GroupLinear
from rl_core.layers.products import accumulate, low_rank_left, product, to_input, to_weight
from rl_core.layers.rows import SetPool
from rl_core.layers.sets import SetHead, SetLayer, SetLifting, SetLinear

__all__ = ["Buffers", "Entry", "LayerPass", "LiftingPass", "layer_pass"]

NARROW = 16
"""Up to so many inputs of a row, their mean and a one are further inputs, instead of a path of their own."""

silu = torch.ops.aten.silu.out
silu_backward = torch.ops.aten.silu_backward.grad_input
threshold_backward = torch.ops.aten.threshold_backward.grad_input


class Buffers:
    """Memory by name, the same again at each step; zero when it is first given."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """The buffer of this name."""
        held = self._held.get(name)
        if held is None or held.shape != shape or held.dtype != like.dtype:
            held = self._held[name] = like.new_zeros(shape)
        return held


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
    def of(cls, observation: Tensor) -> Entry:
        """From an observation [S, B, N, O]."""
        x, rows = observation.transpose(1, 2), observation.shape[2]
        mean = observation.sum(dim=2) / rows
        if x.shape[3] > NARROW:
            return cls(x, mean, None)
        spread = mean[:, None].expand(-1, rows, -1, -1)
        return cls(x, mean, torch.cat([x, spread, x.new_ones(*x.shape[:3], 1)], dim=3))


class LayerPass(ABC):
    """Through one layer and, where it has one, the activation after it.

    Parameters
    ----------
    layer
        Its sizes count; parameters come as weights.
    activation : {"relu", "silu"} or None
    """

    def __init__(self, layer: Layer, activation: str | None) -> None:
        self.n, self.banks = layer.group.order, getattr(layer, "banks", 1)
        self.activation = activation
        self.buffers = Buffers()
        self._z: Tensor | None = None
        self._h: Tensor | None = None

    def expand(self, layer: Layer) -> tuple[Tensor, ...]:
        """The weights that the pass works with, differentiable in the layer's parameters."""
        return layer.expand()

    @abstractmethod
    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """The layer's output before the activation."""

    @abstractmethod
    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """From the gradient of `forward`'s output that of its input; those of weights go into ``rooms``."""

    def activate(self, z: Tensor) -> Tensor:
        """Apply the activation."""
        if self.activation == "silu":
            self._z = z
            h = self.buffers.take("h", z, *z.shape)
            silu(z, out=h)
            return h
        if self.activation == "relu":
            self._h = z.clamp_min_(0)
        return z

    def deactivate(self, g: Tensor) -> Tensor:
        """From the gradient of `activate`'s output that of its input, in place."""
        if self.activation == "silu":
            silu_backward(g, self._z, grad_input=g)
        elif self.activation == "relu":
            threshold_backward(g, self._h, 0, grad_input=g)
        return g

    def mean_of_rows(self, h: Tensor) -> Tensor:
        """The mean [K, B, in] of rows [K, N, B, in], as a product: quicker than a sum over an outer axis."""
        copies, rows, batch, size = h.shape
        out = self.buffers.take("mean", h, copies, batch, size)
        share = h.new_full((copies, 1, rows), 1 / rows)
        torch.bmm(share, h.flatten(2), out=out.view(copies, 1, -1))
        return out

    def own_fields(self, x: Tensor, copies: int, batch: int) -> Tensor:
        """Of [K, L·G, B, G·F] the blocks of equal g, a view [K, L, B, F, G]."""
        return x.view(copies, self.banks, self.n, batch, self.n, -1).diagonal(dim1=2, dim2=4)


class MeanPath(LayerPass):
    """What the mean of the rows and the bias give each row: Σ_l w_l(i, g) (B_l mean)(g) + b.

    Weights: B [K, in, L·out] and b [K, 1, out], relaxed also w and a one, [K, N, L·G + 1].
    """

    def forward(self, weights: Sequence[Tensor], x: Tensor, z: Tensor | None = None) -> Tensor:
        """Fill z [K, N, B, out] for a mean [K, B, in]."""
        assert z is not None
        self._mean = x
        copies, _, batch, size = z.shape
        if len(weights) == 2:
            z.copy_(torch.baddbmm(weights[1], x, weights[0])[:, None])
            return z
        parts = torch.bmm(x, weights[0]).view(copies, batch, self.banks, self.n, -1)
        # A factor of low rank with a row for each (l, g): beside its own fields it holds zeros.
        self._right = self.buffers.take("right", z, copies, self.banks * self.n + 1, batch, size)
        self.own_fields(self._right[:, :-1], copies, batch).copy_(parts.permute(0, 2, 1, 4, 3))
        self._right[:, -1].copy_(weights[1].expand(-1, batch, -1))
        torch.bmm(weights[2], self._right.flatten(2), out=z.flatten(2))
        return z

    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`; the gradient of the mean."""
        copies, _, batch, size = g.shape
        flat = g.flatten(2)
        if len(weights) == 2:
            parts = bias = g.sum(dim=1)
        else:
            d_right = self.buffers.take("d_right", g, copies, self.banks * self.n + 1, batch, size)
            torch.bmm(weights[2].mT, flat, out=d_right.flatten(2))
            parts = self.buffers.take("d_parts", g, copies, batch, self.banks * size)
            blocks = parts.view(copies, batch, self.banks, self.n, -1).permute(0, 2, 1, 4, 3)
            blocks.copy_(self.own_fields(d_right[:, :-1], copies, batch))
            bias = d_right[:, -1]
        if rooms is not None:
            torch.bmm(self._mean.mT, parts, out=rooms[0])
            torch.sum(bias, 1, keepdim=True, out=rooms[1])
            if len(weights) > 2:
                rooms[2].copy_(low_rank_left(flat, self._right.flatten(2)))
        return torch.bmm(parts, weights[0].mT)


class RowsPass(LayerPass):
    """From regular fields for each row to regular fields for each row."""

    def __init__(self, layer: SetLayer, activation: str | None) -> None:
        super().__init__(layer, activation)
        self.path = MeanPath(layer, None)

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x = x
        z = self.buffers.take("z", x, *x.shape[:3], weights[0].shape[3])
        self.path.forward(weights[1:], self.mean_of_rows(x), z)
        accumulate(z, x, weights[0])
        return z

    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        x = self._x
        if rooms is not None:
            to_weight(g, x, rooms[0])
        d_mean = self.path.backward(weights[1:], g, None if rooms is None else rooms[1:])
        out = self.buffers.take("d_x", g, *x.shape)
        out.copy_((d_mean / x.shape[1])[:, None])
        accumulate(out, g, weights[0].mT)
        return out


class HeadPass(LayerPass):
    """From regular fields for each row to a short vector for each row.

    Relaxed, the mean has a matrix for each row; they stand side by side, [K, in, N·O].
    """

    def expand(self, layer: Layer) -> tuple[Tensor, ...]:
        """See `LayerPass`."""
        rows, mean, bias = layer.expand()
        return rows, mean if mean.ndim == 3 else mean.transpose(1, 2).flatten(2), bias

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x, self._mean = x, self.mean_of_rows(x)
        every = torch.bmm(self._mean, weights[1])
        every = every.view(*every.shape[:2], -1, weights[2].shape[2]).transpose(1, 2)
        z = self.buffers.take("z", x, *x.shape[:3], weights[2].shape[2])
        torch.add(every.expand_as(z), weights[2][:, None], out=z)
        return accumulate(z, x, weights[0])

    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        x = self._x
        every = g.sum(dim=1) if weights[1].shape[2] == g.shape[3] else g.transpose(1, 2).flatten(2)
        if rooms is not None:
            to_weight(g, x, rooms[0])
            torch.bmm(self._mean.mT, every, out=rooms[1])
            torch.sum(g, (1, 2), out=rooms[2][:, 0])
        out = self.buffers.take("d_x", g, *x.shape)
        out.copy_((torch.bmm(every, weights[1].mT) / x.shape[1])[:, None])
        return accumulate(out, g, weights[0].mT)


class PoolPass(LayerPass):
    """The mean over rows, or L means with relaxed weights, [K, B, G·(L·F)]."""

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x = x
        if not weights:
            return self.mean_of_rows(x)
        copies, _, batch, size = x.shape
        every = self.buffers.take("every", x, copies, self.banks * self.n, batch, size)
        torch.bmm(weights[0], x.flatten(2), out=every.flatten(2))
        pooled = self.buffers.take("pooled", x, copies, batch, self.banks * size)
        blocks = pooled.view(copies, batch, self.n, self.banks, -1).permute(0, 3, 1, 4, 2)
        blocks.copy_(self.own_fields(every, copies, batch))
        return pooled

    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        copies, rows, batch, size = self._x.shape
        out = self.buffers.take("d_x", g, copies, rows, batch, size)
        if not weights:
            out.copy_((g / rows)[:, None])
            return out
        every = self.buffers.take("d_every", g, copies, self.banks * self.n, batch, size)
        blocks = g.reshape(copies, batch, self.n, self.banks, -1).permute(0, 3, 1, 4, 2)
        self.own_fields(every, copies, batch).copy_(blocks)
        if rooms is not None:
            rooms[0].copy_(low_rank_left(self._x.flatten(2), every.flatten(2)).mT)
        torch.bmm(weights[0].mT, every.flatten(2), out=out.flatten(2))
        return out


class LinearPass(LayerPass):
    """A linear layer without rows."""

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x = x
        return torch.baddbmm(weights[1], x, weights[0])

    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        if rooms is not None:
            torch.bmm(self._x.mT, g, out=rooms[0])
            torch.sum(g, 1, keepdim=True, out=rooms[1])
        return torch.bmm(g, weights[0].mT)


class LiftingPass(LayerPass):
    """From observations, for a critic with each row's action, to regular fields for each row.

    Weights: for narrow rows one tensor over (row, mean, one), [K, N, 2·O + 1, out] (exact: N = 1), and for a
    critic (action, mean action); otherwise one over rows, for a critic one over (action, mean action), and
    those of `MeanPath`.
    """

    def __init__(self, layer: SetLifting, activation: str | None) -> None:
        super().__init__(layer, activation)
        self.critic = layer.last_apart
        self.narrow = layer.input_size - int(self.critic) <= NARROW
        self.path = MeanPath(layer, None)

    def expand(self, layer: Layer) -> tuple[Tensor, ...]:
        """See `LayerPass`."""
        assert isinstance(layer, SetLifting)
        size = layer.input_size - int(self.critic)
        gates = None if layer.w is None else layer.gates()
        rows, mean = layer.bank_weights(layer.psi), layer.bank_weights(layer.psi_mean)
        bias = layer.full_bias()

        def spread(*banks: Tensor) -> Tensor:
            joined = torch.cat(banks, dim=2)
            return joined if gates is None else layer.row_weights(joined, gates)

        tail = [spread(rows[:, :, size:], mean[:, :, size:])] if self.critic else []
        if self.narrow:
            entry = spread(rows[:, :, :size], mean[:, :, :size])
            return (torch.cat([entry, bias[:, None].expand(-1, entry.shape[1], -1, -1), *tail], dim=2),)
        side_by_side = mean[:, :, :size].transpose(1, 2).flatten(2)
        ones = [] if gates is None else [torch.nn.functional.pad(gates, (0, 1), value=1.0)]
        return spread(rows[:, :, :size]), *tail, side_by_side, bias, *ones

    def enter(self, weights: Sequence[Tensor], entry: Entry) -> None:
        """Take an observation, which several calls of `forward` may share."""
        self._entry = entry
        if entry.joined is not None:
            return
        copies, (_, rows, batch, _) = len(weights[0]), entry.x.shape
        out = self.buffers.take("entered", weights[0], copies, rows, batch, weights[0].shape[3])
        mean = entry.mean.repeat_interleave(copies // len(entry.mean), dim=0)
        self.path.forward(self._path(weights), mean, out)
        self._entered = accumulate(out, entry.x, weights[0])

    def forward(self, weights: Sequence[Tensor], x: Tensor | None = None) -> Tensor:
        """What the observation of the latest `enter` and, for a critic, actions x [S, N, B] give."""
        joined = self._entry.joined
        if x is not None:
            self._tail = torch.stack([x, x.mean(dim=1, keepdim=True).expand_as(x)], dim=3)
        if joined is None:
            if x is None:
                return self._entered
            out = self.buffers.take("z", self._entered, *self._entered.shape).copy_(self._entered)
            return accumulate(out, self._tail, weights[1])
        self._joined = joined if x is None else torch.cat([joined, self._tail], dim=3)
        out = self.buffers.take("z", joined, len(weights[0]), *joined.shape[1:3], weights[0].shape[3])
        return product(self._joined, weights[0], out)

    def backward(self, weights: Sequence[Tensor], g: Tensor, rooms: Sequence[Tensor] | None) -> Tensor:
        """Fill the rooms; without any give the gradient of the actions, [S, N, B]."""
        joined = self._entry.joined
        if rooms is None:
            tail = weights[1] if joined is None else weights[0][:, :, -2:]
            d_tail = to_input(g, tail, len(self._tail))
            return d_tail[..., 0] + d_tail[..., 1].mean(dim=1, keepdim=True)
        if joined is not None:
            to_weight(g, self._joined, rooms[0])
            return g
        to_weight(g, self._entry.x, rooms[0])
        if self.critic:
            to_weight(g, self._tail, rooms[1])
        self.path.backward(self._path(weights), g, self._path(rooms))
        return g

    def _path(self, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """Those of `MeanPath`."""
        return tensors[2:] if self.critic else tensors[1:]


def layer_pass(layer: Layer, activation: str | None) -> LayerPass | None:
    """The pass through a layer of a network on rows; None where there is none."""
    kinds: list[tuple[type[Any], Callable[[Any, str | None], LayerPass]]] = [
        (SetLifting, LiftingPass),
        (SetLinear, RowsPass),
        (SetHead, HeadPass),
        (SetPool, PoolPass),
        (GroupLinear, LinearPass),
    ]
    for kind, of in kinds:
        if isinstance(layer, kind):
            return of(layer, activation)
    return None
