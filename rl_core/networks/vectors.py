"""Networks on vectors: all kinds share one apply; exact ones also have a Fourier form."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor

from rl_core.agents import Kind
from rl_core.errors import SymmetryError
from rl_core.layers.fourier import FourierLinear, apply_blocks
from rl_core.layers.initial import HEAD_GAIN
from rl_core.layers.linear import DenseLinear, GroupLinear, Head, LayerNorm, Lifting, RegularLinear
from rl_core.networks.base import ACTIVATIONS, Network, Packed, Shape, layer_options
from rl_core.symmetry.groups import cyclic
from rl_core.symmetry.representations import Representation, trivial
from rl_core.symmetry.symmetry import Symmetry

__all__ = ["FourierNetwork", "VectorNetwork", "vector_network"]


class VectorNetwork(Network):
    """Linear layers with activations between them; every kind reduces to weights [K, in, out].

    With `Shape.residual`, blocks x + W₂ f(W₁ LayerNorm(x)) between the first layer and a LayerNorm before the head
    (SimBa, Lee et al. 2025).

    Parameters
    ----------
    kind : Kind
        Form of the layers: dense, exact, relaxed, or what a kind wraps them in.
    symmetry : Symmetry
    shape : Shape
    ensemble : int or None
    generators : sequence of torch.Generator
        One for each copy.
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
        self.input_size, self.output_size = end_sizes(symmetry, ensemble)
        if shape.row_values and ensemble is not None and symmetry.rows is not None:
            self.row_values, self.output_size = True, symmetry.rows
        self.depth, self.residual = shape.depth, shape.residual
        self.norm, self.activation = shape.layer_norm, shape.activation
        # Rectifying in place saves a pass over memory.
        self.activate = torch.relu_ if self.activation == "relu" else ACTIVATIONS[self.activation]
        self._norm_size = (cyclic(1), shape.width)
        if kind.group_layers:
            self._norm_size = (symmetry.group, shape.fields(symmetry.group.order))
        linear = self._group(kind, shape, generators) if kind.group_layers else self._dense(shape, generators)
        self._arrange(linear, generators)

    def _arrange(self, linear: Sequence[GroupLinear], generators: Sequence[Generator]) -> None:
        """Name the layers in the order of the computation, with LayerNorm between."""
        self.layers["lifting"], *hidden, head = linear
        if self.residual:
            for i, (inner, outer) in enumerate(zip(hidden[::2], hidden[1::2], strict=True), start=1):
                self._add_norm(f"norm{i}", generators)
                self.layers[f"hidden{i}"], self.layers[f"residual{i}"] = inner, outer
            self._add_norm("norm", generators)
        else:
            for i in range(self.depth):
                if i > 0:
                    self.layers[f"hidden{i}"] = hidden[i - 1]
                if self.norm:
                    self._add_norm(f"norm{i}", generators)
        self.layers["head"] = head

    def _add_norm(self, name: str, generators: Sequence[Generator]) -> None:
        self.layers[name] = LayerNorm(*self._norm_size, generators=generators)

    def _dense(self, shape: Shape, generators: Sequence[Generator]) -> list[GroupLinear]:
        sizes = [self.input_size, *[shape.width] * (1 + shape.hidden_layers)]
        layers: list[GroupLinear] = [
            DenseLinear(a, b, gain=shape.gain, generators=generators) for a, b in pairwise(sizes)
        ]
        return [*layers, DenseLinear(shape.width, self.output_size, gain=HEAD_GAIN, generators=generators)]

    def _group(self, kind: Kind, shape: Shape, generators: Sequence[Generator]) -> list[GroupLinear]:
        symmetry, group = self.symmetry, self.symmetry.group
        fields = shape.fields(group.order)
        options = layer_options(kind, shape, group.order, generators)
        source, target = end_representations(symmetry, self.ensemble)
        layers: list[Any] = [
            Lifting(source, fields, gain=shape.gain, **options["first"]),
            *(self._hidden(fields, gain=shape.gain, **options["inner"]) for _ in range(shape.hidden_layers)),
            Head(target, fields, **options["last"]),
        ]
        if kind.wrap is not None:
            layers = [kind.wrap(layer, None, generators) for layer in layers]
        return layers

    def _hidden(self, fields: int, **options: Any) -> GroupLinear:
        return RegularLinear(self.symmetry.group, fields, fields, **options)

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The output for effective weights, two tensors a layer (LayerNorm's scale and shift among them)."""
        y = self._body(expanded[:-2], self._entry(x))
        return self._exit(torch.baddbmm(expanded[-1], y, expanded[-2]))

    def _body(self, expanded: Sequence[Tensor], y: Tensor) -> Tensor:
        """The head's input, from that of the first layer [K, ·, in]."""
        pairs = list(zip(expanded[::2], expanded[1::2], strict=True))
        weight, bias = pairs.pop(0)
        y = torch.baddbmm(bias, y, weight)
        if self.residual:
            *blocks, last = pairs
            for norm, inner, outer in zip(blocks[::3], blocks[1::3], blocks[2::3], strict=True):
                h = self.activate(self._linear(self._normalise(y, *norm), *inner))
                y = y + self._linear(h, *outer)
            return self._normalise(y, *last)
        for i in range(self.depth):
            if i > 0:
                y = self._linear(y, *pairs.pop(0))
            if self.norm:
                y = self._normalise(y, *pairs.pop(0))
            y = self.activate(y)
        return y

    def _linear(self, y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The output of a layer between hidden features."""
        return torch.baddbmm(bias, y, weight)

    def _normalise(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """LayerNorm over all features of a sample."""
        return torch.addcmul(shift, torch.nn.functional.layer_norm(y, y.shape[-1:]), scale)

    def _check(self, x: Packed) -> Tensor:
        """The input as [S, B, in], rows flattened."""
        assert isinstance(x, Tensor)
        seeds = self.copies // (self.ensemble or 1)
        if self.symmetry.rows is not None and self.ensemble is None:
            x = self._flat(x)
        if x.ndim != 3 or x.shape[0] != seeds or x.shape[2] != self.input_size:
            wanted = f"[{seeds} seeds, B, {self.input_size}]"
            raise SymmetryError(f"network: needs input {wanted}, got {list(x.shape)}")
        return x

    def _entry(self, x: Packed) -> Tensor:
        """The input as [K, B, in], repeated over the ensemble."""
        entry, ensemble = self._check(x), self.ensemble or 1
        return entry if ensemble == 1 else entry.repeat_interleave(ensemble, dim=0)

    def _exit(self, y: Tensor) -> Tensor:
        if self.ensemble is None:
            return y
        values = y.view(-1, self.ensemble, *y.shape[1:])
        return values if self.row_values else values.squeeze(-1)

    def pack(self, x: Tensor, a: Tensor) -> Packed:
        """Observation (rows flattened) and action side by side, [S, B, in]."""
        return super().pack(x if self.symmetry.rows is None else self._flat(x), a)

    def _flat(self, x: Tensor) -> Tensor:
        """Rows side by side; their presence is left out, as these networks have weights for a fixed number of rows."""
        return self.symmetry.split_presence(x)[0].flatten(2)


class FourierNetwork(VectorNetwork):
    """An exact network, its hidden layers block-diagonal over the group's characters: n times less work."""

    def _hidden(self, fields: int, **options: Any) -> GroupLinear:
        gain, generators = options["gain"], options["generators"]
        return FourierLinear(self.symmetry.group, fields, fields, gain=gain, generators=generators)

    def expand(self) -> list[Tensor]:
        """Lifting [K, d, F], blocks [K·n, F, F'] and head [K, F, O], each with its bias: views of parameters.

        LayerNorm's scale and shift are [K, 1, F].
        """
        expanded: list[Tensor] = []
        for _, layer in self.named_layers():
            if isinstance(layer, FourierLinear):
                expanded += layer.expand_blocks()
            elif isinstance(layer, Lifting):
                expanded += layer.psi[:, 0], layer.bias
            elif isinstance(layer, LayerNorm):
                expanded += layer.scale, layer.shift
            elif isinstance(layer, Head):
                expanded += layer.phi[:, 0], torch.matmul(layer.bias, layer.invariant)
        return expanded

    def apply(self, expanded: Sequence[Tensor], x: Packed) -> Tensor:  # type: ignore[override]
        """The output; activations lie as [K, n·B, F].

        The group acts on the input of the lifting and on the output of the head instead of on their weights:
        ψ ρ(g)⁻¹x for all g is one product with n times the batch.
        """
        entry = self._check(x)
        seeds, batch, size = entry.shape
        y = act(self.lifting.action.to(entry), entry[:, None, None])
        y = y.expand(seeds, self.ensemble or 1, -1, -1, -1).reshape(self.copies, -1, size)
        y = self._body(expanded[:-2], y)
        y = torch.bmm(y, expanded[-2]).view(self.copies, -1, batch, self.output_size)
        return self._exit(act(self.head.action.to(y), y).sum(dim=1) + expanded[-1])

    def _linear(self, y: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The output of a Fourier layer, y being [K, n·B, F]."""
        return apply_blocks(self.transform.to(y), weight, bias, y)

    def _normalise(self, y: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """LayerNorm over all features of a sample, which lie apart for each group element; y is [K, n·B, F]."""
        apart = y.view(self.copies, len(self.transform), -1, y.shape[2]).transpose(1, 2)
        normal = torch.nn.functional.layer_norm(apart, apart.shape[2:])
        return torch.addcmul(shift, normal.transpose(1, 2).reshape(y.shape), scale)

    @property
    def lifting(self) -> Lifting:
        """The first layer."""
        layer = self.layers["lifting"]
        assert isinstance(layer, Lifting)
        return layer

    @property
    def head(self) -> Head:
        """The last layer."""
        layer = self.layers["head"]
        assert isinstance(layer, Head)
        return layer

    @property
    def transform(self) -> Tensor:
        """The Walsh–Hadamard transform over the group, [n, n]."""
        layer = self.layers["hidden1"]
        assert isinstance(layer, FourierLinear)
        return layer.transform


def act(action: Tensor, x: Tensor) -> Tensor:
    """xᵀρ(g) for all g and rows x [..., G or 1, B, d]; a diagonal ρ comes as signs [G, d, 1] or [G, 1, d]."""
    if action.shape[1] == 1 or action.shape[2] == 1:
        return x * action.reshape(action.shape[0], 1, -1)
    return torch.matmul(x, action)


def vector_network(
    kind: Kind, symmetry: Symmetry, shape: Shape, ensemble: int | None, generators: Sequence[Generator]
) -> Network:
    """A network on vectors; exact ones in the Fourier form where the group has real characters."""
    fourier = symmetry.group.order > 1 and symmetry.group.characters is not None
    if kind.exact and fourier and shape.hidden_layers > 0:
        return FourierNetwork(kind, symmetry, shape, ensemble, generators)
    return VectorNetwork(kind, symmetry, shape, ensemble, generators)


def end_sizes(symmetry: Symmetry, ensemble: int | None) -> tuple[int, int]:
    """Input and output size of a network on vectors (rows flattened)."""
    observation, action = symmetry.observation.dimension * (symmetry.rows or 1), symmetry.action_size
    return (observation, 2 * action) if ensemble is None else (observation + action, 1)


def end_representations(symmetry: Symmetry, ensemble: int | None) -> tuple[Representation, Representation]:
    """Actions of the group on input and output: ρ_s to ρ_a ⊕ |ρ_a| (actor), ρ_s ⊕ ρ_a to the trivial one."""
    if ensemble is None:
        return symmetry.observation, symmetry.action + symmetry.action.absolute()
    return symmetry.observation + symmetry.action, trivial(symmetry.group)
