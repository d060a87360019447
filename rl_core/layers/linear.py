"""Group layers on vectors: lifting, regular → regular, head, their dense counterpart and LayerNorm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.base import Layer, check_banks
from rl_core.layers.expansion import (
    action_constant,
    head_weight,
    lifting_weight,
    regular_constant,
    regular_weight,
    repeat_fields,
)
from rl_core.layers.initial import HE_GAIN, HEAD_GAIN, constant, ones, uniform, zeros
from rl_core.symmetry.groups import Group, cyclic
from rl_core.symmetry.representations import Representation

__all__ = ["DenseLinear", "GroupLinear", "Head", "LayerNorm", "Lifting", "RegularLinear"]


class GroupLinear(Layer):
    """The common part of linear group layers: an effective weight [K, in, out] and a bias [K, 1, out].

    Parameters
    ----------
    group : Group
    banks : int
        L, the number of filter banks, 1 … |G|; an exact layer has one.
    relaxed : bool
        Whether the layer has relaxed weights w_l(g), which start at one: exactly equivariant.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    input_size: int
    output_size: int
    w: nn.Parameter | None
    action: Tensor
    places: Tensor
    invariant: Tensor
    gain: float = HE_GAIN
    """Initial variance of the expanded weights times the fan-in."""

    def __init__(self, group: Group, banks: int, relaxed: bool, generators: Sequence[Generator]) -> None:
        super().__init__()
        check_banks(group, banks, relaxed, type(self).__name__)
        self.group = group
        self.banks = banks
        self.copies = len(generators)
        self.w = ones([banks, group.order], generators) if relaxed else None

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """``x @ weight + bias`` for x [K, B, in]."""
        self._check_input(x)
        weight, bias = expanded
        return torch.baddbmm(bias, x, weight)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, batch, in]."""
        return torch.randn(self.copies, batch, self.input_size, generator=generator)

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[0] != self.copies or x.shape[2] != self.input_size:
            raise SymmetryError(
                f"{type(self).__name__}: needs [{self.copies}, B, {self.input_size}], got {list(x.shape)}"
            )


class Lifting(GroupLinear):
    """From a vector to regular fields: y(g) = Σ_l w_l(g) ψ_l ρ(g)⁻¹x + b.

    Parameters
    ----------
    source : Representation
        ρ, on the input.
    fields : int
        F; the output is [K, B, G·F].
    banks, relaxed, generators
        As for `GroupLinear`.
    gain : float
        Initial variance of the expanded weights times the fan-in.
    """

    def __init__(
        self,
        source: Representation,
        fields: int,
        *,
        banks: int = 1,
        relaxed: bool = False,
        gain: float = HE_GAIN,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(source.group, banks, relaxed, generators)
        self.source, self.gain = source, gain
        self.fields = fields
        self.input_size = source.dimension
        self.output_size = source.group.order * fields
        self.psi = uniform([banks, source.dimension, fields], gain / (source.dimension * banks), generators)
        self.bias = zeros([1, fields], generators)
        self.register_buffer("action", constant(action_constant(source), generators), persistent=False)

    def expand(self) -> tuple[Tensor, Tensor]:
        """Weight [K, d, G·F] and bias [K, 1, G·F]."""
        weight = lifting_weight(self.action, self.psi, self.w)
        return weight, repeat_fields(self.bias, self.group.order)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """ρ(g)x."""
        return self.source.transform(g, x)


class RegularLinear(GroupLinear):
    """From regular fields to regular fields: y(g) = Σ_h Σ_l w_l(g) ψ_l(g⁻¹h) x(h) + b.

    Parameters
    ----------
    group : Group
    fields_in, fields : int
        F and F'; the input is [K, B, G·F] and the output [K, B, G·F'].
    banks, relaxed, gain, generators
        As for `Lifting`.
    """

    def __init__(
        self,
        group: Group,
        fields_in: int,
        fields: int,
        *,
        banks: int = 1,
        relaxed: bool = False,
        gain: float = HE_GAIN,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(group, banks, relaxed, generators)
        n = group.order
        self.fields_in, self.fields, self.gain = fields_in, fields, gain
        self.input_size, self.output_size = n * fields_in, n * fields
        self.psi = uniform([banks, n, fields_in, fields], gain / (n * fields_in * banks), generators)
        self.bias = zeros([1, fields], generators)
        self.register_buffer(
            "places",
            constant(regular_constant(group, relaxed=relaxed), generators),
            persistent=False,
        )

    def expand(self) -> tuple[Tensor, Tensor]:
        """Weight [K, G·F, G·F'] and bias [K, 1, G·F']."""
        return regular_weight(self.places, self.psi, self.w), repeat_fields(self.bias, self.group.order)


class Head(GroupLinear):
    """From regular fields to a vector: μ = n⁻¹ Σ_g Σ_l v_l(g) ρ(g) φ_l y(g) + b, b invariant.

    Parameters
    ----------
    target : Representation
        ρ, on the output; a trivial one makes the output invariant.
    fields : int
        F; the input is [K, B, G·F].
    banks, relaxed, generators
        As for `GroupLinear`.
    """

    def __init__(
        self,
        target: Representation,
        fields: int,
        *,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(target.group, banks, relaxed, generators)
        n = target.group.order
        self.gain = HEAD_GAIN
        self.target = target
        self.fields = fields
        self.input_size, self.output_size = n * fields, target.dimension
        # The mean over g divides by n; the factor n² gives the expanded matrix its variance back.
        variance = self.gain * n**2 / (n * fields * banks)
        self.phi = uniform([banks, fields, target.dimension], variance, generators)
        self.bias = zeros([1, target.dimension], generators)
        action = constant(action_constant(target).transpose(1, 2) / n, generators)
        self.register_buffer("action", action, persistent=False)
        self.register_buffer(
            "invariant", constant(target.invariant_projection.T, generators), persistent=False
        )

    def expand(self) -> tuple[Tensor, Tensor]:
        """Weight [K, G·F, O] and bias [K, 1, O]."""
        return head_weight(self.action, self.phi, self.w), torch.matmul(self.bias, self.invariant)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """ρ(g)y."""
        return self.target.transform(g, y)


class DenseLinear(GroupLinear):
    """A linear layer without symmetry.

    Parameters
    ----------
    input_size, output_size : int
    gain : float
        Variance of the weights times their fan-in.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    def __init__(
        self, input_size: int, output_size: int, *, gain: float = HE_GAIN, generators: Sequence[Generator]
    ) -> None:
        super().__init__(cyclic(1), 1, False, generators)
        self.gain = gain
        self.input_size, self.output_size = input_size, output_size
        self.weight = uniform([input_size, output_size], gain / input_size, generators)
        self.bias = zeros([1, output_size], generators)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The parameters themselves."""
        return self.weight, self.bias

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """Nothing moves."""
        return x

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """Nothing moves."""
        return y


class LayerNorm(Layer):
    """Layer normalisation over all of (G, F), with its affine part shared over g.

    Parameters
    ----------
    group : Group
    fields : int
        F; input and output are [K, B, G·F].
    generators : sequence of torch.Generator
        One for each of the K copies.
    epsilon : float
        Added to the variance.
    """

    def __init__(
        self, group: Group, fields: int, *, generators: Sequence[Generator], epsilon: float = 1e-5
    ) -> None:
        super().__init__()
        self.group, self.copies, self.fields, self.epsilon = group, len(generators), fields, epsilon
        self.scale = ones([1, fields], generators)
        self.shift = zeros([1, fields], generators)

    def expand(self) -> tuple[Tensor, Tensor]:
        """Scale and shift [K, 1, G·F]."""
        n = self.group.order
        return self.scale.repeat(1, 1, n), self.shift.repeat(1, 1, n)

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """The normalised, scaled and shifted input [K, …, G·F]."""
        scale, shift = (t.view(self.copies, *[1] * (x.ndim - 2), -1) for t in expanded)
        normal = nn.functional.layer_norm(x, x.shape[-1:], eps=self.epsilon)
        return torch.addcmul(shift, normal, scale)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, batch, G·F]."""
        return torch.randn(self.copies, batch, self.group.order * self.fields, generator=generator)
