"""Forward and backward passes through networks on vectors, recorded on a tape.

Samples come in parts of B: those whose loss the weights learn from first, then those through which the gradient
of the input is wanted. All parts share the products.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rl_core.fused.recorder import Tape
from rl_core.fused.vector_activation import HiddenActivation, HiddenNorm
from rl_core.fused.vector_weights import Weight, first_ones
from rl_core.layers.linear import LayerNorm
from rl_core.networks.vectors import FourierNetwork, VectorNetwork

__all__ = ["VectorPass"]

Product = Callable[..., None]


class VectorPass:
    """Forward and backward pass through a vector network.

    Activations lie as [K, parts, n, B, F]: n = 1 for plain networks, and the group's order for those in the
    Fourier form, whose spectra, one for each character, lie as [K, n, parts, B, F].

    Parameters
    ----------
    tape : Tape
    network : VectorNetwork
        Linear layers with activations between, with LayerNorm before them or without; plain, or exact in the Fourier
        form. Residual blocks need a `rl_core.fused.vector_blocks.BlockPass`.
    weights : sequence of Weight
        From `rl_core.fused.vector_weights.Expansion`.
    parts, batch : int
        Samples are [S, parts · B].
    trained : bool
        Whether `backward` will be called.
    hidden : str, optional
        Precision of the products between hidden layers, as `torch.set_float32_matmul_precision` names it; the
        others, which are small and next to inputs and outputs, stay in full precision.
    """

    def __init__(
        self,
        tape: Tape,
        network: VectorNetwork,
        weights: Sequence[Weight],
        parts: int,
        batch: int,
        trained: bool = True,
        hidden: str | None = None,
    ) -> None:
        self.tape, self.parts, self.batch = tape, parts, batch
        self.trained, self.hidden = trained, hidden
        self.layers: list[tuple[Weight, Weight]] = []
        self.norms: list[HiddenNorm] = []
        pairs = zip(weights[::2], weights[1::2], strict=True)
        for (_, layer), pair in zip(network.named_layers(), pairs, strict=True):
            if isinstance(layer, LayerNorm):
                self.norms.append(HiddenNorm(tape, layer, *pair, trained))
            else:
                self.layers.append(pair)
        self.head, self.exit_bias = self.layers.pop()
        self.activations = [HiddenActivation(tape, network.activation, trained) for _ in range(network.depth)]
        self.copies, self.ensemble = network.copies, network.ensemble or 1
        like = self.head.value
        self.n = 1
        self.signs: list[list[float]] = []
        if isinstance(network, FourierNetwork):
            transform = network.transform.to(like)
            self.n, self.signs = len(transform), transform.tolist()
            self.transforms = transform, transform.T
            self.entry = _Action(tape, network.lifting.action.to(like), batch)
            self.exit = _Action(tape, network.head.action.to(like), batch)
        seeds, size = self.copies // self.ensemble, network.input_size
        self.input = like.new_empty(seeds, 1, parts, 1, batch, size)
        # Critics of one seed read the same memory; those of several cannot, as products have but one stride.
        self.repeats = 1 if seeds == 1 and like.device.type == "cpu" else self.ensemble
        self.saved: list[Tensor] = []
        self.spectra: list[Tensor] = []

    def enter(self, x: Tensor, column: int, first: int = 0, last: int | None = None) -> None:
        """Copy columns of the input.

        Parameters
        ----------
        x
            Samples [S, B, columns] that the parts share, or [S, parts · B, columns].
        column
            The first of the columns.
        first, last
            The range of parts; by default all.
        """
        buffer = self.input[:, 0, first:last, 0, :, column : column + x.shape[2]]
        self.tape.do(buffer.copy_, x.view(len(x), -1, self.batch, x.shape[2]))

    def forward(self) -> Tensor:
        """The output [K, parts, B, out] for the input that was entered."""
        self.first = self._first()
        weight, bias = self.layers[0]
        h = self._forward_body(self._forward_linear(self.first, weight.value, bias.value, self._small))
        y = self._head(h)
        self._keep(h)
        return y

    def _forward_body(self, y: Tensor) -> Tensor:
        """From the output of the first layer to the head's input."""
        h = self._activated(0, y)
        for i in range(1, len(self.layers)):
            h = self._activated(i, self._forward_hidden(i, h))
        return h

    def _activated(self, i: int, y: Tensor) -> Tensor:
        """The output of a hidden layer after LayerNorm and activation."""
        return self.activations[i].forward(self.norms[i].forward(y) if self.norms else y)

    def _forward_hidden(self, i: int, h: Tensor) -> Tensor:
        """h W + b of a layer between hidden features; h is kept."""
        weight, bias = self.layers[i]
        if self.signs:
            y = self._forward_blocks(h, weight.value, bias.value)
        else:
            y = self._forward_linear(h, weight.value, bias.value, self._large)
        self._keep(h)
        return y

    def backward(self, g: Tensor, column: int | None = None) -> Tensor | None:
        """Record the gradients of the weights, from the first part of the samples; return that of the input.

        Parameters
        ----------
        g
            Gradient of the output, [K, parts, B, out], contiguous; later parts may be missing.
        column
            Where the input's gradient is wanted, its first column: the result is [S, B, columns], for the
            second part.
        """
        tape = self.tape
        tape(torch.sum, g[:, 0], 1, keepdim=True, out=self.exit_bias.gradient)
        g = self.exit.move(g[:, :, None], back=True) if self.signs else g[:, :, None]
        h = self.saved.pop()
        back = self._backward_body(self._backward_head(g, h[:, : g.shape[1]]), h)
        self._learn(self.first, back, *self.layers[0], self._small)
        slope = None if column is None else self._input_gradient(back[:, 1].flatten(1, 2), column)
        tape.free(back)
        return slope

    def _backward_body(self, g: Tensor, h: Tensor) -> Tensor:
        """From the gradient of the head's input h to that of the output of the first layer."""
        self._backward_activation(len(self.layers) - 1, g, h)
        for i in range(len(self.layers) - 1, 0, -1):
            g, h = self._backward_hidden(i, g)
            self._backward_activation(i - 1, g, h)
        return g

    def _backward_hidden(self, i: int, g: Tensor, keep: bool = False) -> tuple[Tensor, Tensor]:
        """Record the gradients of a layer between hidden features; return that of its input, and this input.

        g stays as it is with ``keep``, else its memory is used again.
        """
        (weight, bias), h = self.layers[i], self.saved.pop()
        if self.signs:
            return self._backward_blocks(g, weight, bias, keep), h
        self._learn(h, g, weight, bias, self._large)
        return self._through(g, weight.value, keep), h

    def _first(self) -> Tensor:
        """The input of all copies, moved by the group, [K, parts, n, B, in]."""
        tape, buffer = self.tape, self.input.expand(-1, self.repeats, -1, self.n, -1, -1)
        if self.signs:
            first = self.entry.move(buffer, out=buffer.new_empty(buffer.shape))
        elif self.repeats > 1:
            first = buffer.new_empty(buffer.shape)
            tape.do(first.copy_, buffer)
        else:
            first = self.input
        return first.expand(-1, self.ensemble, -1, -1, -1, -1).view(self.copies, *buffer.shape[2:])

    def _keep(self, h: Tensor) -> None:
        """Keep what the way back needs."""
        if self.trained:
            self.saved.append(h)
        else:
            self.tape.free(h)

    def _small(
        self, function: Callable[..., Tensor], *arguments: Tensor, out: Tensor, **options: Any
    ) -> None:
        """Record a product next to inputs or outputs."""
        self.tape(function, *arguments, out=out, **options)

    def _large(
        self, function: Callable[..., Tensor], *arguments: Tensor, out: Tensor, **options: Any
    ) -> None:
        """Record a product between hidden layers."""
        if self.hidden is not None:
            self.tape.do(torch.set_float32_matmul_precision, self.hidden)
        self.tape(function, *arguments, out=out, **options)
        if self.hidden is not None:
            self.tape.do(torch.set_float32_matmul_precision, "highest")

    def _head(self, h: Tensor) -> Tensor:
        """Σ_g h(g) ρ(g) + b, [K, parts, B, out]."""
        tape, rows, head = self.tape, h.view(len(h), -1, h.shape[-1]), self.head.value
        y = h.new_empty(*rows.shape[:2], head.shape[2])
        if head.shape[2] > 1 or h.device.type != "cpu":
            tape(torch.bmm, rows, head, out=y)
        else:
            # On a CPU the product with one column takes three times as long as products with a vector.
            for k in range(len(h)):
                tape(torch.mv, rows[k], head[k, :, 0], out=y[k, :, 0])
        y, bias = y.view(*h.shape[:-1], -1), self.exit_bias.value[:, None]
        return self.exit.collect(y, bias) if self.signs else tape(torch.add, y[:, :, 0], bias)

    def _forward_linear(self, h: Tensor, weight: Tensor, bias: Tensor, product: Product) -> Tensor:
        """h W + b."""
        tape, rows = self.tape, h.view(len(h), -1, h.shape[-1])
        y = tape.buffer(h, *rows.shape[:2], weight.shape[2])
        product(torch.bmm, rows, weight, out=y)
        fields = y.view(*y.shape[:2], -1, bias.shape[2])
        tape(torch.add, fields, bias[:, :, None], out=fields)
        return y.view(*h.shape[:-1], -1)

    def _learn(self, h: Tensor, g: Tensor, weight: Weight, bias: Weight, product: Product) -> None:
        """Record the gradients of a layer's weight and bias, for the first part of inputs h and outputs' g."""
        tape, rows, learned = self.tape, h[:, 0].flatten(1, 2), g[:, 0].flatten(1, 2)
        self._weight_gradient(rows, learned, weight.gradient, product)
        fields = learned.view(*learned.shape[:2], -1, bias.gradient.shape[2])
        tape.total(fields, (1, 2), out=bias.gradient[:, 0])

    def _weight_gradient(
        self, rows: Tensor, g: Tensor, out: Tensor, product: Product, scale: float = 1
    ) -> None:
        """scale · rowsᵀ g."""
        if product == self._large and self.hidden is not None:
            # Products in lower precision are slow where the samples of a copy do not follow those of the last.
            for k in range(len(out)):
                product(torch.addmm, out[k], rows[k].mT, g[k], beta=0, alpha=scale, out=out[k])
        else:
            product(torch.baddbmm, out, rows.mT, g, beta=0, alpha=scale, out=out)

    def _through(self, g: Tensor, weight: Tensor, keep: bool) -> Tensor:
        """The gradient of a layer's input."""
        tape, rows = self.tape, g.view(len(g), -1, g.shape[-1])
        back = tape.buffer(g, *g.shape[:-1], weight.shape[1])
        self._large(torch.bmm, rows, weight.mT, out=back.view(*rows.shape[:2], -1))
        if not keep:
            tape.free(g)
        return back

    def _backward_activation(self, i: int, g: Tensor, h: Tensor) -> None:
        """Turn the gradient of a hidden layer's output h into that before activation and LayerNorm, in place."""
        self.activations[i].backward(g, h)
        self.tape.free(h)
        if self.norms:
            self.norms[i].backward(g)

    def _input_gradient(self, g: Tensor, column: int) -> Tensor:
        """Of the columns from ``column`` on, summed over the critics: from [K, n · B, F] to [S, B, columns]."""
        tape, weight = self.tape, self.layers[0][0].value[:, column:].mT
        inner = tape(torch.bmm, g, weight)
        inner = inner.view(-1, self.ensemble, self.n, self.batch, inner.shape[2])
        if self.signs:
            inner = self.entry.after(column).move(inner, back=True)
        return tape.total(inner, (1, 2))

    def _backward_head(self, g: Tensor, h: Tensor) -> Tensor:
        """Record the gradient of the head's weight; return that of its input."""
        tape, weight = self.tape, self.head.value
        learned, rows = g[:, 0].flatten(1, 2), h[:, 0].flatten(1, 2)
        back = tape.buffer(h, *g.shape[:-1], h.shape[-1])
        if weight.shape[2] == 1:
            tape(torch.bmm, learned.mT, rows, out=self.head.gradient.mT)
            tape(torch.mul, g, weight.mT[:, None, None], out=back)
        else:
            # The transpose's product takes half the time.
            turned = tape(torch.bmm, learned.mT, rows)
            tape.do(self.head.gradient.copy_, turned.mT)
            flat = g.reshape(len(g), -1, g.shape[-1])
            tape(torch.bmm, flat, weight.mT, out=back.view(len(g), -1, h.shape[-1]))
        return back

    def _forward_blocks(self, h: Tensor, blocks: Tensor, bias: Tensor) -> Tensor:
        """A hidden layer in the Fourier form: y(g) = n⁻¹ Σ_χ χ(g) ψ^χ h^χ + b, h^χ = Σ_g χ(g) h(g)."""
        tape, (k, parts, n, batch, fields), size = self.tape, h.shape, blocks.shape[2]
        spectrum = tape.buffer(h, k, n, parts, batch, fields)
        self._transform(h.movedim(2, 0), self.transforms[0], spectrum.movedim(1, 0))
        product = tape.buffer(h, k, n, parts, batch, size)
        self._block_product(spectrum.view(k * n, -1, fields), blocks, product.view(k * n, -1, size))
        if self.trained:
            self.spectra.append(spectrum)
        else:
            tape.free(spectrum)
        tape.do(product[:, 0].add_, bias[:, None])
        y = tape.buffer(h, k, parts, n, batch, size)
        self._inverse(product.unbind(1), y.unbind(2))
        tape.free(product)
        return y

    def _backward_blocks(self, g: Tensor, blocks: Weight, bias: Weight, keep: bool) -> Tensor:
        """Record the gradients of a hidden layer's blocks and bias; return that of its input."""
        tape, spectrum, (k, parts, n, batch, size) = self.tape, self.spectra.pop(), g.shape
        fields = spectrum.shape[-1]
        turned = tape.buffer(g, k, n, parts, batch, size)
        self._transform(g.movedim(2, 0), self.transforms[0], turned.movedim(1, 0))
        if not keep:
            tape.free(g)
        tape(torch.sum, turned[:, 0, 0], 1, keepdim=True, out=bias.gradient)
        learned, rows = turned[:, :, 0].flatten(0, 1), spectrum[:, :, 0].flatten(0, 1)
        self._weight_gradient(rows, learned, blocks.gradient, self._large, 1 / n)
        tape.free(spectrum)
        inner = tape.buffer(g, k, n, parts, batch, fields)
        rows = turned.view(k * n, -1, size)
        self._block_product(rows, blocks.value.mT, inner.view(k * n, -1, fields))
        tape.free(turned)
        back = tape.buffer(g, k, parts, n, batch, fields)
        self._transform(inner.movedim(1, 0), self.transforms[1], back.movedim(2, 0))
        tape.free(inner)
        return back

    def _block_product(self, a: Tensor, b: Tensor, out: Tensor) -> None:
        """n⁻¹ a b for each character: the product scales at no cost."""
        self._large(torch.baddbmm, out, a, b, beta=0, alpha=1 / self.n, out=out)

    def _transform(self, x: Tensor, signs: Tensor, out: Tensor) -> None:
        """out[i] = Σ_j signs[i, j] x[j]: all i in one pass over memory."""
        columns = signs.T.reshape(len(x), len(x), *[1] * (x.ndim - 1))
        first = first_ones(signs.T)
        total = x[first : first + 1]
        for j in range(len(x)):
            if j != first:
                total = self.tape(torch.addcmul, total, x[j : j + 1], columns[j], out=out)

    def _inverse(self, x: Sequence[Tensor], out: Sequence[Tensor]) -> None:
        """out[g] = Σ_χ χ(g) x[χ]."""
        for g, buffer in enumerate(out):
            total = x[0]
            for i in range(1, self.n):
                total = self.tape(torch.add, total, x[i], alpha=self.signs[i][g], out=buffer)


class _Action:
    """Action of the group on samples [..., n or 1, B, d], from a constant [n, d, d], [n, d, 1] or [n, 1, d]."""

    def __init__(self, tape: Tape, action: Tensor, batch: int) -> None:
        self.tape, self.diagonal, self.batch = tape, 1 in action.shape[1:], batch
        self.action = action.reshape(len(action), 1, -1) if self.diagonal else action
        # Signs of all samples side by side: the product runs through memory in one go.
        self.factor = self.action.repeat(1, batch, 1) if self.diagonal else action

    def move(self, x: Tensor, back: bool = False, out: Tensor | None = None) -> Tensor:
        """xᵀρ(g), or the gradient of x for that of xᵀρ(g)."""
        if self.diagonal:
            return self.tape(torch.mul, x, self.factor, out=out)
        return self.tape(torch.matmul, x, self.factor.mT if back else self.factor, out=out)

    def collect(self, y: Tensor, bias: Tensor) -> Tensor:
        """Σ_g y(g)ᵀρ(g) + bias, [K, parts, B, d]."""
        terms = y if self.diagonal else self.move(y)
        total, out = bias, terms.new_empty(terms[:, :, 0].shape)
        for g in range(len(self.action)):
            if self.diagonal:
                self.tape(torch.addcmul, total, terms[:, :, g], self.factor[g], out=out)
            else:
                self.tape(torch.add, total, terms[:, :, g], out=out)
            total = out
        return out

    def after(self, column: int) -> _Action:
        """On the columns from this one on, which no element mixes with others."""
        action = self.action[..., column:] if self.diagonal else self.action[:, column:, column:]
        return _Action(self.tape, action, self.batch)
