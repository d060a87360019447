"""Forward and backward passes through residual blocks of networks on vectors, recorded on a tape."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_core.fused.vector_network import VectorPass

__all__ = ["BlockPass"]


class BlockPass(VectorPass):
    """Forward and backward pass through a network with residual blocks x + W₂ f(W₁ LayerNorm(x)).

    Only LayerNorms read x, so that no layer has to write its mean over the features of a sample: see `Expansion`.
    """

    def _forward_body(self, y: Tensor) -> Tensor:
        """From the output of the first layer to the head's input."""
        *norms, last = self.norms
        for i, (norm, activation) in enumerate(zip(norms, self.activations, strict=True)):
            h = self._forward_hidden(2 * i + 1, norm.forward(y, keep=True))
            change = self._forward_hidden(2 * i + 2, activation.forward(h))
            self.tape(torch.add, y, change, out=y)
            self.tape.free(change)
        return last.forward(y)

    def _backward_body(self, g: Tensor, h: Tensor) -> Tensor:
        """From the gradient of the head's input h to that of the output of the first layer."""
        self.tape.free(h)
        *norms, last = self.norms
        last.backward(g)
        for i in reversed(range(len(norms))):
            back, h = self._backward_hidden(2 * i + 2, g, keep=True)
            self.activations[i].backward(back, h)
            self.tape.free(h)
            back, h = self._backward_hidden(2 * i + 1, back)
            self.tape.free(h)
            norms[i].backward(back)
            self.tape(torch.add, g, back, out=g)
            self.tape.free(back)
        return g
