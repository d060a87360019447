"""Frequency of a price series: how many of its sessions make a year."""

from __future__ import annotations

import numpy as np
import pandas as pd

# Median days between sessions, from which on a series is weekly, monthly, quarterly or yearly.
_SLOWER = ((250.0, 1), (70.0, 4), (20.0, 12), (5.0, 52))
# Share of sessions on Saturdays and Sundays from which on a market trades every day; two of seven days are 0.29.
_EVERY_DAY = 0.14


def periods_per_year(dates: pd.DatetimeIndex) -> int:
    """Return the number of sessions that make a year: 365, 252 (of fewer than three sessions too), 52, 12, 4 or 1."""
    if len(dates) < 3:
        return 252
    days = np.diff(dates.to_numpy()).astype("timedelta64[h]").astype(float) / 24.0
    typical = float(np.median(days))
    for least, periods in _SLOWER:
        if typical >= least:
            return periods
    weekend = float((np.asarray(dates.day_of_week) >= 5).mean())
    return 365 if weekend >= _EVERY_DAY else 252
