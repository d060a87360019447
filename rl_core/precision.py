"""The precision of matrix products, as `SACConfig.matmul_dtype` names it, within a block and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rl_core.config import MatmulDtype

__all__ = ["cast_to", "lower_precision", "product_precision"]


def cast_to(matmul_dtype: MatmulDtype, device: torch.device) -> torch.dtype:
    """The type that weights and activations are cast to.

    On a CPU they stay in float32: there `product_precision` rounds what is multiplied, and the sums of the
    products, biases and rectifiers lose nothing.
    """
    rounded = matmul_dtype == "bfloat16" and device.type != "cpu"
    return torch.bfloat16 if rounded else torch.float32


def lower_precision(matmul_dtype: MatmulDtype, device: torch.device) -> str | None:
    """Argument of `torch.set_float32_matmul_precision` for products of float32 numbers, None for its default.

    TF32 on CUDA is "high". On a CPU, "medium" rounds factors to bfloat16 where the processor multiplies that
    natively, and keeps the sums in float32; other processors go on in float32.
    """
    return {("tf32", "cuda"): "high", ("bfloat16", "cpu"): "medium"}.get((matmul_dtype, device.type))


@contextmanager
def product_precision(matmul_dtype: MatmulDtype, device: torch.device) -> Iterator[None]:
    """Let matrix products of float32 numbers round their factors where the settings ask for it."""
    lower = lower_precision(matmul_dtype, device)
    if lower is None:
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(lower)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
