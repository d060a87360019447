"""Residual pathway priors (Finzi, Benton & Wilson 2021): an exact path plus a small free one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.layers.base import Layer
from rl_core.layers.conv import ConvLayer
from rl_core.layers.initial import HE_GAIN, uniform, zeros
from rl_core.layers.linear import GroupLinear
from rl_core.layers.rows import RowLayer, SetPool, row_count
from rl_core.layers.sets import SetLayer

__all__ = ["ResidualConv", "ResidualPathway", "ResidualRows", "residual"]

EXACT_PRIOR = 1e-3
"""Weight of the L2 prior of the exact path, relative to the free path's."""


class Residual(Layer):
    """The common part: a strong prior on the free path, and the group's action of the exact one.

    Attributes
    ----------
    exact : Layer
        An exact layer.
    free_weight, free_bias : Parameter
        The free path.
    """

    exact: Layer
    free_weight: nn.Parameter
    free_bias: nn.Parameter

    def penalty(self) -> Tensor:
        """Minus the log of the two Gaussian priors up to constants, [K]: a strong one on the free path."""
        weighed = [(1.0, self.free_weight), (1.0, self.free_bias)]
        weighed += [(EXACT_PRIOR, p) for p in self.exact.parameters()]
        return torch.stack([weight * p.square().flatten(1).sum(dim=1) for weight, p in weighed]).sum(dim=0)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """As the exact path."""
        return self.exact.example(batch, generator)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """As the exact path."""
        return self.exact.transform_input(g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """As the exact path."""
        return self.exact.transform_output(g, y)


class ResidualPathway(Residual, GroupLinear):
    """The sum of an exact linear layer and a free one that starts at ``scale`` of its standard deviation.

    Parameters
    ----------
    exact : GroupLinear
        An exact layer on vectors.
    scale : float
        Initial standard deviation of the free weights, relative to the expanded exact ones.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    def __init__(self, exact: GroupLinear, *, scale: float = 1e-3, generators: Sequence[Generator]) -> None:
        super().__init__(exact.group, 1, False, generators)
        self.input_size, self.output_size = exact.input_size, exact.output_size
        self.exact = exact
        variance = scale**2 * exact.gain / exact.input_size
        self.free_weight = uniform([exact.input_size, exact.output_size], variance, generators)
        self.free_bias = zeros([1, exact.output_size], generators)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The sum of both paths: weight [K, in, out] and bias [K, 1, out]."""
        weight, bias = self.exact.expand()
        return weight + self.free_weight, bias + self.free_bias

    def relaxed_weights(self) -> dict[str, Tensor]:
        """The root mean square of the free weights relative to the exact ones, [K, 1, 1]."""
        with torch.no_grad():
            weight, _ = self.exact.expand()
            ratio = self.free_weight.square().mean(dim=(1, 2)) / weight.square().mean(dim=(1, 2)).clamp(
                min=1e-12
            )
        return {"free": ratio.sqrt()[:, None, None]}


class ResidualConv(Residual):
    """The sum of an exact convolution and a free one that starts at ``scale`` of its standard deviation.

    Parameters
    ----------
    exact : ConvLayer
        An exact layer.
    scale : float
        Initial standard deviation of the free kernel, relative to the expanded exact one.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    def __init__(self, exact: ConvLayer, *, scale: float = 1e-3, generators: Sequence[Generator]) -> None:
        super().__init__()
        self.group, self.copies, self.exact = exact.group, exact.copies, exact
        shape = [exact.channels_out, exact.channels_in, *[exact.kernel_size] * exact.plane.dimension]
        variance = scale**2 * HE_GAIN / (exact.channels_in * exact.offsets)
        self.free_weight = uniform(shape, variance, generators)
        self.free_bias = zeros([exact.channels_out], generators)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The sum of both paths: kernel [K, out, in, k, …] and bias [K, out]."""
        weight, bias = self.exact.expand()
        return weight + self.free_weight, bias + self.free_bias

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """As the exact path."""
        return self.exact.apply_expanded(expanded, x)

    def relaxed_weights(self) -> dict[str, Tensor]:
        """The root mean square of the free kernel relative to the exact one, [K, 1, 1]."""
        with torch.no_grad():
            weight, _ = self.exact.expand()
            ratio = mean_square(self.free_weight) / mean_square(weight).clamp(min=1e-12)
        return {"free": ratio.sqrt()[:, None, None]}


class ResidualRows(Residual, RowLayer):
    """An exact layer on sets plus a free path with a matrix (or for a pool a weight) of its own for each row.

    Parameters
    ----------
    exact : SetLayer or SetPool
        An exact layer.
    rows : int
        N.
    scale : float
        Initial standard deviation of the free weights, relative to the expanded exact ones.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    exact: SetLayer | SetPool

    def __init__(
        self, exact: SetLayer | SetPool, rows: int, *, scale: float = 1e-3, generators: Sequence[Generator]
    ) -> None:
        super().__init__(exact.group, rows, 1, False, generators, exact.sectors)
        self.exact = exact
        self.row_axes = (
            {"free_weight": 1} if isinstance(exact, SetPool) else {"free_weight": 1, "free_bias": 1}
        )
        if isinstance(exact, SetPool):
            self.free_weight = uniform([rows, exact.group.order * exact.fields], scale**2, generators)
            self.free_bias = zeros([1, exact.group.order * exact.fields], generators)
            return
        variance = scale**2 * exact.gain / (2 * exact.input_size)
        self.free_weight = uniform([rows, exact.input_size, exact.output_size], variance, generators)
        self.free_bias = zeros([rows, 1, exact.output_size], generators)

    def expand(self) -> tuple[Tensor, ...]:
        """The exact layer's, with a matrix for each row, [K, N, in, out], and a bias for each row at the end.

        Of a pool the weights of rows [K, N, 1, G·F] and the bias.
        """
        if isinstance(self.exact, SetPool):
            return (1.0 + self.free_weight[:, :, None]) / self.free_weight.shape[1], self.free_bias
        weight, *others = self.exact.expand()
        size = self.exact.input_size - self.exact.last_apart
        if self.exact.last_apart:
            others[0] = others[0] + self.free_weight[:, :, size:]
        # The mean over a sector, whose inputs come last, has no free path.
        free = nn.functional.pad(self.free_weight[:, :, :size], (0, 0, 0, weight.shape[2] - size))
        return weight + free, *others, self.free_bias

    def apply_expanded(
        self,
        expanded: Sequence[Tensor],
        x: Tensor,
        action: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> Tensor:
        """As the exact path."""
        if isinstance(self.exact, SetPool):
            weight, bias = expanded
            pooled = (x * weight).sum(dim=1)
            return (pooled if presence is None else pooled * (x.shape[1] / row_count(presence))) + bias
        return self.exact.apply_expanded(expanded[:-1], x, action, presence) + expanded[-1]

    def relaxed_weights(self) -> dict[str, Tensor]:
        """The root mean square of the free weights of each row, [K, 1, N, 1]."""
        return {"free": self.free_weight.detach().square().flatten(2).mean(dim=2).sqrt()[:, None, :, None]}

    def forward(self, x: Tensor) -> Tensor:
        """The output for whole inputs [K, N, B, in]."""
        apart = isinstance(self.exact, SetLayer) and self.exact.last_apart
        return self.apply_expanded(self.expand(), *((x[..., :-1], x[..., -1:]) if apart else (x,)))


def residual(
    layer: Layer, rows: int | None, generators: Sequence[Generator], *, scale: float = 1e-3
) -> Layer:
    """The sum of an exact layer and a free one of ``scale`` times its size; other layers stay as they are."""
    if isinstance(layer, SetLayer | SetPool) and rows is not None:
        return ResidualRows(layer, rows, scale=scale, generators=generators)
    if isinstance(layer, GroupLinear):
        return ResidualPathway(layer, scale=scale, generators=generators)
    if isinstance(layer, ConvLayer):
        return ResidualConv(layer, scale=scale, generators=generators)
    return layer


def mean_square(x: Tensor) -> Tensor:
    """Mean square of each copy, [K]."""
    return x.square().flatten(1).mean(dim=1)
