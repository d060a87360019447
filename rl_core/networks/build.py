"""Actors and critics, generated from a symmetry; K = S (actors) or S·E (critics) copies in one module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import ConfigError
from rl_core.layers.base import Layer, equivariance_error
from rl_core.layers.initial import HE_GAIN
from rl_core.symmetry.symmetry import Element, Symmetry

if TYPE_CHECKING:
    from rl_core.networks.images import EncoderShape

__all__ = ["KINDS", "Network", "Packed", "Shape", "build_actor", "build_critic", "equal_parameter_width"]

KINDS = ("dense", "exact", "relaxed", "rpp", "augmented")
PLACES = ("first", "inner", "last")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "silu": nn.functional.silu}

Packed = Tensor | tuple[Tensor, Tensor]
"""A network's input: an observation, or for some critics a pair of observation and action."""


@dataclass(frozen=True)
class Shape:
    """The size of a network.

    Attributes
    ----------
    width : int
        Features H of a hidden layer: n·F for group layers (rounded to a multiple of n), so that networks of
        every kind are equally wide.
    depth : int
        Number of hidden layers.
    banks : int
        L, the filter banks of relaxed layers (at most the group's order; with rows, at most rows × order).
    layer_norm : bool
        Whether hidden layers are normalised.
    interaction : {"mean", "attention"}
        How rows see one another: by their mean, or by the mean and self-attention.
    heads : int
        Attention heads.
    activation : {"relu", "silu"}
        Of hidden layers, entrywise, so that any permutation of fields commutes with it.
    gain : float
        Initial variance of hidden layers' expanded weights times their fan-in.
    relax_layers : {"all", "first", "inner", "last"}
        Which layers of a relaxed network are relaxed; the others are exact.
    """

    width: int = 256
    depth: int = 2
    banks: int = 2
    layer_norm: bool = False
    interaction: str = "mean"
    heads: int = 1
    activation: str = "relu"
    gain: float = HE_GAIN
    relax_layers: str = "all"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "banks", "heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.interaction not in ("mean", "attention"):
            raise ConfigError(f"interaction: must be 'mean' or 'attention', got {self.interaction!r}")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"activation: must be 'relu' or 'silu', got {self.activation!r}")
        if self.relax_layers not in ("all", *PLACES):
            raise ConfigError(
                f"relax_layers: must be 'all', 'first', 'inner' or 'last', got {self.relax_layers!r}"
            )

    def relaxes(self, place: str) -> bool:
        """Whether the layers at this place of a relaxed network are relaxed."""
        return self.relax_layers in ("all", place)

    def fields(self, order: int) -> int:
        """Regular fields F of a hidden layer for a group of this order."""
        return max(1, round(self.width / order))


def layer_options(
    kind: str, shape: Shape, most: int, generators: Sequence[Generator]
) -> dict[str, dict[str, Any]]:
    """What group layers take, by their place in the network: banks (at most ``most``), whether relaxed, generators."""
    options: dict[str, dict[str, Any]] = {}
    for place in PLACES:
        relaxed = kind == "relaxed" and shape.relaxes(place)
        banks = min(shape.banks, most) if relaxed else 1
        options[place] = {"banks": banks, "relaxed": relaxed, "generators": generators}
    return options


class Network(nn.Module, ABC):
    """K copies of an actor or critic; expand the weights once for each gradient step, apply them many times.

    Parameters
    ----------
    symmetry : Symmetry
    copies : int
        K.
    ensemble : int or None
        E for critics, whose output is [S, E, B]; None for actors, whose output is [S, B, 2A].

    Attributes
    ----------
    layers : ModuleDict
        The layers by name, in order.
    """

    layers: nn.ModuleDict

    def __init__(self, symmetry: Symmetry, copies: int, ensemble: int | None) -> None:
        super().__init__()
        self.symmetry = symmetry
        self.copies = copies
        self.ensemble = ensemble
        self.layers = nn.ModuleDict()

    @abstractmethod
    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The output for effective weights from `expand`; x is an observation or comes from `pack`."""

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """The layers by name, in order."""
        for name, layer in self.layers.items():
            assert isinstance(layer, Layer)
            yield name, layer

    def expand(self) -> list[Tensor]:
        """The effective weights of all layers, differentiable in the parameters."""
        return [tensor for _, layer in self.named_layers() for tensor in layer.expand()]

    def forward(self, x: Packed) -> Tensor:
        """``apply(expand(), x)``."""
        return self.apply(self.expand(), x)

    def pack(self, x: Tensor, a: Tensor) -> Packed:
        """A critic's input from observation [S, B, …] and action [S, B, A]."""
        if self.ensemble is None:
            raise ConfigError("pack: an actor takes the observation alone")
        return torch.cat([x, a], dim=-1)

    def draw_back(self, share: float) -> None:
        """Move all relaxed weights this share of the way to symmetry, in place."""
        for _, layer in self.named_layers():
            layer.draw_back(share)

    def penalty(self) -> Tensor:
        """Σ over layers of Σ_l Σ_g (w_l(g) − mean_g w_l)², [K]; zero for dense and exact, priors for rpp."""
        penalties = [layer.penalty() for _, layer in self.named_layers()]
        return torch.stack(penalties).sum(dim=0)

    def gains(self) -> dict[str, Tensor]:
        """Relaxed weights by layer and name, [K, L, G] or with rows [K, L, N, G]."""
        named = self.named_layers()
        return {f"{name}.{key}": value for name, layer in named for key, value in layer.gains().items()}

    def gain_parameters(self) -> list[nn.Parameter]:
        """The parameters behind `gains`, for a learning rate of their own."""
        return [p for _, layer in self.named_layers() for p in layer.gain_parameters()]

    def parameter_count(self) -> int:
        """Number of parameters of one copy."""
        return sum(p.numel() for p in self.parameters()) // self.copies

    @torch.no_grad()
    def check_equivariance(self, batch: int = 8, seed: int = 0) -> float:
        """The largest |f(gx) − g f(x)| over all g (and row permutations), relative to the largest |f(x)|."""
        symmetry, generator = self.symmetry, torch.Generator().manual_seed(seed)
        reference = next(self.parameters())
        lead = [self.copies // (self.ensemble or 1), batch]
        x = torch.randn([*lead, *self.example_shape()], generator=generator).to(reference)
        a = torch.randn([*lead, symmetry.action_size], generator=generator).to(reference)
        y = self._evaluate(x, a)
        error = 0.0
        for g in range(symmetry.group.order):
            shuffled = symmetry.random(lead, generator).permutation
            element = Element(torch.full(lead, g), shuffled)
            moved = symmetry.transform_observation(element, x), symmetry.transform_action(element, a)
            error = max(error, equivariance_error(self._evaluate(*moved), self.transform_output(element, y)))
        return error

    def example_shape(self) -> list[int]:
        """Shape of one observation."""
        size = self.symmetry.observation.dimension
        return [size] if self.symmetry.rows is None else [self.symmetry.rows, size]

    def transform_output(self, g: int | Element, y: Tensor) -> Tensor:
        """g acts on outputs: an actor's mean by ρ_a and its log-std by |ρ_a|; a critic's value stays."""
        if self.ensemble is not None:
            return y
        mean, log_std = y.chunk(2, dim=-1)
        unsigned = replace(self.symmetry, action=self.symmetry.action.absolute())
        moved = self.symmetry.transform_action(g, mean), unsigned.transform_action(g, log_std)
        return torch.cat(moved, dim=-1)

    def _evaluate(self, x: Tensor, a: Tensor) -> Tensor:
        return self.forward(x if self.ensemble is None else self.pack(x, a))


def build_actor(
    kind: str,
    symmetry: Symmetry,
    *,
    generators: Sequence[Generator],
    width: int = 256,
    depth: int = 2,
    banks: int = 2,
    layer_norm: bool = False,
    interaction: str = "mean",
    heads: int = 1,
    activation: str = "relu",
    gain: float = HE_GAIN,
    relax_layers: str = "all",
    encoder: EncoderShape | None = None,
) -> Network:
    """An actor for each seed: observation [S, B, …] to mean and log-std [S, B, 2A] of a tanh-Gaussian.

    Parameters
    ----------
    kind : {"dense", "exact", "relaxed", "rpp", "augmented"}
        An augmented agent's networks are dense: its batches are transformed.
    symmetry : Symmetry
        How the group acts on observations and actions.
    generators : sequence of torch.Generator
        One for each seed; copy k is initialised from ``generators[k]`` alone.
    width, depth, banks, layer_norm, interaction, heads, activation, gain, relax_layers
        See `Shape`.
    encoder : EncoderShape, optional
        Of images and time windows; its defaults fit images of 85 × 85.

    Returns
    -------
    Network
        The mean carries ρ_a and the log-std |ρ_a|; with rows they are [S, B, N] each.
    """
    shape = Shape(width, depth, banks, layer_norm, interaction, heads, activation, gain, relax_layers)
    return _build(kind, symmetry, shape, encoder, None, generators)


def build_critic(
    kind: str,
    symmetry: Symmetry,
    *,
    generators: Sequence[Generator],
    ensemble: int = 2,
    width: int = 256,
    depth: int = 2,
    banks: int = 2,
    layer_norm: bool = False,
    interaction: str = "mean",
    heads: int = 1,
    activation: str = "relu",
    gain: float = HE_GAIN,
    relax_layers: str = "all",
    encoder: EncoderShape | None = None,
) -> Network:
    """E critics for each seed: ``pack(observation, action)`` to values [S, E, B], invariant under the group.

    Parameters
    ----------
    ensemble : int
        E; copies are ordered seed by seed, and a seed's critics are drawn from its one generator.
    kind, symmetry, generators, width, depth, banks, layer_norm, interaction, heads, activation, gain
        As for `build_actor`.
    relax_layers, encoder
        As for `build_actor`.
    """
    if ensemble < 1:
        raise ConfigError(f"ensemble: must be at least 1, got {ensemble}")
    shape = Shape(width, depth, banks, layer_norm, interaction, heads, activation, gain, relax_layers)
    return _build(kind, symmetry, shape, encoder, ensemble, [g for g in generators for _ in range(ensemble)])


def equal_parameter_width(
    kind: str, symmetry: Symmetry, width: int, *, critic: bool = True, depth: int = 2, banks: int = 2
) -> int:
    """The width at which a network of this kind has as many parameters as a dense one of the given width.

    For wide networks that is F = H/√(nL) fields, or the width H √(n/L); this counts, so that first and last
    layers are right too.
    """

    def count(which: str, h: int) -> int:
        generators = [torch.Generator().manual_seed(0)]
        sizes = {"generators": generators, "width": h, "depth": depth, "banks": banks}
        if critic:
            return build_critic(which, symmetry, ensemble=1, **sizes).parameter_count()  # type: ignore[arg-type]
        return build_actor(which, symmetry, **sizes).parameter_count()  # type: ignore[arg-type]

    target = count("dense", width)
    step = symmetry.group.order if kind in ("exact", "relaxed", "rpp") else 1
    low, high = 1, 2
    while count(kind, high * step) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(kind, middle * step) < target else (low, middle)
    return min((low, high), key=lambda m: abs(count(kind, m * step) - target)) * step


def _build(
    kind: str,
    symmetry: Symmetry,
    shape: Shape,
    encoder: EncoderShape | None,
    ensemble: int | None,
    generators: Sequence[Generator],
) -> Network:
    if kind not in KINDS:
        raise ConfigError(f"agent: must be one of {', '.join(KINDS)}, got {kind!r}")
    if not generators:
        raise ConfigError("generators: give one for each seed")
    kind = "dense" if kind == "augmented" else kind
    if symmetry.plane is not None:
        from rl_core.networks.images import EncoderShape, ImageNetwork

        return ImageNetwork(kind, symmetry, encoder or EncoderShape(), shape, ensemble, generators)
    if symmetry.rows is not None and kind != "dense":
        from rl_core.networks.sets import SetNetwork

        return SetNetwork(kind, symmetry, shape, ensemble, generators)
    from rl_core.networks.vectors import vector_network

    return vector_network(kind, symmetry, shape, ensemble, generators)
