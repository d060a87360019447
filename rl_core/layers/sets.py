"""Layers on sets of rows (assets): S_N permutes the rows and a group acts on each row's fibre.

Activations lie as [K, N, B, fibre]. An exact layer is y_i = A x_i + B mean_j x_j + b (Zaheer et al. 2017)
with group-equivariant A, B; a relaxed one is y_i(g) = Σ_l w_l(i, g) (A_l x_i + B_l mean_j x_j)(g) + b.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.base import Layer, check_banks, equivariance_error, move_fields
from rl_core.layers.expansion import (
    action_constant,
    head_weight,
    lifting_weight,
    regular_constant,
    regular_weight,
    repeat_fields,
)
from rl_core.layers.initial import HE_GAIN, HEAD_GAIN, constant, ones, uniform, zeros
from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation

__all__ = ["RowLayer", "SetHead", "SetLayer", "SetLifting", "SetLinear", "SetPool"]


class RowLayer(Layer):
    """What all layers on rows share: relaxed weights w_l(i, g), which start at one, and their checks.

    Parameters
    ----------
    group : Group
        Acts on each row's fibre.
    rows : int or None
        N; an exact layer takes any number of rows and ignores it.
    banks : int
        L, the number of filter banks; an exact layer has one.
    relaxed : bool
        Whether the layer has relaxed weights, [K, L, N, G].
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    w: nn.Parameter | None
    anchor: Tensor

    def __init__(
        self, group: Group, rows: int | None, banks: int, relaxed: bool, generators: Sequence[Generator]
    ) -> None:
        super().__init__()
        check_set_banks(group, rows, banks, relaxed, type(self).__name__)
        self.group, self.rows, self.banks = group, rows, banks
        self.copies = len(generators)
        self.w = ones([banks, rows or 1, group.order], generators) if relaxed else None
        # A layer may have no parameters; this tells device and dtype.
        self.register_buffer("anchor", torch.zeros(1, device=generators[0].device), persistent=False)

    @property
    def reference(self) -> Tensor:
        """A tensor that tells the layer's dtype and device."""
        return self.anchor

    def gains(self) -> dict[str, Tensor]:
        """The relaxed weights w [K, L, N, G], where the layer has them."""
        return {} if self.w is None else {"w": self.w.detach()}

    def gain_parameters(self) -> Iterator[nn.Parameter]:
        """The parameter w, where the layer has it."""
        if self.w is not None:
            yield self.w

    @torch.no_grad()
    def check_equivariance(self, batch: int = 8, seed: int = 0) -> float:
        """The largest error over the group's elements and over a cyclic shift and a swap of rows."""
        error = super().check_equivariance(batch, seed)
        x = self.example(batch, torch.Generator().manual_seed(seed)).to(self.reference)
        y = self(x)
        for places in row_permutations(x.shape[1]):
            moved = y[:, places] if y.ndim == x.ndim else y
            error = max(error, equivariance_error(self(x[:, places]), moved))
        return error


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
    single: Tensor
    invariant: Tensor
    psi: nn.Parameter
    psi_mean: nn.Parameter
    bias: nn.Parameter

    @abstractmethod
    def weight(self, psi: Tensor, w: Tensor | None) -> Tensor:
        """The effective matrix of filters under relaxed weights; see `expansion`."""

    def full_bias(self) -> Tensor:
        """The bias over the whole fibre, [K, 1, out]."""
        return repeat_fields(self.bias, self.group.order)

    def expand(self) -> tuple[Tensor, ...]:
        """The weights of rows and of their mean, and the bias [K, 1, out].

        Exact: both weights are [K, in, out]. Relaxed: rows [K·N, in, out]; of the mean one matrix for each
        bank side by side [K, in, L·out], and the relaxed weights as [K, N, L, G], which gate its result.
        """
        rows = self.weight(self.psi, self.w)
        if self.w is None:
            return rows, self.weight(self.psi_mean, None), self.full_bias()
        banks = self.psi_mean.flatten(0, 1)[:, None]
        mean = self.weight(banks, None).view(self.copies, self.banks, self.input_size, -1)
        mean = mean.transpose(1, 2).flatten(2)
        return rows, mean, self.w.permute(0, 2, 1, 3), self.full_bias()

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor, action: Tensor | None = None) -> Tensor:
        """The output [K, N, B, out].

        Parameters
        ----------
        expanded : sequence of Tensor
            From `expand`.
        x : Tensor [K, N, B, in]
            Activations, or for the first layer of a critic observations.
        action : Tensor [K, N, B, 1], optional
            The last input feature of each row, kept apart so that its gradient costs little.
        """
        self._check_input(x, action)
        copies, rows, batch, _ = x.shape
        mean = x.mean(dim=1) if action is None else torch.cat([x.mean(dim=1), action.mean(dim=1)], dim=-1)
        weight = expanded[0]
        if self.w is None:
            _, mean_weight, bias = expanded
            shared = torch.baddbmm(bias, mean, mean_weight)[:, None]
            flat = x.reshape(copies, rows * batch, -1)
            y = torch.bmm(flat, weight[:, : x.shape[-1]]).view(copies, rows, batch, -1)
            y = y + shared
            if action is not None:
                y = torch.addcmul(y, action, weight[:, None, -1:])
            return y
        _, mean_weight, gates, bias = expanded
        start = self._gated_mean(mean, mean_weight, gates, bias)
        y = torch.baddbmm(start, x.reshape(copies * rows, batch, -1), weight[:, : x.shape[-1]])
        if action is not None:
            y = torch.baddbmm(y, action.reshape(copies * rows, batch, 1), weight[:, -1:])
        return y.view(copies, rows, batch, -1)

    def _gated_mean(self, mean: Tensor, weight: Tensor, gates: Tensor, bias: Tensor) -> Tensor:
        """Σ_l w_l(i, g) (B_l m)(g) + b, as [K·N, B, out]."""
        copies, rows = gates.shape[:2]
        batch, n = mean.shape[1], self.group.order
        products = torch.bmm(mean, weight).view(copies, batch, self.banks, n, -1)
        # One product for each g: [N, L] times [L, B·F].
        by_g = gates.permute(0, 3, 1, 2).reshape(copies * n, rows, self.banks)
        filters = products.permute(0, 3, 2, 1, 4).reshape(copies * n, self.banks, -1)
        gated = torch.bmm(by_g, filters).view(copies, n, rows, batch, -1)
        return (gated.permute(0, 2, 3, 1, 4).flatten(3) + bias[:, None]).flatten(0, 1)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, N, batch, in]; five rows where the layer takes any number."""
        return torch.randn(self.copies, self.rows or 5, batch, self.input_size, generator=generator)

    def _check_input(self, x: Tensor, action: Tensor | None) -> None:
        width = x.shape[-1] + (0 if action is None else 1)
        rows = x.shape[1] if self.w is None else self.rows
        if x.ndim != 4 or list(x.shape[:2]) != [self.copies, rows] or width != self.input_size:
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

    def weight(self, psi: Tensor, w: Tensor | None) -> Tensor:
        """See `expansion.lifting_weight`."""
        return lifting_weight(self.action, psi, w)

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
        self.register_buffer("single", constant(regular_constant(group), generators), persistent=False)
        if relaxed:
            places = constant(regular_constant(group, banks), generators)
            self.register_buffer("places", places, persistent=False)

    def weight(self, psi: Tensor, w: Tensor | None) -> Tensor:
        """See `expansion.regular_weight`."""
        return regular_weight(self.single if w is None else self.places, psi, w)

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

    def weight(self, psi: Tensor, w: Tensor | None) -> Tensor:
        """See `expansion.head_weight`."""
        return head_weight(self.action, psi, w)

    def full_bias(self) -> Tensor:
        """The invariant part of the bias, [K, 1, O]."""
        return torch.matmul(self.bias, self.invariant)

    def expand(self) -> tuple[Tensor, ...]:
        """As for any set layer, but a relaxed head has matrices of its own for the mean, [K·N, in, O] too."""
        return self.weight(self.psi, self.w), self.weight(self.psi_mean, self.w), self.full_bias()

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor, action: Tensor | None = None) -> Tensor:
        """The output [K, N, B, O]; see `SetLayer.apply_expanded`."""
        if self.w is None:
            return super().apply_expanded(expanded, x, action)
        self._check_input(x, action)
        copies, rows, batch, size = x.shape
        weight, mean_weight, bias = expanded
        side_by_side = mean_weight.view(copies, rows, size, -1).transpose(1, 2).flatten(2)
        shared = torch.bmm(x.mean(dim=1), side_by_side).view(copies, batch, rows, -1).transpose(1, 2)
        y = torch.bmm(x.reshape(copies * rows, batch, size), weight).view(copies, rows, batch, -1)
        return y + shared + bias[:, None]

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """L_g on each row."""
        return move_fields(self.group, g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """ρ(g) on each row."""
        return self.target.transform(g, y)


class SetPool(RowLayer):
    """The mean over rows of regular fields; relaxed: L means p_l(g) = N⁻¹ Σ_i w_l(i, g) y_i(g), side by side.

    Parameters
    ----------
    group : Group
    fields : int
        F; the input is [K, N, B, G·F] and the output [K, B, G·(L·F)].
    rows, banks, relaxed, generators
        As for `SetLayer`.
    """

    def __init__(
        self,
        group: Group,
        fields: int,
        *,
        rows: int | None = None,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(group, rows, banks, relaxed, generators)
        self.fields = fields

    def expand(self) -> tuple[Tensor, ...]:
        """The relaxed weights [K, L, N, G] over N, where there are any."""
        return () if self.w is None else (self.w / self.w.shape[2],)

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """The pooled fields [K, B, G·(L·F)]."""
        if self.w is None:
            return x.mean(dim=1)
        fields = x.view(*x.shape[:-1], self.group.order, -1)
        return torch.einsum("klig,kibgf->kbglf", expanded[0], fields).flatten(2)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, N, batch, G·F]."""
        size = self.group.order * self.fields
        return torch.randn(self.copies, self.rows or 5, batch, size, generator=generator)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """L_g on each row."""
        return move_fields(self.group, g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """L_g."""
        return move_fields(self.group, g, y)


def row_permutations(rows: int) -> list[list[int]]:
    """A cyclic shift and a swap, which generate S_N."""
    shift = [*range(1, rows), 0]
    swap = [*range(rows)]
    swap[:2] = swap[:2][::-1]
    return [shift, swap]


def check_set_banks(group: Group, rows: int | None, banks: int, relaxed: bool, name: str) -> None:
    """Refuse a relaxed layer without rows, and a number of banks that cannot be used."""
    if relaxed and rows is None:
        raise SymmetryError(f"{name}: a relaxed layer is tied to its number of rows; give rows")
    if not relaxed:
        check_banks(group, banks, name)
        if banks != 1:
            raise SymmetryError(f"{name}: an exact layer has one bank, got {banks}")
    elif not 1 <= banks <= group.order * (rows or 1):
        raise SymmetryError(
            f"{name}: banks must be 1 … {group.order * (rows or 1)} (rows × group), got {banks}"
        )
