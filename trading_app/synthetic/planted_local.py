"""Best feedback of the planted market where drift is earned in part of the states only, computed on a grid.

Positions stay linear in the previous position, x = b x_previous + A(f), since the reward is quadratic in positions
whatever the expected return m(f) is. A solves

    A(f) = (m(f) + γ E[λ A(f′) | f]) / c,      c the curvature and b = λ / c of `planted_problem.optimum`,

one linear system for each asset.

Axes: N assets, G grid points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]

REACH = 6.0
"""Signals on the grid, in standard deviations."""
POINTS = 601


@dataclass(frozen=True)
class LocalFeedback:
    """The part of the best feedback that is not linear in the signal, and the moments of the whole.

    `table` is A(f) less its linear part, at evenly spaced signals from −6 to 6 [N, G]. `mean` and `deviation` are
    those of each asset's stationary position [N], `reward` is the average a period, summed over assets.
    """

    table: Array
    mean: Array
    deviation: Array
    reward: float

    def __call__(self, signal: Tensor) -> Tensor:
        """Return what is added to the linear feedback for signals [..., N], interpolated linearly."""
        table = torch.as_tensor(self.table).to(signal)
        place = ((signal + REACH) * ((POINTS - 1) / (2 * REACH))).clamp(0.0, POINTS - 1.001)
        low = place.floor().long()
        assets = torch.arange(table.shape[0], device=signal.device).expand_as(low)
        return torch.lerp(table[assets, low], table[assets, low + 1], place - low)


def local_feedback(
    beta: Array,
    drift: Array,
    cost: Array,
    curvature: Array,
    applies: Callable[[Any], Any],
    *,
    risk: float,
    persistence: float,
    discount: float,
    signal: Array,
) -> LocalFeedback:
    """Solve for the best feedback of each asset, with coefficients and curvature [N], γ_r, φ and γ.

    `applies` returns whether drift is earned at signals [G]; `signal` is the linear part of A, left out of the table
    [N].
    """
    f = np.linspace(-REACH, REACH, POINTS)
    density = np.exp(-(f**2) / 2)
    density /= density.sum()
    step = np.exp(-((f[None, :] - persistence * f[:, None]) ** 2) / (2 * (1 - persistence**2)))
    step /= step.sum(1, keepdims=True)
    earned = np.asarray(applies(f), dtype=np.float64)
    unit = np.eye(POINTS)
    rows = []
    for b_i, d_i, l_i, c_i in zip(beta, drift, cost, curvature, strict=True):
        m = b_i * f + d_i * earned
        a = np.linalg.solve(unit - discount * l_i / c_i * step, m) / c_i
        b = l_i / c_i
        mean = density @ a / (1 - b)
        ahead = np.linalg.solve(unit - b * step, np.stack([a, m], axis=1))  # Σ_k bᵏ E[·(f_{t+k}) | f_t]
        squared = (density @ a**2 + 2 * b * density @ (a * (step @ ahead[:, 0]))) / (1 - b**2)
        product = density @ (a * ahead[:, 1])  # E[x m(f)]
        lagged = b * squared + density @ (a * (step @ ahead[:, 0]))  # E[x x_previous]
        reward = product - 0.5 * risk * squared - l_i * (squared - lagged)
        rows.append((a, mean, np.sqrt(squared - mean**2), reward))
    tables, means, deviations, rewards = zip(*rows, strict=True)
    return LocalFeedback(
        np.stack(tables) - signal[:, None] * f,
        np.array(means),
        np.array(deviations),
        float(np.sum(rewards)),
    )
