"""Layers on sets of rows (assets): S_N permutes the rows and a group acts on each row's fibre.

Activations lie as [K, N, B, fibre]. An exact layer is y_i = A x_i + B mean_j x_j + b (Zaheer et al. 2017)
with group-equivariant A, B; a relaxed one is y_i(g) = Σ_l w_l(i, g) (A_l x_i + B_l mean_j x_j)(g) + b.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.base import move_fields
from rl_core.layers.expansion import (
    action_constant,
    head_weight,
    lifting_weight,
    regular_constant,
    regular_weight,
    repeat_fields,
)
from rl_core.layers.initial import HE_GAIN, HEAD_GAIN, constant, uniform, zeros
from rl_core.layers.rows import RowLayer, row_product
from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation

__all__ = ["SetHead", "SetLayer", "SetLifting", "SetLinear"]


class SetLayer(RowLayer):
    """The common part of linear layers on sets.

    Parameters are those of `RowLayer`.
    """

    input_size: int
    output_size: int
    gain: float = HE_GAIN
    """Initial variance of the expanded weights over [x_i, mean] times the fan-in."""

    action: Tensor
    places: Tensor
    invariant: Tensor
    psi: nn.Parameter
    psi_mean: nn.Parameter
    bias: nn.Parameter

    @abstractmethod
    def weight(self, psi: Tensor) -> Tensor:
        """The matrices [K, in, out] of filters [K, 1, …]; see `expansion`."""

    def full_bias(self) -> Tensor:
        """The bias over the whole fibre, [K, 1, out]."""
        return repeat_fields(self.bias, self.group.order)

    def bank_weights(self, psi: Tensor) -> Tensor:
        """Each bank's matrix, [K, L, in, out]."""
        return self.weight(psi.flatten(0, 1)[:, None]).view(
            self.copies, self.banks, self.input_size, self.output_size
        )

    def row_weights(self, psi: Tensor, gates: Tensor) -> Tensor:
        """The matrix of each row, Σ_l w_l(i, g) ψ_l with g that of the output, [K, N, in, out]."""
        n, banks = self.group.order, self.bank_weights(psi)
        # A copy of each bank for each g holds the columns of that g alone; one product with w then adds them up.
        masked = banks.view(self.copies, self.banks, 1, self.input_size, n, -1) * self.mask.view(n, 1, n, 1)
        rows = torch.bmm(gates, masked.view(self.copies, self.banks * n, -1))
        return rows.view(self.copies, -1, self.input_size, self.output_size)

    def expand(self) -> tuple[Tensor, ...]:
        """The weights of rows and of their mean, and the bias.

        Exact: rows [K, 1, in, out], mean [K, in, out], bias [K, 1, 1, out]. Relaxed: rows [K, N, in, out]; of
        the mean one matrix for each bank side by side [K, in, L·out]; bias [K, 1, out]; and the relaxed weights
        as [K, N, L·G], which gate the mean's part.
        """
        if self.w is None:
            return self.weight(self.psi)[:, None], self.weight(self.psi_mean), self.full_bias()[:, None]
        gates = self.gates()
        mean = self.bank_weights(self.psi_mean).transpose(1, 2).flatten(2)
        return self.row_weights(self.psi, gates), mean, self.full_bias(), gates

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor, action: Tensor | None = None) -> Tensor:
        """The output [K, N, B, out].

        Parameters
        ----------
        expanded : sequence of Tensor
            From `expand`.
        x : Tensor [K, N, B, in] or [S, N, B, in]
            Activations, or for the first layer observations, which neighbouring copies may share.
        action : Tensor [K, N, B, 1] or [S, N, B, 1], optional
            The last input of each row, kept apart so that its gradient costs little.
        """
        self._check_input(x, action)
        mean = x.mean(dim=1) if action is None else torch.cat([x.mean(dim=1), action.mean(dim=1)], dim=-1)
        if len(mean) != self.copies:
            mean = mean.repeat_interleave(self.copies // len(mean), dim=0)
        start = self.start(mean, expanded[1:], x.shape[1])
        return row_product(start, x, expanded[0], action)

    def start(self, mean: Tensor, expanded: Sequence[Tensor], rows: int) -> Tensor:
        """The part of the output that the mean [K, B, in] of the rows and the bias give, [K, N, B, out]."""
        if self.w is None:
            return start_of_mean(mean, *expanded, rows)
        weight, bias, gates = expanded
        batch, n = mean.shape[1], self.group.order
        parts = torch.bmm(mean, weight).view(self.copies, batch, self.banks, n, -1).transpose(1, 2)
        masked = parts[:, :, None] * self.mask.to(parts).view(n, 1, n, 1)
        spread = bias[:, None].expand(-1, -1, batch, -1).reshape(self.copies, 1, -1)
        start = torch.baddbmm(spread, gates, masked.reshape(self.copies, self.banks * n, -1))
        return start.view(self.copies, rows, batch, self.output_size)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, N, batch, in]; five rows where the layer takes any number."""
        return torch.randn(self.copies, self.rows or 5, batch, self.input_size, generator=generator)

    def _check_input(self, x: Tensor, action: Tensor | None) -> None:
        width = x.shape[-1] + (0 if action is None else 1)
        rows = x.shape[1] if self.w is None else self.rows
        if x.ndim != 4 or self.copies % len(x) or x.shape[1] != rows or width != self.input_size:
            raise SymmetryError(
                f"{type(self).__name__}: needs [{self.copies}, {rows} rows, B, {self.input_size}], got "
                f"{list(x.shape)}" + ("" if action is None else " and one action for each row")
            )


class SetLifting(SetLayer):
    """From a vector for each row to regular fields for each row.

    Parameters
    ----------
    source : Representation
        Acts on each row's d inputs.
    fields : int
        F; the output is [K, N, B, G·F].
    rows, banks, relaxed, generators
        As for `SetLayer`.
    """

    def __init__(
        self,
        source: Representation,
        fields: int,
        *,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(source.group, rows, banks, relaxed, generators)
        self.source = source
        self.input_size, self.output_size = source.dimension, source.group.order * fields
        shape, variance = [banks, source.dimension, fields], HE_GAIN / (2 * source.dimension * banks)
        self.psi = uniform(shape, variance, generators)
        self.psi_mean = uniform(shape, variance, generators)
        self.bias = zeros([1, fields], generators)
        self.register_buffer("action", constant(action_constant(source), generators), persistent=False)

    def weight(self, psi: Tensor) -> Tensor:
        """See `expansion.lifting_weight`."""
        return lifting_weight(self.action, psi, None)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """ρ(g) on each row."""
        return self.source.transform(g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """L_g on each row."""
        return move_fields(self.group, g, y)


class SetLinear(SetLayer):
    """From regular fields for each row to regular fields for each row.

    Parameters
    ----------
    group : Group
    fields_in, fields : int
        F and F'; the input is [K, N, B, G·F] and the output [K, N, B, G·F'].
    rows, banks, relaxed, generators
        As for `SetLayer`.
    """

    def __init__(
        self,
        group: Group,
        fields_in: int,
        fields: int,
        *,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(group, rows, banks, relaxed, generators)
        n = group.order
        self.input_size, self.output_size = n * fields_in, n * fields
        shape, variance = [banks, n, fields_in, fields], HE_GAIN / (2 * n * fields_in * banks)
        self.psi = uniform(shape, variance, generators)
        self.psi_mean = uniform(shape, variance, generators)
        self.bias = zeros([1, fields], generators)
        self.register_buffer("places", constant(regular_constant(group), generators), persistent=False)

    def weight(self, psi: Tensor) -> Tensor:
        """See `expansion.regular_weight`."""
        return regular_weight(self.places, psi, None)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """L_g on each row."""
        return move_fields(self.group, g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """L_g on each row."""
        return move_fields(self.group, g, y)


class SetHead(SetLayer):
    """From regular fields for each row to a vector for each row.

    Parameters
    ----------
    target : Representation
        Acts on each row's O outputs.
    fields : int
        F; the input is [K, N, B, G·F] and the output [K, N, B, O].
    rows, banks, relaxed, generators
        As for `SetLayer`.
    """

    def __init__(
        self,
        target: Representation,
        fields: int,
        *,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(target.group, rows, banks, relaxed, generators)
        n = target.group.order
        self.target, self.gain = target, HEAD_GAIN
        self.input_size, self.output_size = n * fields, target.dimension
        shape, variance = [banks, fields, target.dimension], self.gain * n / (2 * fields * banks)
        self.psi = uniform(shape, variance, generators)
        self.psi_mean = uniform(shape, variance, generators)
        self.bias = zeros([1, target.dimension], generators)
        action = constant(action_constant(target).transpose(1, 2) / n, generators)
        self.register_buffer("action", action, persistent=False)
        self.register_buffer(
            "invariant", constant(target.invariant_projection.T, generators), persistent=False
        )

    def weight(self, psi: Tensor) -> Tensor:
        """See `expansion.head_weight`."""
        return head_weight(self.action, psi, None)

    def full_bias(self) -> Tensor:
        """The invariant part of the bias, [K, 1, O]."""
        return torch.matmul(self.bias, self.invariant)

    def row_weights(self, psi: Tensor, gates: Tensor) -> Tensor:
        """The matrix of each row, Σ_l v_l(i, g) φ_l with g that of the input, [K, N, in, O]."""
        n, banks = self.group.order, self.bank_weights(psi)
        masked = banks.view(self.copies, self.banks, 1, n, -1) * self.mask.view(n, n, 1)
        rows = torch.bmm(gates, masked.view(self.copies, self.banks * n, -1))
        return rows.view(self.copies, -1, self.input_size, self.output_size)

    def expand(self) -> tuple[Tensor, ...]:
        """As for any set layer, but a relaxed head has a matrix for the mean of each row, [K, N, in, O], too."""
        if self.w is None:
            return super().expand()
        gates = self.gates()
        return self.row_weights(self.psi, gates), self.row_weights(self.psi_mean, gates), self.full_bias()

    def start(self, mean: Tensor, expanded: Sequence[Tensor], rows: int) -> Tensor:
        """The part of the output that the mean of the rows and the bias give, [K, N, B, O]."""
        if self.w is None:
            return super().start(mean, expanded, rows)
        weight, bias = expanded
        side_by_side = weight.transpose(1, 2).flatten(2)
        spread = bias.repeat(1, 1, rows)
        start = torch.baddbmm(spread, mean, side_by_side).view(self.copies, mean.shape[1], rows, -1)
        return start.transpose(1, 2).contiguous()

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """L_g on each row."""
        return move_fields(self.group, g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """ρ(g) on each row."""
        return self.target.transform(g, y)


def start_of_mean(mean: Tensor, weight: Tensor, bias: Tensor, rows: int) -> Tensor:
    """mean W + b for each row, [K, N, B, out], from mean [K, B, in], W [K, in, out] and b [K, 1 or N, 1, out]."""
    start = torch.bmm(mean, weight)[:, None] + bias
    return start.expand(-1, rows, -1, -1).contiguous()
