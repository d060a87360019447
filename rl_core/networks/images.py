"""Networks on images and time windows: a convolutional encoder, shared by a seed's critics, and a head on vectors.

The encoder follows DrQ-v2 (Yarats et al. 2022): 3×3 convolutions of which the first has stride 2, then a linear
layer on the whole feature map with LayerNorm and tanh. Here that layer is a group convolution as large as the
map, and its output is a vector of regular fields, on which the networks on vectors go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from rl_core.agents import Kind
from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers.base import Layer
from rl_core.layers.conv import ConvLayer, DenseConv, GroupConv, LiftingConv, output_size
from rl_core.layers.linear import LayerNorm
from rl_core.layers.steerable import RegularSteerableConv
from rl_core.networks.base import Network, Packed, Shape
from rl_core.networks.vectors import vector_network
from rl_core.symmetry.groups import cyclic
from rl_core.symmetry.representations import Representation, regular, trivial
from rl_core.symmetry.symmetry import Element, Symmetry

if TYPE_CHECKING:
    from rl_core.config import SACConfig

__all__ = ["EncoderShape", "ImageEncoder", "ImageNetwork"]

LAYERS = ("group", "steerable")
KERNEL_SIZE = 3


@dataclass(frozen=True)
class EncoderShape:
    """The size of an encoder.

    Attributes
    ----------
    image_size : int
        Pixels of a side (or the length of a time window); odd, so that stride 2 keeps the symmetry.
    channels : int
        Channels n·F of each convolution (rounded to a multiple of n).
    convolutions : int
        Number of convolutions; the first has stride 2.
    features : int
        Length n·F of the encoded vector (rounded to a multiple of n).
    layer : {"group", "steerable"}
        Convolutions of networks with a symmetry: between group elements with relaxed weights for each of them, or
        on steerable kernels whose relaxed coefficients depend on the offset, as in the paper's second version.
    """

    image_size: int = 85
    channels: int = 32
    convolutions: int = 4
    features: int = 64
    layer: str = "group"

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise ConfigError(f"layer: must be 'group' or 'steerable', got {self.layer!r}")
        for name in ("image_size", "channels", "convolutions", "features"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, got {getattr(self, name)}")

    @classmethod
    def of(cls, config: SACConfig) -> EncoderShape:
        """Return the size that an agent's settings ask for."""
        return cls(
            config.image_size,
            config.encoder_channels,
            config.encoder_convolutions,
            config.encoder_features,
            config.encoder_layer,
        )


class ImageEncoder(Network):
    """From images [S, B, C, H, W] (or windows [S, B, C, T]) to vectors of regular fields [S, B, n·F].

    Parameters
    ----------
    kind : Kind
    symmetry : Symmetry
        With a plane.
    shape : EncoderShape
    banks : int
        L, the filter banks of relaxed layers (at most the group's order).
    generators : sequence of torch.Generator
        One for each copy.
    """

    def __init__(
        self,
        kind: Kind,
        symmetry: Symmetry,
        shape: EncoderShape,
        banks: int,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(symmetry, len(generators), None)
        if symmetry.plane is None:
            raise SymmetryError("encoder: the symmetry has no plane; set one, or use a network on vectors")
        self.kind, self.image_size = kind, shape.image_size
        group = symmetry.group if kind.group_layers else cyclic(1)
        order = group.order
        fields, features = (max(1, round(c / order)) for c in (shape.channels, shape.features))
        self.output_size = features * order
        size, given = shape.image_size, 0
        for i in range(shape.convolutions):
            stride = 2 if i == 0 else 1
            size = (
                output_size(size, KERNEL_SIZE, stride, 0) if order > 1 else (size - KERNEL_SIZE) // stride + 1
            )
            if size < 1:
                raise ConfigError(f"image_size: {shape.image_size} is too small for {i + 1} convolutions")
            make = self._steerable if shape.layer == "steerable" and order > 1 else self._conv
            self.layers[f"conv{i}"] = make(given, fields, KERNEL_SIZE, stride, banks, generators)
            given = fields
        # On the whole map a steerable basis would be huge, and offsets are not seen at several places.
        self.layers["trunk"] = self._conv(given, features, size, 1, banks, generators)
        self.layers["norm"] = LayerNorm(group, features, generators=generators)

    def _conv(
        self,
        given: int,
        fields: int,
        kernel_size: int,
        stride: int,
        banks: int,
        generators: Sequence[Generator],
    ) -> Layer:
        """A convolution from ``given`` fields, or from the image where that is 0."""
        plane, channels = self._ends()
        size = {"kernel_size": kernel_size, "stride": stride}
        if not self.kind.group_layers:
            start = given or channels.dimension
            return DenseConv(plane.dimension, start, fields, **size, generators=generators)
        relaxed = self.kind.relaxes
        used = min(banks, plane.group.order) if relaxed else 1
        layer: ConvLayer
        if given == 0:
            layer = LiftingConv(
                channels, plane, fields, **size, banks=used, relaxed=relaxed, generators=generators
            )
        else:
            layer = GroupConv(
                plane, given, fields, **size, banks=used, relaxed=relaxed, generators=generators
            )
        return self._wrapped(layer, generators)

    def _steerable(
        self,
        given: int,
        fields: int,
        kernel_size: int,
        stride: int,
        banks: int,
        generators: Sequence[Generator],
    ) -> Layer:
        """As `_conv`, on steerable kernels, which have no filter banks."""
        plane, channels = self._ends()
        if channels != trivial(channels.group, channels.dimension):
            raise SymmetryError(
                "encoder: steerable layers need channels that the group leaves unchanged, such as colours; "
                "use layers of kind 'group'"
            )
        source = (given, "regular") if given else (channels.dimension, "trivial")
        layer = RegularSteerableConv(
            plane,
            source,
            fields,
            kernel_size=kernel_size,
            stride=stride,
            relaxed=self.kind.relaxes,
            generators=generators,
        )
        return self._wrapped(layer, generators)

    def _wrapped(self, layer: Layer, generators: Sequence[Generator]) -> Layer:
        return layer if self.kind.wrap is None else self.kind.wrap(layer, None, generators)

    def _ends(self) -> tuple[Representation, Representation]:
        """Actions of the group on the plane and on the channels of an image."""
        assert self.symmetry.plane is not None
        return self.symmetry.plane, self.symmetry.observation

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The encoded vectors [S, B, n·F] for effective weights, two tensors a layer."""
        assert isinstance(x, Tensor)
        assert self.symmetry.plane is not None
        wanted = [self.symmetry.observation.dimension, *[self.image_size] * self.symmetry.plane.dimension]
        if list(x.shape[2:]) != wanted or x.shape[0] != self.copies:
            raise SymmetryError(f"encoder: needs [{self.copies} seeds, B, *{wanted}], got {list(x.shape)}")
        y = x
        for i, (name, layer) in enumerate(self.named_layers()):
            if name == "norm":
                y = y.flatten(2)
            y = layer.apply_expanded(expanded[2 * i : 2 * i + 2], y)
            if name.startswith("conv"):
                y = torch.relu(y)
        return torch.tanh(y)

    def example_shape(self) -> list[int]:
        """Shape of one image."""
        assert self.symmetry.plane is not None
        space = self.symmetry.plane.dimension
        return [self.symmetry.observation.dimension, *[self.image_size] * space]

    def encoded_symmetry(self) -> Symmetry:
        """Symmetry of encoded vectors and actions."""
        group, action = self.symmetry.group, self.symmetry.action
        if not self.kind.group_layers:
            return Symmetry(group, trivial(group, self.output_size), action)
        fields = self.output_size // group.order
        # Fields lie as (G, F): all of e, then all of the next element.
        spread = torch.kron(regular(group).matrices, torch.eye(fields, dtype=torch.float64))
        return Symmetry(group, Representation(group, spread, "fields"), action)

    def transform_output(self, g: int | Element, y: Tensor) -> Tensor:
        """g acts on encoded vectors."""
        return self.encoded_symmetry().transform_observation(g, y)


class ImageNetwork(Network):
    """An encoder and an actor or critics on its vectors; a seed's critics share one encoder.

    Parameters
    ----------
    kind : Kind
    symmetry : Symmetry
        With a plane.
    encoder : EncoderShape
    shape : Shape
        Of the network on vectors.
    ensemble : int or None
    generators : sequence of torch.Generator
        One for each copy of the network on vectors; each seed's first draws its encoder.
    """

    def __init__(
        self,
        kind: Kind,
        symmetry: Symmetry,
        encoder: EncoderShape,
        shape: Shape,
        ensemble: int | None,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(symmetry, len(generators), ensemble)
        seeds = list(generators)[:: ensemble or 1]
        encodes = kind if shape.relaxes("first") else kind.unrelaxed()
        self.encoder = ImageEncoder(encodes, symmetry, encoder, shape.banks, seeds)
        self.head = vector_network(kind, self.encoder.encoded_symmetry(), shape, ensemble, generators)
        with torch.no_grad():
            self._encoder_count = len(self.encoder.expand())

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """The layers of the encoder, then of the head."""
        for part, network in (("encoder", self.encoder), ("head", self.head)):
            for name, layer in network.named_layers():
                yield f"{part}_{name}", layer

    def expand(self) -> list[Tensor]:
        """The encoder's effective weights, then the head's."""
        return self.encoder.expand() + self.head.expand()

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The output for effective weights; a critic's x is the pair (image, action) from `pack`."""
        image, action = (x, None) if isinstance(x, Tensor) else x
        if (action is None) != (self.ensemble is None):
            raise SymmetryError("network: an actor takes the image alone, a critic the result of pack(x, a)")
        features = self.encoder.apply(expanded[: self._encoder_count], image)
        inputs = features if action is None else self.head.pack(features, action)
        return self.head.apply(expanded[self._encoder_count :], inputs)

    def pack(self, x: Tensor, a: Tensor) -> Packed:
        """The pair (image [S, B, C, H, W], action [S, B, A])."""
        if self.ensemble is None:
            raise ConfigError("pack: an actor takes the image alone")
        return x, a

    def penalty(self) -> Tensor:
        """As for any network, [K]; the encoder's is shared among a seed's critics."""
        copies = self.ensemble or 1
        return self.head.penalty() + self.encoder.penalty().repeat_interleave(copies) / copies

    def parameter_count(self) -> int:
        """Number of parameters of one actor, or of one critic with its encoder."""
        return self.encoder.parameter_count() + self.head.parameter_count()

    def example_shape(self) -> list[int]:
        """Shape of one image."""
        return self.encoder.example_shape()
