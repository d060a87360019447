"""The random shift of pictures that makes learning from pixels work (Yarats et al. 2021, "DrQ")."""

from __future__ import annotations

import torch
from torch import Tensor

SHIFT = 4  # pixels, as in DrQ


def random_shift(pictures: Tensor, uniform: Tensor) -> Tensor:
    """Shift every stack of pictures by up to 4 pixels each way, its edges repeated.

    Parameters
    ----------
    pictures
        [S, B, C, H, H].
    uniform
        Numbers within [0, 1), [S, B, 2]: how far down and how far right. Their law, and so the
        augmentation's, is unchanged by flips and quarter turns.

    Returns
    -------
    Tensor
        [S, B, C, H, H].
    """
    size = pictures.shape[-1]
    shift = (uniform * (2 * SHIFT + 1)).long() - SHIFT
    places = (torch.arange(size, device=pictures.device) + shift[..., None]).clamp(0, size - 1)
    rows = places[:, :, 0, None, :, None].expand(pictures.shape)
    columns = places[:, :, 1, None, None, :].expand(pictures.shape)
    return pictures.gather(-2, rows).gather(-1, columns)
