"""LayerNorm and activation of a hidden layer of networks on vectors, recorded on a tape."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_core.fused.recorder import Tape
from rl_core.fused.vector_weights import Weight
from rl_core.layers.linear import LayerNorm

__all__ = ["ACTIVATIONS", "HiddenActivation", "HiddenNorm"]

ACTIVATIONS = ("relu", "silu")
"""Those that `HiddenActivation` knows."""

silu = torch.ops.aten.silu.out
silu_backward = torch.ops.aten.silu_backward.grad_input
threshold_backward = torch.ops.aten.threshold_backward.grad_input


class HiddenActivation:
    """The activation of one hidden layer, entrywise.

    Parameters
    ----------
    tape : Tape
    activation : {"relu", "silu"}
    trained : bool
        Whether `backward` will be called.
    """

    def __init__(self, tape: Tape, activation: str, trained: bool) -> None:
        self.tape, self.rectifies, self.trained = tape, activation == "relu", trained
        self._z: Tensor | None = None

    def forward(self, z: Tensor) -> Tensor:
        """The output; z, from the tape's buffers, is this function's from now on."""
        if self.rectifies:
            self.tape.do(z.clamp_min_, 0)
            return z
        h = self.tape.buffer(z, *z.shape)
        self.tape.do(silu, z, out=h)
        if self.trained:
            self._z = z
        else:
            self.tape.free(z)
        return h

    def backward(self, g: Tensor, h: Tensor) -> None:
        """Turn the gradient of the output h into that of the input, in place; g may have fewer parts than h."""
        parts = g.shape[1]
        if self._z is None:
            self.tape.do(threshold_backward, g, h[:, :parts], 0, grad_input=g)
        else:
            self.tape.do(silu_backward, g, self._z[:, :parts], grad_input=g)
            self.tape.free(self._z)


class HiddenNorm:
    """LayerNorm of one hidden layer whose outputs have mean zero over the features of each sample.

    `rl_core.fused.vector_weights.Expansion` takes the mean away in the weights, so that no pass over activations is
    needed for it, neither here nor on the way back.

    Parameters
    ----------
    tape : Tape
    layer : LayerNorm
        Its settings are used; its parameters come as weights.
    scale, shift : Weight
        [K, 1, F].
    trained : bool
        Whether `backward` will be called.
    """

    def __init__(self, tape: Tape, layer: LayerNorm, scale: Weight, shift: Weight, trained: bool) -> None:
        self.tape, self.scale, self.shift, self.trained = tape, scale, shift, trained
        self.size = layer.group.order * layer.fields
        self.epsilon = torch.tensor(layer.epsilon, device=scale.value.device)

    def forward(self, y: Tensor, keep: bool = False) -> Tensor:
        """The output for y [K, parts, n, B, G·F], which stays as it is with ``keep``, else is overwritten."""
        tape = self.tape
        # In full precision, as in autograd, whatever that of the activations.
        norm = tape(torch.linalg.vector_norm, y, dim=-1, keepdim=True, dtype=torch.float32)
        if y.shape[2] > 1:
            norm = tape(torch.linalg.vector_norm, norm, dim=2, keepdim=True)
        self._inverse = tape(torch.addcmul, self.epsilon, norm, norm, value=1 / self.size)
        tape.do(self._inverse.rsqrt_)
        normal = tape.buffer(y, *y.shape) if keep else y
        tape(torch.mul, y, self._inverse, out=normal)
        z = tape.buffer(y, *y.shape)
        scale, shift = (weight.value[:, :, None] for weight in (self.scale, self.shift))
        tape(torch.addcmul, shift, self._fields(normal), scale, out=self._fields(z))
        if self.trained:
            self._normal = normal
        else:
            tape.free(normal)
        return z

    def backward(self, g: Tensor) -> None:
        """Turn the gradient of the output into that of the input, in place; record those of scale and shift.

        g may have fewer parts than the output; scale and shift learn from the first.
        """
        tape, parts, value = self.tape, g.shape[1], self.scale.value
        normal, inverse = self._normal[:, :parts], self._inverse[:, :parts]
        product = tape.buffer(g, *g.shape)
        tape(torch.mul, g, normal, out=product)
        for weight, slope in ((self.shift, g), (self.scale, product)):
            tape.total(self._fields(slope[:, :1]), (1, 2), out=weight.gradient[:, 0])
        # Σ scale · g · normal over the features of a sample: the product with a vector, of each part of the features.
        along = tape(torch.bmm, product.view(len(g), -1, value.shape[2]), value.mT)
        along = along.view(*g.shape[:-1], -1)
        if along[0, 0, :, 0].numel() > 1:
            along = tape(torch.sum, along, (2, 4), keepdim=True)
        tape.do(self._fields(g).mul_, value[:, :, None])
        tape(torch.addcmul, g, normal, along, value=-1 / self.size, out=g)
        tape(torch.mul, g, inverse, out=g)
        tape.free(product)
        tape.free(self._normal)

    def _fields(self, y: Tensor) -> Tensor:
        """Features as [K, rows, G, F]."""
        rows = y.flatten(1, 3)
        return rows.view(*rows.shape[:2], -1, self.scale.value.shape[2])
