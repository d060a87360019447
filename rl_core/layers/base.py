"""Base of all layers: effective weights, relaxed weights, the action of the group and its check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor, nn

from rl_core.errors import SymmetryError
from rl_core.symmetry.groups import Group
from rl_core.symmetry.representations import Representation


class Layer(nn.Module, ABC):
    """A map with K independent copies that a group acts on at both ends.

    Parameters are [K, …] and inputs [K, B, …]. ``expand`` makes the effective weights, once for each gradient
    step, and ``apply_expanded`` uses them; ``forward`` does both.

    Attributes
    ----------
    group : Group
    copies : int
        K.
    """

    group: Group
    copies: int

    @abstractmethod
    def expand(self) -> tuple[Tensor, ...]:
        """The effective weights, differentiable in the parameters."""

    @abstractmethod
    def apply_expanded(self, expanded: Sequence[Tensor], x: Tensor) -> Tensor:
        """The layer's output for effective weights from `expand`."""

    @abstractmethod
    def example(self, batch: int, generator: Generator) -> Tensor:
        """A standard normal input [K, batch, …], for checks."""

    def transform_input(self, g: int, x: Tensor) -> Tensor:
        """The group element g acts on inputs; here L_g on regular fields in the last axis."""
        return move_fields(self.group, g, x)

    def transform_output(self, g: int, y: Tensor) -> Tensor:
        """The group element g acts on outputs; here L_g on regular fields in the last axis."""
        return move_fields(self.group, g, y)

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        return self.apply_expanded(self.expand(), x)

    def relaxed_weights(self) -> dict[str, Tensor]:
        """Relaxed weights by name, w [K, L, …, G]; empty for exact layers."""
        w = getattr(self, "w", None)
        return {} if w is None else {"w": w.detach()}

    def relaxed_parameters(self) -> Iterator[nn.Parameter]:
        """The parameter w of a relaxed layer."""
        w = getattr(self, "w", None)
        if w is not None:
            yield w

    def penalty(self) -> Tensor:
        """Squared distance of the layer from symmetry, [K]: Σ_l Σ_g (w_l(g) − mean_g w_l)²."""
        return relaxed_penalty(self.relaxed_parameters(), self.copies, self.reference)

    @torch.no_grad()
    def decay_relaxed_weights(self, share: float) -> None:
        """Move relaxed weights this share of the way to their mean over the group, in place."""
        for w in self.relaxed_parameters():
            w.lerp_(group_mean(w), share)

    @torch.no_grad()
    def start_in_first_bank(self) -> None:
        """Set relaxed weights to one in the first bank and zero in the others, and filters to the scale of one bank."""
        w = getattr(self, "w", None)
        if w is None:
            return
        banks = w.shape[1]
        w.zero_()
        w[:, 0] = 1.0
        for name, parameter in self.named_parameters():
            if name.startswith(("psi", "phi")) and parameter.shape[1] == banks:
                parameter.mul_(banks**0.5)

    @property
    def reference(self) -> Tensor:
        """A tensor of the layer's dtype and device."""
        return next(self.parameters())

    @torch.no_grad()
    def check_equivariance(self, batch: int = 8, seed: int = 0) -> float:
        """The largest |f(gx) − g f(x)| over all g and random inputs, relative to the largest |f(x)|."""
        x = self.example(batch, torch.Generator().manual_seed(seed)).to(self.reference)
        y = self(x)
        errors = [
            equivariance_error(self(self.transform_input(g, x)), self.transform_output(g, y))
            for g in range(self.group.order)
        ]
        return max(errors)


def equivariance_error(moved: Tensor, expected: Tensor) -> float:
    """The largest |moved − expected| relative to the largest |expected| (at least 1)."""
    return float((moved - expected).abs().max() / expected.abs().max().clamp(min=1.0))


def group_mean(w: Tensor) -> Tensor:
    """The mean of relaxed weights [K, L, …, G] over all axes after L, [K, L, 1, …]."""
    return w.mean(dim=tuple(range(2, w.ndim)), keepdim=True)


def relaxed_penalty(weights: Iterator[nn.Parameter], copies: int, reference: Tensor) -> Tensor:
    """Σ (w − mean w)² of relaxed weights [K, L, …, G], [K]; the mean is over all axes after L."""
    total = reference.new_zeros(copies)
    for w in weights:
        deviation = w - group_mean(w)
        total = total + deviation.square().flatten(1).sum(dim=1)
    return total


def move_fields(group: Group, g: int, y: Tensor, dim: int = -1) -> Tensor:
    """L_g y for regular fields: the axis holds (G, F), and (L_g y)(h) = y(g⁻¹h)."""
    dim = dim % y.ndim
    fields = y.view(*y.shape[:dim], group.order, -1, *y.shape[dim + 1 :])
    return fields.index_select(dim, group.difference[g].to(y.device)).flatten(dim, dim + 1)


def check_banks(group: Group, banks: int, relaxed: bool, name: str) -> None:
    """Refuse a number of filter banks that cannot be used."""
    if not 1 <= banks <= group.order:
        raise SymmetryError(
            f"{name}: banks must be 1 … {group.order} (the order of {group.name}), got {banks}"
        )
    if not relaxed and banks != 1:
        raise SymmetryError(f"{name}: an exact layer has one bank, got {banks}")


def check_same_group(a: Representation, group: Group, name: str) -> None:
    """Refuse a representation of another group."""
    if a.group != group:
        raise SymmetryError(f"{name}: {a.name} represents {a.group.name}, not {group.name}")
