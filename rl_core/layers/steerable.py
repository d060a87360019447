"""Steerable convolutions for subgroups of O(2), on escnn's kernel basis.

K(t) = Σ_b c_b Ψ_b(t) with Ψ_b(gt) = ρ_out(g) Ψ_b(t) ρ_in(g)⁻¹. Relaxed, the coefficients c_b(t) depend on
the offset t; the layer is exact whenever they are constant on the group's orbits of offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.base import move_fields
from rl_core.layers.conv import ConvLayer, ConvSize
from rl_core.layers.initial import HE_GAIN, uniform, zeros
from rl_core.layers.kernel_basis import AXIS, Fields, kernel_basis, matching_space
from rl_core.symmetry.representations import Representation
from rl_core.symmetry.symmetry import transform_plane, turn

__all__ = ["RegularSteerableConv", "SteerableConv"]


class SteerableConv(ConvLayer):
    """A convolution between fields of any representations of a subgroup of O(2).

    Parameters
    ----------
    rotations : int or None
        N of the cyclic rotations; None for all of SO(2).
    flips : bool
        Whether the group has reflections: D_N or O(2).
    source, target : sequence of (int, str)
        Fields of input and output as pairs of number and representation: ``"trivial"``, ``"sign"`` (with
        flips), ``"regular"`` (finite groups) or ``"irrep k"`` (frequency k). Channels lie field by field, as
        in escnn.
    kernel_size, stride, padding : int
        See `ConvLayer`.
    axis : float
        Angle of the axis of reflection, where the group has reflections.
    relaxed : bool
        Whether the coefficients depend on the offset; they start constant: exactly equivariant.
    generators : sequence of torch.Generator
        One for each of the K copies.

    Raises
    ------
    ConfigError
        Where escnn is not installed.
    SymmetryError
        Where a representation is unknown, no kernel exists, or a relaxed kernel has one offset only.
    """

    def __init__(
        self,
        rotations: int | None,
        flips: bool,
        source: Fields,
        target: Fields,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
        axis: float = AXIS,
        relaxed: bool = False,
        generators: Sequence[Generator],
    ) -> None:
        if relaxed and kernel_size == 1:
            raise SymmetryError(
                "SteerableConv: a kernel of size 1 has one offset, so that spatial relaxation does nothing; "
                "use a relaxed GroupConv"
            )
        basis = kernel_basis(rotations, flips, tuple(source), tuple(target), kernel_size, axis)
        channels = basis.source.dimension, basis.target.dimension
        size: ConvSize = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        super().__init__(basis.plane, channels, banks=1, relaxed=False, generators=generators, **size)
        self.source, self.target, self.relaxed = basis.source, basis.target, relaxed
        self.grid = [(i, j) for i in range(len(target)) for j in range(len(source))]
        variance = HE_GAIN / (channels[0] * self.offsets)
        self.coefficients = nn.ParameterList()
        for (i, j), filters in zip(self.grid, basis.filters, strict=True):
            self.register_buffer(f"filters_{i}_{j}", filters.to(generators[0].device), persistent=False)
            power = float(filters.square().mean(dim=(1, 2, 3)).sum())
            shape = [target[i][0], source[j][0], filters.shape[0], 1]
            c = uniform(shape, variance / power if power > 0 else 0.0, generators)
            self.coefficients.append(nn.Parameter(c.repeat(1, 1, 1, 1, self.offsets)) if relaxed else c)
        self.register_buffer("invariants", basis.invariants.to(generators[0].device), persistent=False)
        self.bias = zeros([basis.invariants.shape[1]], generators)
        self.register_buffer("orbits", orbit_means(self.get_buffer("places")), persistent=False)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The kernel [K, out, in, k, k] and the bias [K, out]."""
        blocks = {}
        for (i, j), c in zip(self.grid, self.coefficients, strict=True):
            filters = self.get_buffer(f"filters_{i}_{j}")
            spread = torch.einsum("koibt,bxyt->koxiyt", c.expand(*c.shape[:-1], self.offsets), filters)
            blocks[i, j] = spread.flatten(1, 2).flatten(2, 3)
        rows = {i for i, _ in self.grid}
        weight = torch.cat(
            [torch.cat([blocks[i, j] for k, j in self.grid if k == i], dim=2) for i in sorted(rows)], dim=1
        )
        return self.as_kernel(weight), self.bias @ self.get_buffer("invariants").T

    def penalty(self) -> Tensor:
        """Σ (c_b(t) − mean over the orbit of t)², [K]."""
        total = self.bias.new_zeros(self.copies)
        if self.relaxed:
            means = self.get_buffer("orbits")
            for c in self.coefficients:
                total = total + (c - c @ means).square().flatten(1).sum(dim=1)
        return total

    @torch.no_grad()
    def decay_relaxed_weights(self, share: float) -> None:
        """Move relaxed coefficients this share of the way to their mean over the orbit, in place."""
        if self.relaxed:
            means = self.get_buffer("orbits")
            for c in self.coefficients:
                c.lerp_(c @ means, share)

    def relaxed_weights(self) -> dict[str, Tensor]:
        """Coefficients of a relaxed layer on each orbit of offsets, [K, b, T], by the orbit's first offset.

        The layer is exact where those of an orbit are equal.
        """
        if not self.relaxed:
            return {}
        coefficients = torch.cat([c.detach().flatten(1, 3) for c in self.coefficients], dim=1)
        orbits = [row.nonzero().flatten() for row in self.get_buffer("orbits")]
        return {
            f"c{offset}": coefficients[..., orbit]
            for offset, orbit in enumerate(orbits)
            if len(orbit) > 1 and int(orbit[0]) == offset
        }

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """(gx)(t) = ρ_in(g) x(g⁻¹t), for the group's quarter turns and flips."""
        return transform_plane(self.source, self.plane, torch.tensor(g), x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """(gy)(t) = ρ_out(g) y(g⁻¹t), for the group's quarter turns and flips."""
        return transform_plane(self.target, self.plane, torch.tensor(g), y)


class RegularSteerableConv(ConvLayer):
    """A steerable convolution to regular fields, with channels laid out as by `rl_core.layers.GroupConv`.

    Its coefficients are ordinary filters: `relaxed_parameters` is empty and they have the ordinary learning rate.

    Parameters
    ----------
    plane : Representation
        How the group acts on the plane, each element differently.
    source : (int, str)
        Number and representation of the input's fields, ``"trivial"`` or ``"regular"``.
    fields : int
        F; the output has G·F channels.
    kernel_size, stride, padding, relaxed, generators
        See `SteerableConv`.
    """

    def __init__(
        self,
        plane: Representation,
        source: tuple[int, str],
        fields: int,
        *,
        relaxed: bool = False,
        generators: Sequence[Generator],
        **size: Unpack[ConvSize],
    ) -> None:
        n, (count, kind) = plane.group.order, source
        self.lifts = kind == "trivial"
        channels = count if self.lifts else n * count, n * fields
        super().__init__(plane, channels, banks=1, relaxed=False, generators=generators, **size)
        rotations, flips, axis = matching_space(plane)
        ends = [source], [(fields, "regular")]
        self.steerable = SteerableConv(
            rotations, flips, *ends, axis=axis, relaxed=relaxed, generators=generators, **size
        )
        # escnn's channels are those of a field side by side, ours those of an element; elements by their action.
        gaps = (plane.matrices[:, None] - self.steerable.plane.matrices[None]).abs().amax(dim=(2, 3))
        same = gaps.argmin(dim=1)
        device = generators[0].device
        self.register_buffer("out_order", channel_order(same, fields).to(device), persistent=False)
        order = torch.arange(count) if self.lifts else channel_order(same, count)
        self.register_buffer("in_order", order.to(device), persistent=False)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The kernel [K, G·F', in, k, k] and the bias [K, G·F']."""
        weight, bias = self.steerable.expand()
        rows, columns = self.get_buffer("out_order"), self.get_buffer("in_order")
        return weight.index_select(1, rows).index_select(2, columns), bias.index_select(1, rows)

    def penalty(self) -> Tensor:
        """See `SteerableConv`."""
        return self.steerable.penalty()

    def decay_relaxed_weights(self, share: float) -> None:
        """See `SteerableConv`."""
        self.steerable.decay_relaxed_weights(share)

    def relaxed_weights(self) -> dict[str, Tensor]:
        """See `SteerableConv`."""
        return self.steerable.relaxed_weights()

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """x(g⁻¹t) for plain channels, x(g⁻¹h, g⁻¹t) for regular fields."""
        moved = turn(self.plane, g, x)
        return moved if self.lifts else move_fields(self.group, g, moved, dim=2)


def channel_order(elements: Tensor, fields: int) -> Tensor:
    """For channels (g, f) the places of (f, elements[g]), [G·F]."""
    return (torch.arange(fields)[None] * len(elements) + elements[:, None]).flatten()


def orbit_means(places: Tensor) -> Tensor:
    """The matrix [T, T] that takes values at offsets to their means over orbits, for places g⁻¹t [n, T]."""
    orbit = places.min(dim=0).values
    same = (orbit[:, None] == orbit[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)
