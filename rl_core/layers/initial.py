"""Initial values drawn copy by copy, so that one copy alone gets the numbers that it gets in a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

HE_GAIN = 2.0
"""Variance times fan-in before a rectifier (He et al. 2015)."""

HEAD_GAIN = 1.0 / 3.0
"""Variance times fan-in of a last layer: PyTorch's default for linear layers, as in CleanRL's SAC."""


def uniform(shape: Sequence[int], variance: float, generators: Sequence[Generator]) -> nn.Parameter:
    """Parameters [K, *shape], uniform with mean 0 and this variance; copy k comes from ``generators[k]``."""
    bound = math.sqrt(3.0 * variance)
    copies = [torch.rand(list(shape), generator=g, device=g.device) for g in generators]
    return nn.Parameter((2.0 * torch.stack(copies) - 1.0) * bound)


def zeros(shape: Sequence[int], generators: Sequence[Generator]) -> nn.Parameter:
    """A parameter [K, *shape] of zeros."""
    return nn.Parameter(torch.zeros([len(generators), *shape], device=generators[0].device))


def ones(shape: Sequence[int], generators: Sequence[Generator]) -> nn.Parameter:
    """A parameter [K, *shape] of ones."""
    return nn.Parameter(torch.ones([len(generators), *shape], device=generators[0].device))


def constant(values: Tensor, generators: Sequence[Generator]) -> Tensor:
    """A constant on the device of the parameters, in their dtype unless it holds integers."""
    dtype = torch.get_default_dtype() if values.is_floating_point() else values.dtype
    return values.to(device=generators[0].device, dtype=dtype).contiguous()
