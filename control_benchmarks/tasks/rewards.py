"""The suite's reward tolerances on batches (Tassa et al. 2018, "DeepMind Control Suite", section 2)."""

from __future__ import annotations

import math

import numpy as np

from control_benchmarks.tasks.base import Array


def tolerance(
    x: Array,
    *,
    low: float = 0.0,
    high: float = 0.0,
    margin: float = 0.0,
    sigmoid: str = "gaussian",
    value_at_margin: float = 0.1,
) -> Array:
    """Return 1 where x lies within bounds and a value that falls with the distance from them elsewhere.

    Parameters
    ----------
    x
        Values, of any shape.
    low, high
        Inclusive bounds.
    margin
        Distance from the bounds at which the value is `value_at_margin`; 0 makes it 0 outside at once.
    sigmoid
        ``"gaussian"``, ``"linear"`` or ``"quadratic"``: the shape of the fall.
    value_at_margin
        Value at `margin`.

    Returns
    -------
    Array
        Values within [0, 1], of the shape of `x`.
    """
    inside = (low <= x) & (x <= high)
    if margin == 0:
        return np.where(inside, 1.0, 0.0)
    distance = np.where(x < low, low - x, x - high) / margin
    if sigmoid == "gaussian":
        scale = math.sqrt(-2 * math.log(value_at_margin))
        outside = np.exp(-0.5 * (distance * scale) ** 2)
    else:
        scaled = distance * (1 - value_at_margin if sigmoid == "linear" else math.sqrt(1 - value_at_margin))
        outside = np.where(np.abs(scaled) < 1, 1 - (scaled if sigmoid == "linear" else scaled**2), 0.0)
    return np.where(inside, 1.0, outside)
