"""Base of actors and critics: their size, their layers' options and the interface of a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from rl_core.agents import Kind
from rl_core.errors import ConfigError
from rl_core.layers.base import Layer, equivariance_error
from rl_core.layers.initial import HE_GAIN
from rl_core.symmetry.symmetry import Element, Symmetry

if TYPE_CHECKING:
    from rl_core.config import SACConfig

__all__ = ["ACTIVATIONS", "Network", "Packed", "Shape", "layer_options"]

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
    row_values : bool
        With rows: whether a critic returns a value of each row.
    relax_over : {"assets", "sectors"}
        With rows in sectors: whether each row or each sector has relaxed weights.
    residual : bool
        On vectors and behind encoders: residual blocks, ``depth`` of them, instead of plain hidden layers.
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
    row_values: bool = False
    residual: bool = False
    relax_over: str = "assets"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "banks", "heads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, got {getattr(self, name)}")
        if self.interaction not in ("mean", "attention"):
            raise ConfigError(f"interaction: must be 'mean' or 'attention', got {self.interaction!r}")
        if self.activation not in ACTIVATIONS:
            raise ConfigError(f"activation: must be 'relu' or 'silu', got {self.activation!r}")
        if self.relax_over not in ("assets", "sectors"):
            raise ConfigError(f"relax_over: must be 'assets' or 'sectors', got {self.relax_over!r}")
        if self.relax_layers not in ("all", *PLACES):
            raise ConfigError(
                f"relax_layers: must be 'all', 'first', 'inner' or 'last', got {self.relax_layers!r}"
            )

    @classmethod
    def of(cls, config: SACConfig) -> Shape:
        """Return the size that an agent's settings ask for."""
        return cls(
            config.width,
            config.depth,
            config.banks,
            config.layer_norm,
            config.interaction,
            config.heads,
            config.activation,
            config.initial_gain,
            config.relax_layers,
            config.row_values,
            config.residual,
            config.relax_over,
        )

    @property
    def hidden_layers(self) -> int:
        """Linear layers between hidden features; a residual block has two."""
        return 2 * self.depth if self.residual else self.depth - 1

    def relaxes(self, place: str) -> bool:
        """Return whether the layers at this place of a relaxed network are relaxed."""
        return self.relax_layers in ("all", place)

    def fields(self, order: int) -> int:
        """Regular fields F of a hidden layer for a group of this order."""
        return max(1, round(self.width / order))


def layer_options(
    kind: Kind, shape: Shape, most: int, generators: Sequence[Generator]
) -> dict[str, dict[str, Any]]:
    """Options of group layers by their place in the network: banks (at most ``most``), relaxed, generators."""
    options: dict[str, dict[str, Any]] = {}
    for place in PLACES:
        relaxed = kind.relaxes and shape.relaxes(place)
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
        E for critics, whose output is [S, E, B] (with values of rows [S, E, B, N]); None for actors, whose output is
        [S, B, 2A].

    Attributes
    ----------
    layers : ModuleDict
        The layers by name, in order.
    """

    layers: nn.ModuleDict
    row_values = False
    """Whether a critic returns a value of each row."""

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

    def decay_relaxed_weights(self, share: float) -> None:
        """Move all relaxed weights this share of the way to symmetry, in place."""
        for _, layer in self.named_layers():
            layer.decay_relaxed_weights(share)

    def start_in_first_bank(self) -> None:
        """Start relaxed layers in their first bank, see `Layer.start_in_first_bank`."""
        for _, layer in self.named_layers():
            layer.start_in_first_bank()

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Set the weights of the last layer to zero, but not its relaxed weights, so that the output starts at 0."""
        name, head = list(self.named_layers())[-1]
        assert name == "head"
        relaxed = {id(parameter) for parameter in head.relaxed_parameters()}
        for parameter in head.parameters():
            if id(parameter) not in relaxed:
                parameter.zero_()

    def penalty(self) -> Tensor:
        """Σ over layers of Σ_l Σ_g (w_l(g) − mean_g w_l)², [K]; zero for dense and exact, priors for rpp."""
        penalties = [layer.penalty() for _, layer in self.named_layers()]
        return torch.stack(penalties).sum(dim=0)

    def relaxed_weights(self) -> dict[str, Tensor]:
        """Relaxed weights by layer and name, [K, L, G] or with rows [K, L, N, G]."""
        named = self.named_layers()
        return {
            f"{name}.{key}": value for name, layer in named for key, value in layer.relaxed_weights().items()
        }

    def relaxed_parameters(self) -> list[nn.Parameter]:
        """The parameters behind `relaxed_weights`, for a learning rate of their own."""
        return [p for _, layer in self.named_layers() for p in layer.relaxed_parameters()]

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
        unsigned = replace(self.symmetry, action=self.symmetry.action.absolute())
        if self.row_values:
            values = [unsigned.transform_action(g, value) for value in y.unbind(1)]
            return torch.stack(values, dim=1)
        if self.ensemble is not None:
            return y
        mean, log_std = y.chunk(2, dim=-1)
        moved = self.symmetry.transform_action(g, mean), unsigned.transform_action(g, log_std)
        return torch.cat(moved, dim=-1)

    def _evaluate(self, x: Tensor, a: Tensor) -> Tensor:
        return self.forward(x if self.ensemble is None else self.pack(x, a))
