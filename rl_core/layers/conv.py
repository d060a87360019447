"""Group convolutions on images (flips, quarter turns) and time windows (reversal), exact and relaxed.

Feature maps lie as [K, B, G·F, H, W] or [K, B, G·F, T]. The effective kernel is made once and one grouped
convolution runs all K copies.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.layers.base import Layer, check_banks, check_same_group, move_fields
from rl_core.layers.initial import HE_GAIN, ones, uniform, zeros
from rl_core.symmetry.groups import cyclic
from rl_core.symmetry.representations import Representation, trivial
from rl_core.symmetry.symmetry import transform_plane, turn

__all__ = ["ConvLayer", "DenseConv", "GroupConv", "LiftingConv", "output_size"]


class ConvSize(TypedDict, total=False):
    """Size of a convolution, by default of a kernel of size 3 with stride 1 and padding 0."""

    kernel_size: int
    stride: int
    padding: int


class ConvLayer(Layer):
    """The common part of convolutions: a kernel [K, out, in, k, …] and a bias [K, out].

    Parameters
    ----------
    plane : Representation
        How the group acts on the plane (dimension 2) or on time (dimension 1), by signed permutations.
    channels : (int, int)
        Channels in and out.
    kernel_size, stride, padding : int
        As for a convolution. With a stride, ``size + 2·padding − kernel_size`` must be a multiple of it: else
        the sampled places would not be symmetric, which is refused.
    banks : int
        L, the number of filter banks; an exact layer has one.
    relaxed : bool
        Whether the layer has relaxed weights w_l(g), which start at one: exactly equivariant.
    generators : sequence of torch.Generator
        One for each of the K copies.
    """

    w: nn.Parameter | None

    def __init__(
        self,
        plane: Representation,
        channels: tuple[int, int],
        *,
        banks: int,
        relaxed: bool,
        generators: Sequence[Generator],
        kernel_size: int = 3,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_banks(plane.group, banks, relaxed, name)
        fault = plane.signed_permutation_fault()
        if plane.dimension not in (1, 2) or fault is not None:
            raise SymmetryError(
                f"{name}: the plane needs flips and quarter turns in 1 or 2 dimensions: {fault}"
            )
        if kernel_size < 1 or stride < 1 or padding < 0:
            raise SymmetryError(f"{name}: kernel_size and stride must be at least 1, padding at least 0")
        self.group, self.plane, self.banks = plane.group, plane, banks
        self.channels_in, self.channels_out = channels
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.copies = len(generators)
        self.w = ones([banks, plane.group.order], generators) if relaxed else None
        self.register_buffer("places", kernel_places(plane, kernel_size), persistent=False)

    @property
    def offsets(self) -> int:
        """Number of places of the kernel."""
        return int(self.kernel_size**self.plane.dimension)

    @abstractmethod
    def expand(self) -> tuple[Tensor, Tensor]:
        """The kernel [K, out, in, k, …] and the bias [K, out]."""

    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """The convolution of x [K, B, in, H, W] (or [K, B, in, T]) with the kernels, as [K, B, out, …]."""
        self._check_input(x)
        weight, bias = expanded
        convolve = nn.functional.conv2d if self.plane.dimension == 2 else nn.functional.conv1d
        # Copies lie side by side as groups of channels; from layer to layer these transpositions cancel.
        side_by_side = x.transpose(0, 1).flatten(1, 2)
        if x.device.type == "cpu" and self.plane.dimension == 2:
            # Else each of forward and backward rearranges its inputs and outputs, and pads channels to 16s.
            side_by_side = side_by_side.contiguous(memory_format=torch.channels_last)
        y = convolve(
            side_by_side, weight.flatten(0, 1), bias.flatten(), self.stride, self.padding, groups=self.copies
        )
        return y.view(y.shape[0], self.copies, self.channels_out, *y.shape[2:]).transpose(0, 1)

    def as_kernel(self, weight: Tensor) -> Tensor:
        """A weight [K, out, in, T] with its offsets laid out in space."""
        return weight.view(*weight.shape[:3], *[self.kernel_size] * self.plane.dimension)

    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input of the smallest fitting size of at least three outputs."""
        size = self.kernel_size + 2 * self.stride
        while size - 2 * self.padding < 1:
            size += self.stride
        space = [size - 2 * self.padding] * self.plane.dimension
        return torch.randn(self.copies, batch, self.channels_in, *space, generator=generator)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """(L_g y)(h, t) = y(g⁻¹h, g⁻¹t)."""
        return move_fields(self.group, g, turn(self.plane, g, y), dim=2)

    def _check_input(self, x: Tensor) -> None:
        name = type(self).__name__
        if x.ndim != 3 + self.plane.dimension or (x.shape[0], x.shape[2]) != (self.copies, self.channels_in):
            wanted = f"[{self.copies}, B, {self.channels_in}, " + (
                "H, W]" if self.plane.dimension == 2 else "T]"
            )
            raise SymmetryError(f"{name}: needs {wanted}, got {list(x.shape)}")
        if self.group.order > 1:
            for size in x.shape[3:]:
                output_size(size, self.kernel_size, self.stride, self.padding)


class LiftingConv(ConvLayer):
    """From plain channels to regular fields: y(g, t) = Σ_l w_l(g) Σ_s ψ_l(g⁻¹s) ρ(g)⁻¹ x(t + s) + b.

    Parameters
    ----------
    source : Representation
        ρ, on the input channels (trivial for colours).
    plane : Representation
        See `ConvLayer`.
    fields : int
        F; the output has G·F channels.
    kernel_size, stride, padding, banks, relaxed, generators
        See `ConvLayer`.
    """

    def __init__(
        self,
        source: Representation,
        plane: Representation,
        fields: int,
        *,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
        **size: Unpack[ConvSize],
    ) -> None:
        check_same_group(source, plane.group, "LiftingConv")
        channels = source.dimension, plane.group.order * fields
        super().__init__(plane, channels, banks=banks, relaxed=relaxed, generators=generators, **size)
        self.source = source
        self.is_trivial = source == trivial(plane.group, source.dimension)
        variance = HE_GAIN / (source.dimension * self.offsets * banks)
        self.psi = uniform([banks, fields, source.dimension, self.offsets], variance, generators)
        self.bias = zeros([fields], generators)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The kernel [K, G·F, C, k, …] and the bias [K, G·F]."""
        n = self.group.order
        copies, banks, fields, size, offsets = self.psi.shape
        turned = self.psi.index_select(4, self.get_buffer("places").flatten())
        blocks = weigh(turned.view(copies, banks, fields, size, n, offsets), self.w, axis=4).movedim(3, 1)
        if not self.is_trivial:
            blocks = torch.einsum("gji,kgfit->kgfjt", self.source.matrices.to(blocks), blocks)
        return self.as_kernel(blocks.reshape(copies, n * fields, size, offsets)), self.bias.repeat(1, n)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """(gx)(t) = ρ(g) x(g⁻¹t)."""
        return transform_plane(self.source, self.plane, torch.tensor(g), x)


class GroupConv(ConvLayer):
    """Between regular fields: y(g, t) = Σ_h Σ_l w_l(g) Σ_s ψ_l(g⁻¹h, g⁻¹s) x(h, t + s) + b.

    With a kernel as large as the input it is a linear layer on whole feature maps.

    Parameters
    ----------
    plane : Representation
        See `ConvLayer`.
    fields_in, fields : int
        F and F'; the channels are G·F and G·F'.
    kernel_size, stride, padding, banks, relaxed, generators
        See `ConvLayer`.
    """

    def __init__(
        self,
        plane: Representation,
        fields_in: int,
        fields: int,
        *,
        banks: int = 1,
        relaxed: bool = False,
        generators: Sequence[Generator],
        **size: Unpack[ConvSize],
    ) -> None:
        n = plane.group.order
        channels = n * fields_in, n * fields
        super().__init__(plane, channels, banks=banks, relaxed=relaxed, generators=generators, **size)
        variance = HE_GAIN / (n * fields_in * self.offsets * banks)
        self.psi = uniform([banks, fields, fields_in, n * self.offsets], variance, generators)
        self.bias = zeros([fields], generators)
        # Filters are indexed by (u, s); effective kernels by (g, h, t): u = g⁻¹h and s = g⁻¹t.
        index = self.group.difference[:, :, None] * self.offsets + self.get_buffer("places")[:, None, :]
        self.register_buffer("index", index.flatten(), persistent=False)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The kernel [K, G·F', G·F, k, …] and the bias [K, G·F']."""
        n = self.group.order
        copies, banks, fields, fields_in, _ = self.psi.shape
        turned = self.psi.index_select(4, self.get_buffer("index"))
        spread = turned.view(copies, banks, fields, fields_in, n, n * self.offsets)
        blocks = weigh(spread, self.w, axis=4).view(copies, fields, fields_in, n, n, self.offsets)
        weight = blocks.permute(0, 3, 1, 4, 2, 5).reshape(copies, n * fields, n * fields_in, self.offsets)
        return self.as_kernel(weight), self.bias.repeat(1, n)

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """(L_g x)(h, t) = x(g⁻¹h, g⁻¹t)."""
        return move_fields(self.group, g, turn(self.plane, g, x), dim=2)


class DenseConv(ConvLayer):
    """A convolution without symmetry.

    Parameters
    ----------
    dimension : int
        2 for images, 1 for time windows.
    channels_in, channels_out : int
        Channels.
    kernel_size, stride, padding, generators
        See `ConvLayer`.
    """

    def __init__(
        self,
        dimension: int,
        channels_in: int,
        channels_out: int,
        *,
        generators: Sequence[Generator],
        **size: Unpack[ConvSize],
    ) -> None:
        plane, channels = trivial(cyclic(1), dimension), (channels_in, channels_out)
        super().__init__(plane, channels, banks=1, relaxed=False, generators=generators, **size)
        shape = [channels_out, channels_in, *[self.kernel_size] * dimension]
        self.weight = uniform(shape, HE_GAIN / (channels_in * self.offsets), generators)
        self.bias = zeros([channels_out], generators)

    def expand(self) -> tuple[Tensor, Tensor]:
        """The parameters themselves."""
        return self.weight, self.bias

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """Nothing moves."""
        return x


def weigh(filters: Tensor, w: Tensor | None, axis: int) -> Tensor:
    """Σ_l w_l(g) ψ_l for filters [K, L, …] with G at this axis; an exact layer's one bank as it is."""
    if w is None:
        return filters[:, 0]
    k, banks, n = w.shape
    shape = [k, banks, *[1] * (filters.ndim - 2)]
    shape[axis] = n
    return (filters * w.view(shape)).sum(dim=1)


def kernel_places(plane: Representation, size: int) -> Tensor:
    """For each g and offset t of a kernel the index of g⁻¹t, [n, T]."""
    grid = torch.arange(size**plane.dimension).view([size] * plane.dimension)
    return torch.stack([turn(plane, g, grid).flatten() for g in range(plane.group.order)])


def output_size(size: int, kernel_size: int, stride: int, padding: int) -> int:
    """The output size of a convolution that samples symmetric places.

    Raises
    ------
    SymmetryError
        Where the stride leaves places over, so that the layer would not be equivariant, or nothing is left.
    """
    room = size + 2 * padding - kernel_size
    if room < 0:
        raise SymmetryError(f"convolution: size {size} is smaller than the kernel {kernel_size}")
    if room % stride:
        raise SymmetryError(
            f"convolution: stride {stride} on size {size} with kernel {kernel_size} and padding {padding} "
            f"leaves {room % stride} over and breaks the symmetry; use another size (odd ones fit stride 2)"
        )
    return room // stride + 1
