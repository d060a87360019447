"""Effective weights of networks on vectors and the derivative of their expansion, noted on a tape.

What `expand` of the layers says in a few general operations is written out here block by block: each number
is read and written once, and no graph of operations is built at a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rl_core.layers.base import Layer
from rl_core.layers.fourier import FourierLinear
from rl_core.layers.linear import DenseLinear, GroupLinear, Head, Lifting, RegularLinear
from rl_core.layers.rpp import ResidualPathway
from rl_core.networks_vectors import FourierNetwork, VectorNetwork
from rl_core.symmetry.groups import Group
from rl_core.tape import Tape

__all__ = ["Expansion", "Weight"]

LARGEST_ORDER = 4
"""Up to this order of the group the n² blocks of a weight are written one by one."""


@dataclass(frozen=True)
class Weight:
    """An effective weight or bias in the precision of the products, and where its gradient goes."""

    value: Tensor
    gradient: Tensor


class Expansion:
    """The effective weights of a network: noted on the tape when made, their derivative by `derive`.

    Biases are not repeated over the group: they come as [K, 1, F], for all n·F outputs.

    Parameters
    ----------
    tape : Tape
    network : VectorNetwork
    dtype : torch.dtype
        Of the matrix products.
    trained : bool
        Whether gradients are wanted.
    """

    def __init__(self, tape: Tape, network: VectorNetwork, dtype: torch.dtype, trained: bool = True) -> None:
        self.tape, self.dtype, self.trained = tape, dtype, trained
        self.weights: list[Weight] = []
        self._derivations: list[Callable[[], None]] = []
        for _, layer in network.named_layers():
            if isinstance(network, FourierNetwork):
                self._fourier(layer)
            elif isinstance(layer, DenseLinear):
                self._parameter(layer.weight)
                self._parameter(layer.bias)
            else:
                self._group(layer)

    def derive(self) -> None:
        """Note how gradients of effective weights are carried on to the parameters."""
        for derivation in self._derivations:
            derivation()

    def _fourier(self, layer: Layer) -> None:
        """Of networks in the Fourier form the parameters serve as they are."""
        if isinstance(layer, FourierLinear):
            self._add(layer.blocks.detach().flatten(0, 1), lambda: _gradient(layer.blocks).flatten(0, 1))
            self._parameter(layer.bias)
        elif isinstance(layer, Lifting):
            self._add(layer.psi.detach()[:, 0], lambda: _gradient(layer.psi)[:, 0])
            self._parameter(layer.bias)
        elif isinstance(layer, Head):
            self._add(layer.phi.detach()[:, 0], lambda: _gradient(layer.phi)[:, 0])
            self._invariant_bias(layer)

    def _group(self, layer: Layer) -> None:
        """A lifting, regular layer or head, with a free path or without."""
        whole = layer
        free: ResidualPathway | None = None
        if isinstance(layer, ResidualPathway):
            free, whole = layer, layer.exact
        if isinstance(whole, RegularLinear) and whole.group.order <= LARGEST_ORDER:
            self._regular(whole, free)
        elif isinstance(whole, (Lifting, Head)) and 1 in whole.action.shape[1:]:
            self._end(whole, free)
        else:
            self._by_autograd(layer)
            return
        if isinstance(whole, Head):
            self._invariant_bias(whole, free)
        elif free is None:
            self._parameter(whole.bias)
        else:
            self._repeated_bias(whole.bias, free)

    def _end(self, layer: Lifting | Head, free: ResidualPathway | None) -> None:
        """W(·, g) = Σ_l w_l(g) ρ(g) ψ_l for a diagonal ρ, of a head with its rows and columns exchanged.

        In the names below ψ is [K, L, d, F] and W [K, d, n, F], d the size of the vector.
        """
        tape, n, w = self.tape, layer.group.order, layer.w
        lifting = isinstance(layer, Lifting)
        psi = layer.psi if isinstance(layer, Lifting) else layer.phi
        signs = layer.action[:, :, 0].T if lifting else layer.action[:, 0].T

        def filters(x: Tensor) -> Tensor:
            return x if lifting else x.transpose(2, 3)

        def blocks(x: Tensor) -> Tensor:
            if lifting:
                return x.view(*x.shape[:2], n, -1)
            return x.view(len(x), n, -1, x.shape[2]).permute(0, 3, 1, 2)

        source = filters(psi.detach())[:, :, :, None]
        factor = signs[None, None, ..., None]
        if w is not None:
            factor = tape(torch.mul, w.detach()[:, :, None], signs)[..., None]
        weight = psi.new_empty(layer.copies, layer.input_size, layer.output_size)
        room = blocks(weight)
        if free is None:
            tape(torch.mul, source[:, 0], factor[:, 0], out=room)
        else:
            tape(torch.addcmul, blocks(free.free_weight.detach()), source[:, 0], factor[:, 0], out=room)
        for bank in range(1, layer.banks):
            tape(torch.addcmul, room, source[:, bank], factor[:, bank], out=room)
        gradient = self._add(weight, None if free is None else lambda: _gradient(free.free_weight))

        def derive() -> None:
            g = blocks(gradient)[:, None]
            tape.total(tape(torch.mul, g, factor), 3, out=filters(_gradient(psi)))
            if w is not None:
                by_number = tape.total(tape(torch.mul, g, source), 4)
                tape.total(tape(torch.mul, by_number, signs), 2, out=_gradient(w))

        self._later(derive)

    def _regular(self, layer: RegularLinear, free: ResidualPathway | None) -> None:
        """Block (h, g) of W is Σ_l w_l(g) ψ_l(u) with u = g⁻¹h."""
        tape, w, psi = self.tape, layer.w, layer.psi
        k, n, fields, size = layer.copies, layer.group.order, layer.fields_in, layer.fields
        weight = psi.new_empty(k, layer.input_size, layer.output_size)

        def blocks(x: Tensor) -> Tensor:
            return x.view(k, n, fields, n, size)

        if w is None:
            mixed = psi.detach().expand(-1, n, -1, -1, -1)
        else:
            mixed = tape(torch.bmm, w.detach().mT, psi.detach().flatten(2)).view(k, n, n, fields, size)
        for g, h, u in _runs(layer.group):
            room, term = blocks(weight)[:, h, :, g], mixed[:, g, u]
            if free is None:
                tape.do(room.copy_, term)
            else:
                tape(torch.add, blocks(free.free_weight.detach())[:, h, :, g], term, out=room)
        gradient = self._add(weight, None if free is None else lambda: _gradient(free.free_weight))

        def derive() -> None:
            by_element = psi.new_empty(k, n, n, fields, size)
            for g, h, u in _runs(layer.group):
                tape.do(by_element[:, g, u].copy_, blocks(gradient)[:, h, :, g])
            if w is None:
                tape.total(by_element, 1, out=_gradient(psi)[:, 0])
                return
            flat = by_element.view(k, n, -1)
            tape(torch.bmm, w.detach(), flat, out=_gradient(psi).flatten(2))
            tape(torch.bmm, psi.detach().flatten(2), flat.mT, out=_gradient(w))

        self._later(derive)

    def _repeated_bias(self, bias: nn.Parameter, free: ResidualPathway) -> None:
        """A bias of each field plus a free one of each feature."""
        tape, by_element = self.tape, (bias.shape[0], -1, bias.shape[2])
        value = torch.empty_like(free.free_bias)
        tape(torch.add, free.free_bias.detach().view(by_element), bias.detach(), out=value.view(by_element))
        gradient = self._add(value, lambda: _gradient(free.free_bias))
        self._later(lambda: tape.total(gradient.view(by_element), 1, out=_gradient(bias)[:, 0]))

    def _invariant_bias(self, layer: Head, free: ResidualPathway | None = None) -> None:
        """The invariant part of a bias, plus a free one."""
        tape, bias, projection = self.tape, layer.bias, layer.invariant
        value = tape(torch.matmul, bias.detach(), projection)
        if free is not None:
            tape(torch.add, value, free.free_bias.detach(), out=value)
        gradient = self._add(value, None if free is None else lambda: _gradient(free.free_bias))
        self._later(lambda: tape(torch.matmul, gradient, projection.T, out=_gradient(bias)))

    def _by_autograd(self, layer: Layer) -> None:
        """Expand as the layer itself does, for groups and representations without a form of their own here."""
        assert isinstance(layer, GroupLinear)
        held: list[tuple[Tensor, ...]] = [layer.expand()]
        rooms = [torch.empty_like(value) for value in held[0]]

        def expand() -> None:
            with torch.set_grad_enabled(self.trained):
                held[0] = layer.expand()
            for room, value in zip(rooms, held[0], strict=True):
                room.copy_(value.detach())

        self.tape.do(expand)
        gradients = [self._add(room) for room in rooms]

        def derive() -> None:
            own = [p for p in layer.parameters() if p.requires_grad]
            values = torch.autograd.grad(held[0], own, gradients, retain_graph=True, allow_unused=True)
            for parameter, value in zip(own, values, strict=True):
                if value is not None:
                    _gradient(parameter).copy_(value)

        self._later(lambda: self.tape.do(derive))

    def _parameter(self, parameter: nn.Parameter) -> None:
        """A weight that is a parameter."""
        self._add(parameter.detach(), lambda: _gradient(parameter))

    def _add(self, value: Tensor, own: Callable[[], Tensor] | None = None) -> Tensor:
        """Put a weight on the list; give where its gradient will lie in full precision.

        Parameters
        ----------
        value
            In full precision.
        own
            Gives the gradient of the parameter to which that of the weight goes unchanged.
        """
        if not self.trained:
            self.weights.append(Weight(self.tape.cast(value, self.dtype), value.new_empty(0)))
            return value
        gradient = torch.empty_like(value) if own is None else own()
        if self.dtype == value.dtype:
            self.weights.append(Weight(value, gradient))
        else:
            rough = torch.empty_like(gradient, dtype=self.dtype)
            self.weights.append(Weight(self.tape.cast(value, self.dtype), rough))
            self._later(lambda: self.tape.do(gradient.copy_, rough))
        return gradient

    def _later(self, derivation: Callable[[], object]) -> None:
        if self.trained:
            self._derivations.append(lambda: (derivation(), None)[1])


def _runs(group: Group) -> Iterator[tuple[int, slice, slice]]:
    """For each g the ranges of h, and of u = g⁻¹h, over which both grow by one: (g, h, u)."""
    n = group.order
    for g in range(n):
        u = group.difference[g].tolist()
        start = 0
        for h in range(1, n + 1):
            if h == n or u[h] != u[h - 1] + 1:
                yield g, slice(start, h), slice(u[start], u[start] + h - start)
                start = h


def _gradient(parameter: Tensor) -> Tensor:
    """Where a parameter's gradient lies."""
    assert parameter.grad is not None
    return parameter.grad
