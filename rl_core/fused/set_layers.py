"""Forward and backward passes through layers on rows, recorded on a tape.

A pass holds what its `backward` needs of its latest `forward`. Activations lie as [K, N, B, fibre]; weights are
those that the pass's ``prepare`` returns, and gradients are written into ``buffers`` of their shapes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rl_core.fused.recorder import Tape
from rl_core.layers.base import Layer
from rl_core.layers.linear import Head, RegularLinear
from rl_core.layers.products import accumulate, to_weight
from rl_core.layers.rows import SetPool
from rl_core.layers.rpp import ResidualPathway
from rl_core.layers.sets import SetHead, SetLayer, SetLinear

__all__ = ["LayerPass", "MeanPath", "SpreadPass", "layer_pass"]

silu = torch.ops.aten.silu.out
silu_backward = torch.ops.aten.silu_backward.grad_input
threshold_backward = torch.ops.aten.threshold_backward.grad_input


class LayerPass(ABC):
    """Through one layer and, where it has one, the activation after it.

    Parameters
    ----------
    tape
        Where calls are recorded.
    layer
        Its sizes are used; its parameters come as weights.
    activation : {"relu", "silu"} or None
    """

    def __init__(self, tape: Tape, layer: Layer, activation: str | None = None) -> None:
        self.tape, self.activation = tape, activation
        self.n, self.banks = layer.group.order, getattr(layer, "banks", 1)
        self._held: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def expand(self, layer: Layer) -> tuple[Tensor, ...]:
        """Sources of the weights, differentiable in the layer's parameters."""
        return layer.expand()

    def prepare(self, sources: tuple[Tensor, ...], trained: bool) -> tuple[Tensor, ...]:
        """Turn the sources from ``expand`` into the weights of `forward`; a trained layer keeps them for `collect`."""
        return sources

    def collect(self, sources: tuple[Tensor, ...], buffers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Turn the gradients of weights into those of their sources."""
        return buffers

    @abstractmethod
    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """The layer's output before the activation."""

    @abstractmethod
    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """From the gradient of `forward`'s output that of its input; those of weights go into ``buffers``."""

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """Memory by name, the same for all seeds; zero when it is first given."""
        key = (name, shape)
        if key not in self._held:
            self._held[key] = like.new_zeros(shape)
        return self._held[key]

    def activate(self, z: Tensor) -> Tensor:
        """Apply the activation."""
        self._z = self._h = z
        if self.activation == "silu":
            self._h = self.take("h", z, *z.shape)
            self.tape.do(silu, z, out=self._h)
        elif self.activation == "relu":
            self.tape.do(z.clamp_min_, 0)
        return self._h

    def deactivate(self, g: Tensor) -> Tensor:
        """From the gradient of `activate`'s output that of its input, in place."""
        if self.activation == "silu":
            self.tape.do(silu_backward, g, self._z, grad_input=g)
        elif self.activation == "relu":
            self.tape.do(threshold_backward, g, self._h, 0, grad_input=g)
        return g

    def mean_of_rows(self, h: Tensor) -> Tensor:
        """The mean [K, B, in] of rows [K, N, B, in], as a product: quicker than a sum over an outer axis."""
        copies, rows, batch, size = h.shape
        out = self.take("mean", h, copies, batch, size)
        share = h.new_full((copies, 1, rows), 1 / rows)
        self.tape(torch.bmm, share, h.flatten(2), out=out.view(copies, 1, -1))
        return out

    def to_rows(self, d_mean: Tensor, g: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """The gradient of rows x, as inputs of their mean and of the product with a weight."""
        out = self.take("d_x", g, *x.shape)
        share = self.tape(torch.div, d_mean, x.shape[1], out=d_mean)
        self.tape.do(out.copy_, share[:, None])
        return accumulate(out, g, weight.mT, self.tape.do)

    def own_fields(self, x: Tensor, copies: int, batch: int) -> Tensor:
        """Of [K, L·G, B, G·F] the blocks of equal g, a view [K, L, B, F, G]."""
        return x.view(copies, self.banks, self.n, batch, self.n, -1).diagonal(dim1=2, dim2=4)


class MeanPath(LayerPass):
    """Part of each row's output that comes from the mean of the rows and the bias: Σ_l w_l(i, g) (B_l mean)(g) + b.

    Weights: B [K, in, L·out] and b [K, 1, out], relaxed also w and a one, [K, N, L·G + 1].
    """

    def forward(self, weights: Sequence[Tensor], x: Tensor, z: Tensor | None = None) -> Tensor:
        """Fill z [K, N, B, out] for a mean [K, B, in]."""
        assert z is not None
        self._mean, tape = x, self.tape
        copies, _, batch, size = z.shape
        parts = self.take("parts", x, copies, batch, weights[0].shape[2])
        if len(weights) == 2:
            tape(torch.baddbmm, weights[1], x, weights[0], out=parts)
            tape.do(z.copy_, parts[:, None])
            return z
        tape(torch.bmm, x, weights[0], out=parts)
        # A factor of low rank with a row for each (l, g): beside its own fields it holds zeros.
        self._right = self.take("right", z, copies, self.banks * self.n + 1, batch, size)
        own = self.own_fields(self._right[:, :-1], copies, batch)
        blocks = parts.view(copies, batch, self.banks, self.n, -1).permute(0, 2, 1, 4, 3)
        tape.do(own.copy_, blocks)
        tape.do(self._right[:, -1].copy_, weights[1].expand(-1, batch, -1))
        tape(torch.bmm, weights[2], self._right.flatten(2), out=z.flatten(2))
        return z

    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`; the gradient of the mean."""
        copies, _, batch, size = g.shape
        flat, tape = g.flatten(2), self.tape
        parts = self.take("d_parts", g, copies, batch, weights[0].shape[2])
        if len(weights) == 2:
            bias = tape.total(g, 1, out=parts)
        else:
            d_right = self.take("d_right", g, copies, self.banks * self.n + 1, batch, size)
            tape(torch.bmm, weights[2].mT, flat, out=d_right.flatten(2))
            blocks = parts.view(copies, batch, self.banks, self.n, -1).permute(0, 2, 1, 4, 3)
            tape.do(blocks.copy_, self.own_fields(d_right[:, :-1], copies, batch))
            bias = d_right[:, -1]
        if buffers is not None:
            tape(torch.bmm, self._mean.mT, parts, out=buffers[0])
            tape(torch.sum, bias, 1, keepdim=True, out=buffers[1])
            if len(weights) > 2:
                # Computed as its transpose: several times quicker for few and long rows.
                transposed = tape(torch.bmm, self._right.flatten(2), flat.mT)
                tape.do(buffers[2].copy_, transposed.mT)
        return tape(torch.bmm, parts, weights[0].mT, out=self.take("d_mean", g, *self._mean.shape))


class SpreadPass(LayerPass):
    """Relaxed, the matrix of each row comes from banks and gates: Σ_l w_l(i, g) ψ_l with g that of the output.

    ``expand`` returns banks [K, L, in, out] first and, at the end, gates and a one [K, N, L·G + 1].
    """

    spreads: bool

    def prepare(self, sources: tuple[Tensor, ...], trained: bool) -> tuple[Tensor, ...]:
        """See `LayerPass`."""
        if not self.spreads:
            return sources
        banks, gates = sources[0], sources[-1][..., :-1]
        copies, _, size, out = banks.shape
        # A copy of each bank for each g holds the columns of that g alone; one product with w then adds them up.
        masked = banks.new_zeros(copies, self.banks, self.n, size, self.n, out // self.n)
        self.tape.do(masked.diagonal(dim1=2, dim2=4).copy_, self._columns(banks))
        flat = masked.view(copies, self.banks * self.n, -1)
        if trained:
            self._masked = flat
        rows = self.tape(torch.bmm, gates, flat)
        return rows.view(copies, -1, size, out), *sources[1:]

    def collect(self, sources: tuple[Tensor, ...], buffers: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See `LayerPass`."""
        if not self.spreads:
            return buffers
        banks, gates, tape, g = sources[0], sources[-1][..., :-1], self.tape, buffers[0].flatten(2)
        each = tape(torch.bmm, gates.mT, g)
        d_banks = torch.empty_like(banks)
        own = each.view(len(banks), self.banks, self.n, banks.shape[2], self.n, -1).diagonal(dim1=2, dim2=4)
        tape.do(self._columns(d_banks).copy_, own)
        # Computed as its transpose: several times quicker for few and long rows.
        tape.do(buffers[-1][..., :-1].add_, tape(torch.bmm, self._masked, g.mT).mT)
        return d_banks, *buffers[1:]

    def _columns(self, banks: Tensor) -> Tensor:
        """Banks as [K, L, in, F, G]."""
        return banks.view(*banks.shape[:3], self.n, -1).transpose(3, 4)


class RowsPass(SpreadPass):
    """From regular fields for each row to regular fields for each row."""

    def __init__(self, tape: Tape, layer: SetLayer, activation: str | None) -> None:
        super().__init__(tape, layer, activation)
        self.spreads = layer.w is not None
        self.path = MeanPath(tape, layer)

    def expand(self, layer: Layer) -> tuple[Tensor, ...]:
        """See `LayerPass`."""
        assert isinstance(layer, SetLayer)
        if layer.w is None:
            return layer.expand()
        mean = layer.bank_weights(layer.psi_mean).transpose(1, 2).flatten(2)
        gates = torch.nn.functional.pad(layer.gates(), (0, 1), value=1.0)
        return layer.bank_weights(layer.psi), mean, layer.full_bias(), gates

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x = x
        z = self.take("z", x, *x.shape[:3], weights[0].shape[3])
        self.path.forward(weights[1:], self.mean_of_rows(x), z)
        return accumulate(z, x, weights[0], self.tape.do)

    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        if buffers is not None:
            to_weight(g, self._x, buffers[0], self.tape.do)
        d_mean = self.path.backward(weights[1:], g, None if buffers is None else buffers[1:])
        return self.to_rows(d_mean, g, self._x, weights[0])


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
        z = self.take("z", x, *x.shape[:3], weights[2].shape[2])
        every = self.tape(torch.bmm, self._mean, weights[1])
        by_row = every.view(*every.shape[:2], -1, z.shape[3]).transpose(1, 2)
        self.tape(torch.add, by_row.expand_as(z), weights[2][:, None], out=z)
        return accumulate(z, x, weights[0], self.tape.do)

    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        x, tape = self._x, self.tape
        copies, rows, batch, size = g.shape
        every = g.new_empty(copies, batch, weights[1].shape[2])
        if weights[1].shape[2] == size:
            tape.total(g, 1, out=every)
        else:
            tape.do(every.view(copies, batch, rows, size).copy_, g.transpose(1, 2))
        if buffers is not None:
            to_weight(g, x, buffers[0], tape.do)
            tape(torch.bmm, self._mean.mT, every, out=buffers[1])
            tape.total(g, (1, 2), out=buffers[2][:, 0])
        d_mean = tape(torch.bmm, every, weights[1].mT, out=self.take("d_mean", g, *self._mean.shape))
        return self.to_rows(d_mean, g, x, weights[0])


class PoolPass(LayerPass):
    """The mean over rows, or L means with relaxed weights, [K, B, G·(L·F)]."""

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x = x
        if not weights:
            return self.mean_of_rows(x)
        copies, _, batch, size = x.shape
        every = self.take("every", x, copies, self.banks * self.n, batch, size)
        self.tape(torch.bmm, weights[0], x.flatten(2), out=every.flatten(2))
        pooled = self.take("pooled", x, copies, batch, self.banks * size)
        self.tape.do(self._blocks(pooled).copy_, self.own_fields(every, copies, batch))
        return pooled

    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        copies, rows, batch, size = self._x.shape
        out, tape = self.take("d_x", g, copies, rows, batch, size), self.tape
        if not weights:
            tape.do(out.copy_, tape(torch.div, g, rows)[:, None])
            return out
        # Beside the own fields of each (l, g) there are zeros.
        every = self.take("d_every", g, copies, self.banks * self.n, batch, size)
        tape.do(self.own_fields(every, copies, batch).copy_, self._blocks(g))
        if buffers is not None:
            tape(torch.bmm, every.flatten(2), self._x.flatten(2).mT, out=buffers[0])
        tape(torch.bmm, weights[0].mT, every.flatten(2), out=out.flatten(2))
        return out

    def _blocks(self, pooled: Tensor) -> Tensor:
        """The pooled fields as [K, L, B, F, G]."""
        return pooled.view(*pooled.shape[:2], self.n, self.banks, -1).permute(0, 3, 1, 4, 2)


class LinearPass(LayerPass):
    """A linear layer without rows."""

    def forward(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        """See `LayerPass`."""
        self._x = x
        z = self.take("z", x, *x.shape[:2], weights[0].shape[2])
        return self.tape(torch.baddbmm, weights[1], x, weights[0], out=z)

    def backward(self, weights: Sequence[Tensor], g: Tensor, buffers: Sequence[Tensor] | None) -> Tensor:
        """See `LayerPass`."""
        if buffers is not None:
            self.tape(torch.bmm, self._x.mT, g, out=buffers[0])
            self.tape(torch.sum, g, 1, keepdim=True, out=buffers[1])
        return self.tape(torch.bmm, g, weights[0].mT, out=self.take("d_x", g, *self._x.shape))


def layer_pass(tape: Tape, layer: Layer, activation: str | None) -> LayerPass | None:
    """The pass through a layer after the first of a network on rows; None where there is none."""
    kinds: dict[type[Layer], Callable[[Tape, Any, str | None], LayerPass]] = {
        SetLinear: RowsPass,
        SetHead: HeadPass,
        SetPool: PoolPass,
        RegularLinear: LinearPass,
        Head: LinearPass,
        ResidualPathway: LinearPass,
    }
    # By its exact type: a subclass may compute something else.
    kind = kinds.get(type(layer))
    return None if kind is None else kind(tape, layer, activation)
