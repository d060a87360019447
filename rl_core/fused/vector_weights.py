"""Effective weights of networks on vectors and the derivative of their expansion, recorded on a tape.

Layers expand their weights by a few general operations; here this is written out block by block: each number is
read and written once, and no graph of operations is built at a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from rl_core.fused.recorder import Tape
from rl_core.layers.base import Layer
from rl_core.layers.fourier import FourierLinear
from rl_core.layers.linear import DenseLinear, Head, LayerNorm, Lifting, RegularLinear
from rl_core.layers.rpp import ResidualPathway
from rl_core.networks.base import Network
from rl_core.networks.vectors import FourierNetwork, VectorNetwork
from rl_core.symmetry.groups import Group

__all__ = ["Expansion", "Weight", "first_ones", "supports_layers"]

_LAYERS = (DenseLinear, FourierLinear, Head, LayerNorm, Lifting, RegularLinear)


def supports_layers(network: Network) -> bool:
    """Return whether `Expansion` knows every layer, by its exact type."""
    layers = [layer for _, layer in network.named_layers()]
    inner = [layer.exact if type(layer) is ResidualPathway else layer for layer in layers]
    return all(type(layer) in _LAYERS for layer in inner)


@dataclass(frozen=True)
class Weight:
    """An effective weight or bias in the precision of the products, and where its gradient goes."""

    value: Tensor
    gradient: Tensor


class Expansion:
    """The effective weights of a network, recorded when it is made; `derive` records their derivative.

    Biases, and LayerNorm's scale and shift, are not repeated over the group: they come as [K, 1, F], for all n·F
    outputs. Where nothing but LayerNorms read a layer's outputs, these come without their mean over the features of a
    sample, which LayerNorm takes away anyway.

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
        for name, layer in network.named_layers():
            self._centre = self._take_mean if _feeds_norm(network, name) else None
            if isinstance(layer, LayerNorm):
                self._parameter(layer.scale)
                self._parameter(layer.shift)
            elif isinstance(network, FourierNetwork):
                self._fourier(layer)
            elif isinstance(layer, DenseLinear):
                self._parameter(layer.weight)
                self._parameter(layer.bias)
            else:
                self._group(layer)

    def derive(self) -> None:
        """Record how gradients of effective weights become those of the parameters."""
        for derivation in self._derivations:
            derivation()

    def _fourier(self, layer: Layer) -> None:
        """Of networks in the Fourier form the parameters serve as they are, but for means over the features."""
        centre = self._centre
        if isinstance(layer, FourierLinear):
            if centre is not None:
                centre = partial(self._take_trivial_mean, transform=layer.transform)
            self._add(
                layer.blocks.detach().flatten(0, 1), lambda: _gradient(layer.blocks).flatten(0, 1), centre
            )
            self._parameter(layer.bias)
        elif isinstance(layer, Lifting):
            if centre is not None:
                invariant = layer.source.invariant_projection.to(layer.psi)
                centre = partial(self._take_mean, invariant=invariant)
            self._add(layer.psi.detach()[:, 0], lambda: _gradient(layer.psi)[:, 0], centre)
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
        if isinstance(whole, RegularLinear):
            self._regular(whole, free)
        else:
            assert isinstance(whole, Lifting | Head)
            self._end(whole, free)
        if isinstance(whole, Head):
            self._invariant_bias(whole, free)
        elif free is None:
            self._parameter(whole.bias)
        else:
            self._repeated_bias(whole.bias, free)

    def _end(self, layer: Lifting | Head, free: ResidualPathway | None) -> None:
        """Of a lifting W(·, g) = ρ(g) ψ(g), of a head W(g, ·) = ψ(g) ρ(g)ᵀ/n, for ψ(g) = Σ_l w_l(g) ψ_l."""
        tape, w, action = self.tape, layer.w, layer.action
        psi = layer.psi if isinstance(layer, Lifting) else layer.phi
        diagonal = 1 in action.shape[1:]

        def blocks(x: Tensor) -> Tensor:
            """The block of each g, [K, n, d, F] or [K, n, F, d]."""
            if isinstance(layer, Lifting):
                return x.view(*x.shape[:2], len(action), -1).transpose(1, 2)
            return x.view(len(x), len(action), -1, x.shape[2])

        def moved(x: Tensor, by: Tensor, out: Tensor) -> None:
            if diagonal:
                tape(torch.mul, x, by, out=out)
            elif isinstance(layer, Lifting):
                tape.do(out.copy_, tape(torch.matmul, by, x))
            else:
                tape.do(out.copy_, tape(torch.matmul, x, by))

        weight = psi.new_empty(layer.copies, layer.input_size, layer.output_size)
        mixed = self._mixed(psi, w, len(action))
        moved(mixed, action, blocks(weight))
        gradient = self._with_free(weight, free)

        def derive() -> None:
            g = psi.new_empty(mixed.shape)
            moved(blocks(gradient), action if diagonal else action.mT, g)
            self._derive_mixed(psi, w, g)

        self._later(derive)

    def _regular(self, layer: RegularLinear, free: ResidualPathway | None) -> None:
        """Block (h, g) of W is Σ_l w_l(g) ψ_l(u) with u = g⁻¹h."""
        tape, psi, n = self.tape, layer.psi, layer.group.order
        shape = layer.copies, n, layer.fields_in, n, layer.fields
        weight = psi.new_empty(layer.copies, layer.input_size, layer.output_size)
        mixed = self._mixed(psi, layer.w, n)
        for g, h, u in _runs(layer.group):
            tape.do(weight.view(shape)[:, h, :, g].copy_, mixed[:, g, u])
        gradient = self._with_free(weight, free)

        def derive() -> None:
            by_element = psi.new_empty(mixed.shape)
            for g, h, u in _runs(layer.group):
                tape.do(by_element[:, g, u].copy_, gradient.view(shape)[:, h, :, g])
            self._derive_mixed(psi, layer.w, by_element)

        self._later(derive)

    def _mixed(self, psi: Tensor, w: Tensor | None, n: int) -> Tensor:
        """Σ_l w_l(g) ψ_l for each g, from [K, L, ...] to [K, n, ...]; an exact layer's one bank serves all g."""
        psi = psi.detach()
        if w is None:
            return psi.expand(-1, n, *psi.shape[2:])
        return self.tape(torch.bmm, w.detach().mT, psi.flatten(2)).view(len(psi), n, *psi.shape[2:])

    def _derive_mixed(self, psi: Tensor, w: Tensor | None, g: Tensor) -> None:
        """Record the gradients of filters and relaxed weights for that of `_mixed`."""
        if w is None:
            self.tape.total(g, 1, out=_gradient(psi)[:, 0])
            return
        self.tape(torch.bmm, w.detach(), g.flatten(2), out=_gradient(psi).flatten(2))
        self.tape(torch.bmm, psi.detach().flatten(2), g.flatten(2).mT, out=_gradient(w))

    def _with_free(self, weight: Tensor, free: ResidualPathway | None) -> Tensor:
        """Add a weight, plus a free one; return the tensor of its gradient."""
        if free is None:
            return self._add(weight)
        self.tape(torch.add, weight, free.free_weight.detach(), out=weight)
        return self._add(weight, lambda: _gradient(free.free_weight))

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
        signs = projection.diagonal()
        diagonal = torch.equal(signs.diag(), projection)
        if diagonal and bool((signs == 1).all()) and free is None:
            self._parameter(bias)
            return
        function, factor = (torch.mul, signs) if diagonal else (torch.matmul, projection)
        value = tape(function, bias.detach(), factor)
        if free is not None:
            tape(torch.add, value, free.free_bias.detach(), out=value)
        gradient = self._add(value, None if free is None else lambda: _gradient(free.free_bias))
        # The projection is its own transpose, as representations here are orthogonal.
        self._later(lambda: tape(function, gradient, factor, out=_gradient(bias)))

    def _parameter(self, parameter: nn.Parameter) -> None:
        """A weight that is a parameter."""
        self._add(parameter.detach(), lambda: _gradient(parameter))

    def _take_mean(self, x: Tensor, out: Tensor, invariant: Tensor | None = None) -> None:
        """Subtract the mean over the outputs.

        Parameters
        ----------
        x
            A weight or bias [K, in, out], or the gradient of one without mean: the map is its own transpose.
        out
            Where the result goes; may be x.
        invariant
            Projection [in, in] onto the inputs whose mean is taken, by default all.
        """
        total = self.tape(torch.sum, x, -1, keepdim=True)
        if invariant is not None:
            total = self.tape(torch.matmul, invariant, total)
        self.tape(torch.sub, x, total, alpha=1 / x.shape[-1], out=out)

    def _take_trivial_mean(self, x: Tensor, out: Tensor, transform: Tensor) -> None:
        """The same of blocks [K·n, F, F']: the mean over elements and fields is the trivial character's alone."""
        if out is not x:
            self.tape.do(out.copy_, x)
        own = slice(first_ones(transform), None, len(transform))
        self._take_mean(x[own], out[own])

    def _add(
        self,
        value: Tensor,
        own: Callable[[], Tensor] | None = None,
        centre: Callable[[Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """Add a weight; return the tensor of its gradient in full precision.

        Parameters
        ----------
        value
            In full precision.
        own
            Returns the gradient of the parameter that equals that of the weight.
        centre
            Takes the mean over the outputs away, where `self._centre` does not do it right.
        """
        centre = centre or self._centre
        if centre is not None:
            whole, value = value, torch.empty_like(value)
            centre(whole, value)
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
        if centre is not None:
            self._later(lambda: centre(gradient, gradient))
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


def _feeds_norm(network: VectorNetwork, name: str) -> bool:
    """Whether a linear layer's output goes to nothing but LayerNorms."""
    if network.residual:
        return name.startswith(("lifting", "residual"))
    return network.norm and name.startswith(("lifting", "hidden"))


def first_ones(rows: Tensor) -> int:
    """The first row that holds nothing but ones: that of the identity, or of the trivial character."""
    return int((rows == 1).all(1).nonzero()[0])


def _gradient(parameter: Tensor) -> Tensor:
    """A parameter's gradient."""
    assert parameter.grad is not None
    return parameter.grad
