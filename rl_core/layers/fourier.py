"""Exact regular → regular layers in the Fourier form: one block for each character of the group."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.expansion import regular_constant, regular_weight, repeat_fields
from rl_core.layers.initial import HE_GAIN, constant, uniform, zeros
from rl_core.layers.linear import GroupLinear
from rl_core.symmetry.groups import Group


def transform_matrix(group: Group, name: str = "Fourier form") -> Tensor:
    """The Walsh–Hadamard transform (character, element) over the group: ±1 [n, n], its transpose n times its inverse.

    Raises
    ------
    SymmetryError
        Where the group has an element with gg ≠ 1, so that its characters are not real.
    """
    if group.characters is None:
        raise SymmetryError(
            f"{name}: needs a group in which every element is its own inverse, not {group.name}"
        )
    return group.characters


class FourierLinear(GroupLinear):
    """An exact regular → regular layer with block-diagonal weights: y^χ = x^χ ψ^χ, n blocks [F, F'].

    For n = 2 the blocks act on the even and odd parts y(e) ± y(g). It is the same map as an exact
    `RegularLinear`, with n times less arithmetic.

    Parameters
    ----------
    group : Group
        With every element its own inverse: products of C2, among them D1 and D2.
    fields_in, fields : int
        F and F'.
    gain : float
        Initial variance of the expanded weights times the fan-in.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    transform: Tensor

    def __init__(
        self,
        group: Group,
        fields_in: int,
        fields: int,
        *,
        gain: float = HE_GAIN,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(group, 1, False, generators)
        n = group.order
        self.fields_in, self.fields, self.gain = fields_in, fields, gain
        self.input_size, self.output_size = n * fields_in, n * fields
        # ψ^χ = Σ_u χ(u) ψ(u) has n times the variance of ψ(u).
        self.blocks = uniform([n, fields_in, fields], gain / fields_in, generators)
        self.bias = zeros([1, fields], generators)
        matrix = transform_matrix(group, "FourierLinear").to(self.blocks)
        self.register_buffer("transform", matrix, persistent=False)
        self.register_buffer("places", constant(regular_constant(group), generators), persistent=False)

    def expand_blocks(self) -> tuple[Tensor, Tensor]:
        """The blocks [K·n, F, F'] and their bias [K·n, 1, F'], which only the trivial character has."""
        n = self.group.order
        padded = nn.functional.pad(self.bias * n, (0, 0, 0, n - 1))
        return self.blocks.flatten(0, 1), padded.view(-1, 1, self.fields)

    def filters(self) -> Tensor:
        """ψ(u) = n⁻¹ Σ_χ χ(u) ψ^χ, [K, 1, n, F, F']."""
        n = self.group.order
        mixed = torch.matmul(self.transform.T / n, self.blocks.flatten(2))
        return mixed.view(self.copies, 1, n, self.fields_in, self.fields)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The plain form: weight [K, G·F, G·F'] and bias [K, 1, G·F']."""
        return regular_weight(self.places, self.filters(), None), repeat_fields(self.bias, self.group.order)


def apply_blocks(transform: Tensor, blocks: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """A Fourier layer on activations in the group's domain.

    Parameters
    ----------
    transform : Tensor [n, n]
        From `transform_matrix`.
    blocks, bias : Tensor [K·n, F, F'], [K·n, 1, F']
        From `FourierLinear.expand_blocks`.
    x : Tensor [K, n·B, F]
        Activations, element by element of the group.

    Returns
    -------
    Tensor [K, n·B, F']
    """
    copies, rows, fields = x.shape
    n = transform.shape[0]
    spectrum = torch.bmm(transform.expand(copies, n, n), x.view(copies, n, -1))
    product = torch.baddbmm(bias, spectrum.view(copies * n, -1, fields), blocks)
    inverse = (transform.T / n).expand(copies, n, n)
    return torch.bmm(inverse, product.view(copies, n, -1)).view(copies, rows, -1)
