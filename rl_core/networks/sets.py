"""Networks on rows (assets): set layers, and for critics an invariant pool before the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from rl_core.agents import Kind
from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers.attention import SetAttention
from rl_core.layers.base import Layer
from rl_core.layers.linear import Head, LayerNorm, RegularLinear
from rl_core.layers.rows import RowLayer, SetPool, relaxed_places
from rl_core.layers.sets import SetHead, SetLifting, SetLinear
from rl_core.networks.base import ACTIVATIONS, Network, Packed, Shape, layer_options
from rl_core.networks.vectors import end_representations
from rl_core.symmetry.symmetry import Symmetry

__all__ = ["SetNetwork"]


class SetNetwork(Network):
    """An actor or critic on rows; activations lie as [K, N, B, G·F].

    An actor returns each row's mean and log-std. A critic takes each row's action as a further feature, pools
    the rows (relaxed: with weights for each row) and ends in a regular → regular layer and an invariant head; one
    with values of rows has an invariant head for each row instead.

    Parameters
    ----------
    kind : Kind
        With group layers.
    symmetry : Symmetry
        With rows. Absent rows (see `Symmetry.split_presence`) are zero behind every layer, and so in the output.
    shape : Shape
    ensemble : int or None
    generators : sequence of torch.Generator
        One for each copy.

    Attributes
    ----------
    activation : {"relu", "silu"}
        Of hidden layers.
    activated : set of str
        Names of the layers whose output goes through the activation.
    """

    def __init__(
        self,
        kind: Kind,
        symmetry: Symmetry,
        shape: Shape,
        ensemble: int | None,
        generators: Sequence[Generator],
    ) -> None:
        super().__init__(symmetry, len(generators), ensemble)
        assert symmetry.rows is not None
        self.kind, self.rows = kind, symmetry.rows
        self.activation = shape.activation
        # Rectifying in place saves a pass over memory.
        self.activate = torch.relu_ if shape.activation == "relu" else ACTIVATIONS[shape.activation]
        group, fields = symmetry.group, shape.fields(symmetry.group.order)
        source, target = end_representations(symmetry, ensemble)
        owners = relaxed_places(symmetry.rows, symmetry.sectors, shape.relax_over)
        assert owners is not None
        options = layer_options(kind, shape, group.order * owners, generators)
        of_rows = {"rows": symmetry.rows, "sectors": symmetry.sectors, "relax_over": shape.relax_over}
        first, last = ({**options[place], **of_rows} for place in ("first", "last"))
        lifting = SetLifting(source, fields, last_apart=ensemble is not None, gain=shape.gain, **first)
        self._add_hidden(shape, {**options["inner"], **of_rows}, lifting)
        self.row_values = shape.row_values and ensemble is not None
        if ensemble is None or self.row_values:
            self._add("head", SetHead(target, fields, **last), generators)
        else:
            flat = {**options["last"], "banks": min(last["banks"], group.order)}
            self._add("pool", SetPool(group, fields, **last), generators)
            pooled = RegularLinear(group, last["banks"] * fields, fields, gain=shape.gain, **flat)
            self._add("pooled", pooled, generators)
            self._add("head", Head(target, fields, **flat), generators)
        with torch.no_grad():
            self._counts = {name: len(layer.expand()) for name, layer in self.named_layers()}

    def _add_hidden(self, shape: Shape, options: dict[str, Any], lifting: SetLifting) -> None:
        """Lifting and hidden layers, each with its norm and attention."""
        group, fields, generators = lifting.group, shape.fields(lifting.group.order), options["generators"]
        self.activated = {"pooled"}
        for i in range(shape.depth):
            name = "lifting" if i == 0 else f"hidden{i}"
            layer = lifting if i == 0 else SetLinear(group, fields, fields, gain=shape.gain, **options)
            self._add(name, layer, generators)
            if shape.layer_norm:
                name = f"norm{i}"
                self.layers[name] = LayerNorm(group, fields, generators=generators)
            self.activated.add(name)
            if shape.interaction == "attention":
                attention = SetAttention(group, fields, heads=shape.heads, **options)
                self.layers[f"attention{i}"] = attention

    def _add(self, name: str, layer: Layer, generators: Sequence[Generator]) -> None:
        wrap = self.kind.wrap
        self.layers[name] = layer if wrap is None else wrap(layer, self.rows, generators)

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The output for effective weights; a critic's x is the pair (observation, action) from `pack`."""
        y, action, presence = self._entry(x)
        of_copies = None if presence is None else presence.repeat_interleave(self.ensemble or 1, dim=0)
        start = 0
        for name, layer in self.named_layers():
            weights = expanded[start : start + self._counts[name]]
            start += self._counts[name]
            inputs = (y, action) if name == "lifting" else (y,)
            seen: dict[str, Tensor] = {}
            there = presence if name == "lifting" else of_copies
            if there is not None and isinstance(layer, RowLayer):
                seen["presence"] = there
            y = layer.apply_expanded(weights, *inputs, **seen)
            if name in self.activated:
                y = self.activate(y)
            if of_copies is not None and y.ndim == 4:
                y = y * of_copies
        if self.ensemble is None:
            return y.permute(0, 2, 3, 1).flatten(2)
        if self.row_values:
            by_row = y.view(-1, self.ensemble, *y.shape[1:3])
            return by_row.transpose(2, 3)
        return y.view(-1, self.ensemble, y.shape[1])

    def pack(self, x: Tensor, a: Tensor) -> Packed:
        """The pair (observation [S, B, N, O], action [S, B, N]): apart, so that ∂Q/∂a costs little."""
        if self.ensemble is None:
            raise ConfigError("pack: an actor takes the observation alone")
        return x, a

    def _entry(self, x: Packed) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Observation [S, N, B, O], for critics action [S, N, B, 1], and presence [S, N, B, 1]; without one, views."""
        observation, action = (x, None) if isinstance(x, Tensor) else x
        observation, presence = self.symmetry.split_presence(observation)
        size, ensemble = self.symmetry.observation.dimension, self.ensemble or 1
        wrong = observation.ndim != 4 or observation.shape[0] * ensemble != self.copies
        # An exact network is not tied to its universe: it runs on any number of rows.
        anywhere = self.kind.exact and self.symmetry.sectors is None
        rows = observation.shape[2] if anywhere and not wrong else self.rows
        if wrong or list(observation.shape[2:]) != [rows, size]:
            wanted = f"[{self.copies // ensemble} seeds, B, {self.rows} rows, {size}]"
            raise SymmetryError(f"network: needs observations {wanted}, got {list(observation.shape)}")
        if (action is None) != (self.ensemble is None):
            raise SymmetryError(
                "network: an actor takes the observation alone, a critic the result of pack(x, a)"
            )
        if action is not None and action.shape != observation.shape[:3]:
            raise SymmetryError(
                f"network: needs actions {list(observation.shape[:3])}, got {list(action.shape)}"
            )
        parts = [observation, *([] if action is None else [action[..., None]])]
        if presence is not None:
            parts = [part * presence for part in parts]
            presence = presence.transpose(1, 2)
        observation, *actions = (part.transpose(1, 2) for part in parts)
        return observation, actions[0] if actions else None, presence
