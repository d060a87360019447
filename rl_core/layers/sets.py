"""Layers on sets of rows (assets): S_N permutes the rows and a group acts on each row's fibre.

Activations lie as [K, N, B, fibre]. An exact layer is y_i = A x_i + B mean_j x_j + b (Zaheer et al. 2017)
with group-equivariant A, B; a relaxed one is y_i(g) = Σ_l w_l(i, g) (A_l x_i + B_l mean_j x_j)(g) + b. Where rows are
exchangeable within sectors only, the mean over the row's sector with a C of its own is added to both.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.expansion import (
    action_constant,
    head_weight,
    lifting_weight,
    regular_constant,
    regular_weight,
    repeat_fields,
)
from rl_core.layers.initial import HE_GAIN, HEAD_GAIN, constant, uniform, zeros
from rl_core.layers.products import low_rank_product, row_product
from rl_core.layers.rows import RowLayer, row_count
from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation

__all__ = ["SetHead", "SetLayer", "SetLifting", "SetLinear"]


class SetLayer(RowLayer):
    """The common part of linear layers on sets.

    Parameters are those of `RowLayer`.
    """

    input_size: int
    output_size: int
    last_apart: bool = False
    gain: float = HE_GAIN
    """Initial variance of the expanded weights over [x_i, mean] times the fan-in."""

    action: Tensor
    places: Tensor
    invariant: Tensor
    psi: nn.Parameter
    psi_mean: nn.Parameter
    psi_sector: nn.Parameter | None
    bias: nn.Parameter
    same_sector: Tensor | None

    def add_filters(self, shape: list[int], fan_in: float, generators: Sequence[Generator]) -> None:
        """Make the filters, of this shape, of a row, of the mean over all rows, and of that over the row's sector."""
        means = 2 if self.sectors is None else 3
        variance = self.gain / (means * fan_in * self.banks)
        self.psi, self.psi_mean = (uniform(shape, variance, generators) for _ in range(2))
        numbers = None if self.sectors is None else torch.tensor(self.sectors)
        psi_sector = None if numbers is None else uniform(shape, variance, generators)
        self.register_parameter("psi_sector", psi_sector)
        same = None if numbers is None else (numbers[:, None] == numbers).to(self.psi)
        self.register_buffer("same_sector", same, persistent=False)

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

    def row_weights(self, banks: Tensor, gates: Tensor) -> Tensor:
        """The matrix of each row, Σ_l w_l(i, g) ψ_l with g that of the output, [K, N, in, out]."""
        copies, size, n = self.copies, banks.shape[2], self.group.order
        # A copy of each bank for each g holds the columns of that g alone; one product with w then adds them up.
        masked = banks.view(copies, self.banks, 1, size, n, -1) * self.mask.view(n, 1, n, 1)
        rows = low_rank_product(gates, masked.view(copies, self.banks * n, -1))
        return rows.view(copies, -1, size, self.output_size)

    def with_sector(self, rows: Tensor, gates: Tensor | None) -> Tensor:
        """Matrices of rows [K, N or 1, in, out] with those of the mean over their sector below, where there are any."""
        if self.psi_sector is None:
            return rows
        banks = self.bank_weights(self.psi_sector)
        return torch.cat([rows, banks if gates is None else self.row_weights(banks, gates)], dim=2)

    def expand(self) -> tuple[Tensor, ...]:
        """The weights of rows (with ``last_apart`` of the last input, too) and of their mean, and the bias.

        With sectors, the inputs of a row are followed by the means over its sector of all its inputs.

        Exact: rows [K, 1, in, out], mean [K, in, out], bias [K, 1, out]. Relaxed: rows [K, N, in, out]; of the mean
        one matrix for each bank side by side [K, in, L·out]; bias; and the relaxed weights with a one for the bias,
        [K, N, L·G + 1].
        """
        banks = self.bank_weights(self.psi)
        parts = [banks[:, :, :-1], banks[:, :, -1:]] if self.last_apart else [banks]
        if self.w is None:
            rows = [part.contiguous() for part in parts]
            rows[0] = self.with_sector(rows[0], None)
            return *rows, self.weight(self.psi_mean), self.full_bias()
        gates = self.gates()
        rows = [self.row_weights(part.contiguous(), gates) for part in parts]
        rows[0] = self.with_sector(rows[0], gates)
        mean = self.bank_weights(self.psi_mean).transpose(1, 2).flatten(2)
        return *rows, mean, self.full_bias(), nn.functional.pad(gates, (0, 1), value=1.0)

    def apply_expanded(
        self,
        expanded: Sequence[Tensor],
        x: Tensor,
        action: Tensor | None = None,
        presence: Tensor | None = None,
    ) -> Tensor:
        """The output [K, N, B, out].

        Parameters
        ----------
        expanded : sequence of Tensor
            From `expand`.
        x : Tensor [K, N, B, in] or [S, N, B, in]
            Activations, or for the first layer observations, which neighbouring copies may share.
        action : Tensor [K, N, B, 1] or [S, N, B, 1], optional
            The last input of each row, with ``last_apart``.
        presence : Tensor [K, N, B, 1] or [S, N, B, 1], optional
            1 for rows that are present, 0 for absent ones, which are zero in x and action; the output there has no
            meaning.
        """
        self._check_input(x, action)
        rows = x.shape[1]
        # A sum and a small quotient: the gradient of mean would divide a tensor as large as x.
        mean = x.sum(dim=1) if action is None else torch.cat([x.sum(dim=1), action.sum(dim=1)], dim=-1)
        mean = mean / (rows if presence is None else row_count(presence))
        if len(mean) != self.copies:
            mean = mean.repeat_interleave(self.copies // len(mean), dim=0)
        if self.same_sector is not None:
            whole = x if action is None else torch.cat([x, action], dim=-1)
            x = torch.cat([x, self.sector_mean(whole, presence)], dim=-1)
        if action is None:
            return row_product(*self.start(mean, expanded[1:], rows), x, expanded[0])
        return row_product(*self.start(mean, expanded[2:], rows), x, expanded[0], action, expanded[1])

    def sector_mean(self, x: Tensor, presence: Tensor | None = None) -> Tensor:
        """The mean over each row's sector, of the shape of x [K, N, B, in]."""
        assert self.same_sector is not None
        same = self.same_sector.to(x)
        if presence is None:
            return torch.matmul(same / same.sum(dim=1, keepdim=True), x.flatten(2)).view(x.shape)
        count = torch.matmul(same, presence.flatten(2)).clamp_min(1)[..., None]
        return torch.matmul(same, x.flatten(2)).view(x.shape) / count

    def start(self, mean: Tensor, expanded: Sequence[Tensor], rows: int) -> tuple[Tensor, Tensor]:
        """The part from the mean [K, B, in] of the rows and the bias, as factors [K, N, m] and [K, m, B·out]."""
        weight, bias = expanded[:2]
        if self.w is None:
            shared = torch.baddbmm(bias, mean, weight)
            return mean.new_ones(self.copies, rows, 1), shared.view(self.copies, 1, -1)
        batch, n = mean.shape[1], self.group.order
        parts = torch.bmm(mean, weight).view(self.copies, batch, self.banks, n, -1).transpose(1, 2)
        masked = parts[:, :, None] * self.mask.to(parts).view(n, 1, n, 1)
        spread = bias.expand(-1, batch, -1).reshape(self.copies, 1, -1)
        return expanded[2], torch.cat([masked.reshape(self.copies, self.banks * n, -1), spread], dim=1)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, N, batch, in]; five rows where the layer takes any number."""
        return torch.randn(self.copies, self.rows or 5, batch, self.input_size, generator=generator)

    def _check_input(self, x: Tensor, action: Tensor | None) -> None:
        width = x.shape[-1] + (0 if action is None else 1)
        rows = x.shape[1] if self.w is None and self.sectors is None else self.rows
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
    last_apart : bool
        Whether the last input comes apart, as the action of a critic does: its gradient then costs little.
    rows, banks, relaxed, generators, sectors, relax_over
        As for `RowLayer`.
    gain : float
        Initial variance of the expanded weights over [x_i, mean] times the fan-in.
    """

    def __init__(
        self,
        source: Representation,
        fields: int,
        *,
        last_apart: bool = False,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        gain: float = HE_GAIN,
        generators: Sequence[Generator],
        sectors: Sequence[int] | None = None,
        relax_over: str = "assets",
    ) -> None:
        super().__init__(source.group, rows, banks, relaxed, generators, sectors, relax_over)
        self.source, self.last_apart, self.gain = source, last_apart, gain
        self.input_size, self.output_size = source.dimension, source.group.order * fields
        self.add_filters([banks, source.dimension, fields], source.dimension, generators)
        self.bias = zeros([1, fields], generators)
        self.register_buffer("action", constant(action_constant(source), generators), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The output [K, N, B, G·F] for whole inputs [K, N, B, d]."""
        parts = (x[..., :-1], x[..., -1:]) if self.last_apart else (x,)
        return self.apply_expanded(self.expand(), *parts)

    def weight(self, psi: Tensor) -> Tensor:
        """See `expansion.lifting_weight`."""
        return lifting_weight(self.action, psi, None)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """ρ(g) on each row."""
        return self.source.transform(g, x)


class SetLinear(SetLayer):
    """From regular fields for each row to regular fields for each row.

    Parameters
    ----------
    group : Group
    fields_in, fields : int
        F and F'; the input is [K, N, B, G·F] and the output [K, N, B, G·F'].
    rows, banks, relaxed, gain, generators, sectors, relax_over
        As for `SetLifting`.
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
        gain: float = HE_GAIN,
        generators: Sequence[Generator],
        sectors: Sequence[int] | None = None,
        relax_over: str = "assets",
    ) -> None:
        super().__init__(group, rows, banks, relaxed, generators, sectors, relax_over)
        n = group.order
        self.gain, self.input_size, self.output_size = gain, n * fields_in, n * fields
        self.add_filters([banks, n, fields_in, fields], n * fields_in, generators)
        self.bias = zeros([1, fields], generators)
        self.register_buffer("places", constant(regular_constant(group), generators), persistent=False)

    def weight(self, psi: Tensor) -> Tensor:
        """See `expansion.regular_weight`."""
        return regular_weight(self.places, psi, None)


class SetHead(SetLayer):
    """From regular fields for each row to a vector for each row.

    Parameters
    ----------
    target : Representation
        Acts on each row's O outputs.
    fields : int
        F; the input is [K, N, B, G·F] and the output [K, N, B, O].
    rows, banks, relaxed, generators, sectors, relax_over
        As for `RowLayer`.
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
        sectors: Sequence[int] | None = None,
        relax_over: str = "assets",
    ) -> None:
        super().__init__(target.group, rows, banks, relaxed, generators, sectors, relax_over)
        n = target.group.order
        self.target, self.gain = target, HEAD_GAIN
        self.input_size, self.output_size = n * fields, target.dimension
        # Each output is a sum over g with a factor 1/n, so its variance is that of a fan-in of fields / n.
        self.add_filters([banks, fields, target.dimension], fields / n, generators)
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

    def row_weights(self, banks: Tensor, gates: Tensor) -> Tensor:
        """The matrix of each row, Σ_l v_l(i, g) φ_l with g that of the input, [K, N, in, O]."""
        copies, n = self.copies, self.group.order
        masked = banks.view(copies, self.banks, 1, n, -1) * self.mask.view(n, n, 1)
        rows = low_rank_product(gates, masked.view(copies, self.banks * n, -1))
        return rows.view(copies, -1, self.input_size, self.output_size)

    def expand(self) -> tuple[Tensor, ...]:
        """As for any set layer, but a relaxed head has a matrix for the mean of each row, [K, N, in, O], too."""
        if self.w is None:
            return super().expand()
        gates = self.gates()
        rows, mean = (self.row_weights(self.bank_weights(psi), gates) for psi in (self.psi, self.psi_mean))
        return self.with_sector(rows, gates), mean, self.full_bias()

    def start(self, mean: Tensor, expanded: Sequence[Tensor], rows: int) -> tuple[Tensor, Tensor]:
        """The part from the mean of the rows and the bias, as factors [K, N, m] and [K, m, B·O]."""
        if self.w is None:
            return super().start(mean, expanded, rows)
        weight, bias = expanded
        side_by_side = weight.transpose(1, 2).flatten(2)
        each = torch.baddbmm(bias.repeat(1, 1, rows), mean, side_by_side).view(*mean.shape[:2], rows, -1)
        right = each.transpose(1, 2).reshape(self.copies, rows, -1)
        return torch.eye(rows, device=right.device, dtype=right.dtype).expand(self.copies, -1, -1), right

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """ρ(g) on each row."""
        return self.target.transform(g, y)
