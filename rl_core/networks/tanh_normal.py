"""Actions of a tanh-Gaussian policy and their log-probabilities (Haarnoja et al. 2018b, appendix C)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["HALF_LOG_TWO_PI", "sample"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def sample(
    output: Tensor, noise: Tensor, low: float, high: float, *, by_entry: bool = False
) -> tuple[Tensor, Tensor]:
    """Return actions in (−1, 1) and their log-probabilities.

    Parameters
    ----------
    output
        Mean and log standard deviation of the Gaussian, side by side [..., 2A].
    noise
        Standard normal [..., A].
    low, high
        Bounds of the log standard deviation.
    by_entry
        Return the log-probability of each entry of the action.

    Returns
    -------
    tuple
        tanh of the Gaussian's sample [..., A], and its log-probability [...], or of each entry [..., A].
    """
    mean, log_std = output.chunk(2, dim=-1)
    log_std = log_std.clamp(low, high)
    before = mean + log_std.exp() * noise
    # log(1 − tanh²u) = 2 (log 2 − u − softplus(−2u)), which does not underflow.
    slope = 2 * (math.log(2) - before - functional.softplus(-2 * before))
    density = -0.5 * noise.square() - log_std - HALF_LOG_TWO_PI - slope
    return torch.tanh(before), density if by_entry else density.sum(-1)
