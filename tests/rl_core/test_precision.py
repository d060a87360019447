"""Precision of matrix products."""

from __future__ import annotations

import pytest
import torch

from rl_core.config import MatmulDtype
from rl_core.precision import cast_to, product_precision

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("matmul_dtype", "device", "within", "cast"),
    [
        ("float32", CPU, "highest", torch.float32),
        ("tf32", CPU, "highest", torch.float32),
        ("bfloat16", CPU, "medium", torch.float32),
        ("tf32", CUDA, "high", torch.float32),
        ("bfloat16", CUDA, "highest", torch.bfloat16),
    ],
)
def test_precision_holds_within_the_block_alone(
    matmul_dtype: MatmulDtype, device: torch.device, within: str, cast: torch.dtype
) -> None:
    assert torch.get_float32_matmul_precision() == "highest"
    with product_precision(matmul_dtype, device):
        assert torch.get_float32_matmul_precision() == within
    with pytest.raises(RuntimeError, match="inside"), product_precision(matmul_dtype, device):
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == "highest"
    assert cast_to(matmul_dtype, device) == cast
