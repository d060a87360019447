"""Blocks of a history that belong to the two halves of a batch in turn, so that the halves do not overlap."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["BLOCK", "day_of"]

BLOCK = 21
"""Days of a block."""


def day_of(uniform: Tensor, days: int, length: int = BLOCK) -> Tensor:
    """Return days [S, B] from uniform numbers: of odd blocks in the second half of the batch, else of even ones.

    A history shorter than two blocks is cut in the middle.
    """
    half = uniform.shape[1] // 2
    block = min(length, max(1, days // 2))
    pairs, rest = divmod(days, 2 * block)
    first = pairs * block + min(rest, block)
    second = pairs * block + max(rest - block, 0)
    counts = torch.full((uniform.shape[1],), first, device=uniform.device)
    counts[half:] = second if second else first
    place = torch.minimum((uniform * counts).long(), counts - 1)
    day = place.div(block, rounding_mode="floor") * (2 * block) + place.remainder(block)
    if second:
        day[:, half:] += block
    return day
