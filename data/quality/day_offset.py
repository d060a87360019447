"""Dates a day off: time stamps in UTC, or in the zone of a computer, of an exchange far from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

# In the order in which they are tried; the first of equals is taken.
_ZONES = (
    "Asia/Tokyo",
    "Asia/Hong_Kong",
    "Australia/Sydney",
    "Asia/Kolkata",
    "Asia/Bangkok",
    "Pacific/Auckland",
    "Europe/Athens",
    "Europe/Berlin",
    "Europe/London",
    "America/New_York",
)
_LEAST_DATES = 8
# Shares of a weekday: of five days each has 0.2.
_NONE, _SOME = 0.02, 0.1
_SATURDAY, _SUNDAY = 5, 6


def check_day_offset(table: RawTable) -> Iterator[Finding]:
    """Yield a finding if symbols trade on Sundays and not on Fridays, or on Saturdays and not on Mondays."""
    frame = table.frame
    dated = np.flatnonzero(frame["date"].notna().to_numpy())
    days = pd.DatetimeIndex(frame["date"].to_numpy()[dated]).day_of_week.to_numpy()
    if not (days >= _SATURDAY).any():
        return
    codes = table.codes[dated]
    counts = np.bincount(codes * 7 + days, minlength=7 * (codes.max() + 1)).reshape(-1, 7)
    share = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    often, never = share > _SOME, share < _NONE
    early = often[:, [6, 0, 1, 2, 3]].all(axis=1) & never[:, [4, 5]].all(axis=1)
    late = often[:, [1, 2, 3, 4, 5]].all(axis=1) & never[:, [6, 0]].all(axis=1)
    shifted = (early | late) & (counts.sum(axis=1) >= _LEAST_DATES)
    if not shifted.any():
        return
    rows = dated[shifted[codes]]
    is_early = bool(early[shifted][0])
    day = _SUNDAY if is_early else _SATURDAY
    row = int(rows[np.argmax(pd.DatetimeIndex(frame["date"].to_numpy()[rows]).day_of_week == day)])
    found = "Sundays and none on Fridays" if is_early else "Saturdays and none on Mondays"
    way = "early" if is_early else "late"
    message = f"sessions on {found}: the dates may be a day {way}, by the clock of another time zone"
    zone = _zone_of(table, rows)
    if zone is None:
        message += f"; if the exchange does trade on {found.split()[0]}, --allow shifted-dates"
        yield table.finding("shifted-dates", row, message)
        return
    finding = table.finding("shifted-dates", row, message)
    yield Finding(finding.kind, message, finding.symbol, finding.date, finding.place, (("--zone", zone),))


def _zone_of(table: RawTable, rows: np.ndarray) -> str | None:
    """Return the time zone in which the rows are dated Monday to Friday, at the fewest times of day."""
    frame = table.frame.iloc[rows]
    times = frame["time"].to_numpy(dtype=float)
    offsets = np.nan_to_num(frame["offset"].to_numpy(dtype=float))
    if np.isnan(times).any():
        return None
    minutes = ((times - offsets) * 60e9).astype("timedelta64[ns]")
    stamps = pd.DatetimeIndex(np.unique(frame["date"].to_numpy() + minutes), tz="UTC")
    best, fewest = None, np.inf
    for zone in _ZONES:
        local = stamps.tz_convert(zone)
        if np.mean(np.asarray(local.day_of_week) >= _SATURDAY) > _NONE:
            continue
        # Daily stamps stand at one time of day, mostly at midnight.
        clocks = len(np.unique(local.hour * 60 + local.minute)) - 0.5 * bool(
            (local == local.normalize()).all()
        )
        if clocks < fewest:
            best, fewest = zone, clocks
    return best
