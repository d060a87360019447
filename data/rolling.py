"""Sums over windows of rows."""

from __future__ import annotations

import numpy as np


def rolling_sum(values: np.ndarray, days: int) -> np.ndarray:
    """Return the sum of the last `days` rows; NaN where one of them is missing or before the first row [T, …].

    Windows are added up from sums of 2^k rows. So a row depends on its own window only, to the last bit: rows
    outside of the window leave no rounding error.
    """
    if days < 1:
        raise ValueError(f"a window has at least one day, not {days}")
    total: np.ndarray | None = None
    block, width, used = values, 1, 0
    while True:
        if days & width:
            part = lagged(block, used)
            total = part if total is None else total + part
            used += width
        if used == days:
            assert total is not None
            return total
        block = block + lagged(block, width)
        width *= 2


def lagged(values: np.ndarray, days: int) -> np.ndarray:
    """Return the values of so many rows before; NaN before the first row [T, …]."""
    if days == 0:
        return values
    shifted = np.full_like(values, np.nan)
    shifted[days:] = values[:-days]
    return shifted
