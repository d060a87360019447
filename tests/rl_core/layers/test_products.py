"""Products of rows and their gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from rl_core.layers.products import row_product


def test_row_product_and_its_gradients() -> None:
    def plain(left: Tensor, right: Tensor, x: Tensor, w: Tensor, a: Tensor, v: Tensor) -> Tensor:
        wide = [t.repeat_interleave(2, dim=0) for t in (x, a)]
        return (left @ right).view(4, 3, 5, 2) + wide[0] @ w + wide[1] @ v

    torch.manual_seed(0)
    for rows in (3, 1):
        shapes = [(4, 3, 2), (4, 2, 10), (2, 3, 5, 6), (4, rows, 6, 2), (2, 3, 5, 1), (4, rows, 1, 2)]
        inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes]
        torch.testing.assert_close(row_product(*inputs), plain(*inputs))
        seed = torch.randn(4, 3, 5, 2, dtype=torch.float64)
        ours = torch.autograd.grad(row_product(*inputs), inputs, seed)
        for one, other in zip(ours, torch.autograd.grad(plain(*inputs), inputs, seed), strict=True):
            torch.testing.assert_close(one, other)
