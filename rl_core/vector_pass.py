"""Forward and backward through networks on vectors, derived by hand and noted on a tape.

Samples come in parts of B: those whose loss the weights learn from first, then those through which the gradient
of the input is wanted. All parts share the products.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rl_core.expanded import Weight
from rl_core.networks_vectors import FourierNetwork, VectorNetwork, act
from rl_core.tape import Tape

__all__ = ["VectorPass"]

threshold_backward = torch.ops.aten.threshold_backward.grad_input


class VectorPass:
    """One way forward through a vector network, and back.

    Activations lie as [K, parts, n, B, F]: n = 1 for plain networks, and the group's order for those in the
    Fourier form, whose spectra, one for each character, lie as [K, n, parts, B, F].

    Parameters
    ----------
    tape : Tape
    network : VectorNetwork
        Linear layers with rectifiers between; plain, or exact in the Fourier form.
    weights : sequence of Weight
        From `rl_core.expanded.Expansion`.
    parts, batch : int
        Samples are [S, parts · B].
    """

    def __init__(
        self, tape: Tape, network: VectorNetwork, weights: Sequence[Weight], parts: int, batch: int
    ) -> None:
        self.tape, self.parts, self.batch = tape, parts, batch
        self.layers = list(zip(weights[::2], weights[1::2], strict=True))
        self.copies, self.ensemble = network.copies, network.ensemble or 1
        self.fourier = network if isinstance(network, FourierNetwork) else None
        self.n = 1
        like = self.layers[0][0].value
        if self.fourier is not None:
            self.n = len(self.fourier.transform)
            self.signs: list[list[float]] = self.fourier.transform.tolist()
            self.entry_action = self.fourier.lifting.action.to(like)
            self.exit_action = self.fourier.head.action.to(like)
        seeds = self.copies // self.ensemble
        self.input = like.new_empty(seeds, self.ensemble, parts, self.n, batch, network.input_size)
        self.spectra: list[Tensor] = []
        self.saved: list[Tensor] = [self.input.view(self.copies, parts, self.n, batch, -1)]

    def enter(self, x: Tensor, column: int, first: int = 0, last: int | None = None) -> None:
        """Put columns of the input, moved by the group and for each critic.

        Parameters
        ----------
        x
            Samples [S, B, columns] that the parts share, or [S, parts · B, columns].
        column
            The first of the columns.
        first, last
            The range of parts; by default all.
        """
        tape, columns = self.tape, slice(column, column + x.shape[2])
        room = self.input[:, :, first:last, ..., columns]
        x = tape.cast(x, room.dtype)
        x = x.view(len(x), -1, self.batch, x.shape[2])[:, None, :, None]
        if self.fourier is None:
            tape.do(room.copy_, x)
            return
        action = self._entry_action(columns)
        if action.shape[2] > 1:
            tape.do(room.copy_, tape(act, action, x))
        else:
            tape(act, action, x.expand_as(room), out=room)

    def forward(self) -> Tensor:
        """The output [K, parts, B, out] for the input that was put."""
        tape, k = self.tape, self.copies
        for i, (weight, bias) in enumerate(self.layers[:-1]):
            h = self.saved[-1]
            if i and self.fourier is not None:
                self.saved.append(self._forward_blocks(h, weight.value, bias.value))
                continue
            y = tape(torch.bmm, h.view(k, -1, h.shape[-1]), weight.value)
            fields = y.view(*y.shape[:2], -1, bias.value.shape[2])
            tape.rectified_sum(fields, bias.value[:, :, None], 1.0, out=fields)
            self.saved.append(y.view(*h.shape[:-1], -1))
        weight, bias = self.layers[-1]
        h = self.saved[-1]
        y = self._times_head(h.view(k, -1, h.shape[-1]), weight.value).view(*h.shape[:-1], -1)
        if self.fourier is None:
            y = y[:, :, 0]
        else:
            y = tape.total(tape(act, self.exit_action, y), 2)
        return tape(torch.add, y, bias.value[:, None])

    def backward(self, g: Tensor, column: int | None = None) -> Tensor | None:
        """Note the gradients of the weights, from the first part of the samples; give that of the input.

        Parameters
        ----------
        g
            Gradient of the output, [K, parts, B, out], contiguous; later parts may be missing.
        column
            Where the input's gradient is wanted, its first column: the result is [S, B, columns], for the
            second part.
        """
        tape, k, parts = self.tape, self.copies, g.shape[1]
        weight, bias = self.layers[-1]
        tape(torch.sum, g[:, 0], 1, keepdim=True, out=bias.gradient)
        if self.fourier is None:
            g = g[:, :, None]
        else:
            g = tape(act, self.exit_action.mT, g[:, :, None])
        g = self._backward_head(g, self.saved[-1][:, :parts], weight)
        for i in range(len(self.layers) - 2, -1, -1):
            weight, bias = self.layers[i]
            h = self.saved[i][:, :parts]
            if i and self.fourier is not None:
                g = self._rectifier(self._backward_blocks(g, weight, bias), h)
                continue
            learned = g[:, 0].flatten(1, 2)
            tape(torch.bmm, h[:, 0].flatten(1, 2).mT, learned, out=weight.gradient)
            fields = learned.view(*learned.shape[:2], -1, bias.gradient.shape[2])
            tape.total(fields, (1, 2), out=bias.gradient[:, 0])
            if i:
                g = tape(torch.bmm, g.view(k, -1, g.shape[-1]), weight.value.mT).view(h.shape)
                g = self._rectifier(g, h)
        return None if column is None else self._input_gradient(g[:, 1], column)

    def _times_head(self, h: Tensor, weight: Tensor) -> Tensor:
        """h [K, rows, F] times a head's weight [K, F, out]."""
        tape = self.tape
        if weight.shape[2] > 1 or h.device.type != "cpu":
            return tape(torch.bmm, h, weight)
        # On a CPU the product with one column is a third of the time as products with a vector.
        y = h.new_empty(*h.shape[:2], 1)
        for rows, vector, out in zip(h, weight, y, strict=True):
            tape(torch.mv, rows, vector[:, 0], out=out[:, 0])
        return y

    def _backward_head(self, g: Tensor, h: Tensor, weight: Weight) -> Tensor:
        """The head's weight, and the gradient of its input's rectifier's input, from [K, parts, n, B, out]."""
        tape, learned, rows = self.tape, g[:, 0].flatten(1, 2), h[:, 0].flatten(1, 2)
        if weight.value.shape[2] == 1:
            tape(torch.bmm, learned.mT, rows, out=weight.gradient.mT)
            back = tape(torch.mul, g, weight.value.mT[:, None, None])
        else:
            tape(torch.bmm, rows.mT, learned, out=weight.gradient)
            flat = g.reshape(self.copies, -1, g.shape[-1])
            back = tape(torch.bmm, flat, weight.value.mT).view(*g.shape[:-1], -1)
        return self._rectifier(back, h)

    def _rectifier(self, g: Tensor, h: Tensor) -> Tensor:
        """The gradient behind a rectifier whose output was h, in place."""
        self.tape.do(threshold_backward, g, h, 0, grad_input=g)
        return g

    def _forward_blocks(self, h: Tensor, blocks: Tensor, bias: Tensor) -> Tensor:
        """A hidden layer in the Fourier form: y(g) = max(n⁻¹ Σ_χ χ(g) ψ^χ h^χ + b, 0), h^χ = Σ_g χ(g) h(g)."""
        k, parts, n, batch, fields = h.shape
        spectrum = h.new_empty(k, n, parts, batch, fields)
        self._turn(h.unbind(2), spectrum.unbind(1), self.signs)
        self.spectra.append(spectrum)
        product = self._block_product(spectrum.view(k * n, -1, fields), blocks).view(k, n, parts, batch, -1)
        self.tape.do(product[:, 0].add_, bias[:, None])
        y = h.new_empty(k, parts, n, batch, product.shape[-1])
        self._turn(product.unbind(1), y.unbind(2), list(zip(*self.signs, strict=True)), rectified=True)
        return y

    def _backward_blocks(self, g: Tensor, blocks: Weight, bias: Weight) -> Tensor:
        """Note what a hidden layer's blocks and bias learn; give the gradient of its input."""
        tape, spectrum = self.tape, self.spectra.pop()
        k, parts, n, batch, fields = g.shape
        g_spectrum = g.new_empty(k, n, parts, batch, fields)
        self._turn(g.unbind(2), g_spectrum.unbind(1), self.signs)
        tape(torch.sum, g_spectrum[:, 0, 0], 1, keepdim=True, out=bias.gradient)
        learned, rows = g_spectrum[:, :, 0].flatten(0, 1), spectrum[:, :, 0].flatten(0, 1)
        self._block_product(rows.mT, learned, out=blocks.gradient)
        inner = self._block_product(g_spectrum.view(k * n, -1, fields), blocks.value.mT)
        back = g.new_empty(k, parts, n, batch, spectrum.shape[-1])
        sources = inner.view(k, n, parts, batch, -1).unbind(1)
        self._turn(sources, back.unbind(2), list(zip(*self.signs, strict=True)))
        return back

    def _block_product(self, a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
        """n⁻¹ a b for each character: the product scales at no cost."""
        room = a.new_zeros(a.shape[0], a.shape[1], b.shape[2]) if out is None else out
        return self.tape(torch.baddbmm, room, a, b, beta=0, alpha=1 / self.n, out=room)

    def _turn(
        self,
        sources: Sequence[Tensor],
        rooms: Sequence[Tensor],
        signs: Sequence[Sequence[float]],
        rectified: bool = False,
    ) -> None:
        """rooms[i] = Σ_j signs[i][j] sources[j], rectified if so wished."""
        tape = self.tape
        for room, row in zip(rooms, signs, strict=True):
            first = list(row).index(1.0)
            total = sources[first]
            others = [j for j in range(self.n) if j != first]
            for j in others:
                if rectified and j == others[-1]:
                    tape.rectified_sum(total, sources[j], row[j], out=room)
                else:
                    tape(torch.add, total, sources[j], alpha=row[j], out=room)
                total = room

    def _input_gradient(self, g: Tensor, column: int) -> Tensor:
        """Of the columns from ``column`` on, summed over the critics: from [K, n, B, F] to [S, B, columns]."""
        tape, weight = self.tape, self.layers[0][0].value
        inner = tape(torch.bmm, g.flatten(1, 2), weight[:, column:].mT)
        inner = inner.view(-1, self.ensemble, self.n, self.batch, inner.shape[2])
        if self.fourier is not None:
            inner = tape(act, self._entry_action(slice(column, None)).mT, inner)
        return tape.total(inner, (1, 2))

    def _entry_action(self, columns: slice) -> Tensor:
        """How the group acts on these columns, which no element mixes with others."""
        action = self.entry_action[:, columns]
        return action if action.shape[2] == 1 else action[..., columns]
