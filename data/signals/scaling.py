"""Scaling of aligned signals by their own past, so that they can be features beside those of prices."""

from __future__ import annotations

import numpy as np

from data.rolling import rolling_sum
from data.signals.values import LONGEST_CARRY, LONGEST_LAG

#: Sessions, the current one included, that a value is compared with.
SCALE_WINDOW = 126
#: Sessions with values that the window must have; until then a signal is neutral.
LEAST_SESSIONS = 21
#: Sessions of prices on which a scaled signal depends: its window, and the stamps that are carried into it.
SIGNAL_HISTORY = SCALE_WINDOW + LONGEST_LAG + LONGEST_CARRY


def scaled(values: np.ndarray, parity: int) -> np.ndarray:
    """Return one signal in multiples of its usual size [T, N]; 0 (neutral) where it is missing.

    An odd signal is divided by its root mean square over all assets and the last `SCALE_WINDOW` sessions, not centred,
    so that it stays odd. An even one has the mean over them subtracted and is divided by their standard deviation. The
    order of the assets changes nothing.

    Parameters
    ----------
    values
        float64 [T, N], NaN where missing.
    parity
        −1 or +1.
    """
    known = np.isfinite(values)
    count = _trailing(known.sum(axis=1).astype(np.float64))
    enough = _trailing(known.any(axis=1).astype(np.float64)) >= LEAST_SESSIONS
    filled = np.where(known, values, 0.0)
    size = np.maximum(count, 1.0)
    centre = np.zeros(len(values)) if parity < 0 else _trailing(_total(filled)) / size
    square = np.empty(len(values))
    for day in range(len(values)):
        # Around the mean of the day's own window, so that large levels leave no rounding error.
        part = slice(max(0, day - SCALE_WINDOW + 1), day + 1)
        apart = np.where(known[part], filled[part] - centre[day], 0.0)
        square[day] = np.sort(apart**2, axis=None).sum() / size[day]
    spread = np.sqrt(square)
    # A constant has no usual size: it stays neutral, whatever rounding leaves of it.
    usable = known & (enough & (spread > 1e-9 * np.abs(centre)))[:, None]
    found = np.zeros_like(filled)
    np.divide(filled - centre[:, None], spread[:, None], out=found, where=usable)
    return found


def _total(values: np.ndarray) -> np.ndarray:
    # Sorted before summing: the sum of the same numbers in another order may differ in its last bit.
    return np.asarray(np.sort(values, axis=1).sum(axis=1))


def _trailing(values: np.ndarray) -> np.ndarray:
    """Return the sum of the last `SCALE_WINDOW` rows, or of all rows so far where there are fewer [T]."""
    padded = np.concatenate([np.zeros(SCALE_WINDOW - 1), values])
    return rolling_sum(padded, SCALE_WINDOW)[SCALE_WINDOW - 1 :]
