"""Dates of which a spreadsheet exchanged day and month: those that it could read in its own order, up to day 12."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

_LEAST_DATES = 8
# Shares of weekend days of exchanges that close on weekends (with a few special sessions) and of markets that do not.
_CLOSED_WEEKENDS, _OPEN_WEEKENDS = 0.02, 0.2
# Least share of weekdays with a session, and the longest closure in days.
_COVERAGE, _LONGEST_CLOSURE = 0.85, 12


def exchanged(dates: np.ndarray) -> np.ndarray:
    """Return dates with day and month exchanged where the day is at most 12 [rows]."""
    index = pd.DatetimeIndex(dates)
    swap = np.asarray(index.day <= 12)
    parts = pd.DataFrame({"year": index.year, "month": index.day, "day": index.month})[swap]
    result = dates.copy()
    result[swap] = pd.to_datetime(parts).to_numpy()
    return result


def are_exchanged(table: RawTable) -> bool:
    """Return True if the dates are a regular calendar only once day and month are exchanged up to day 12."""
    dates, codes = _dated(table)
    if len(dates) == 0 or is_as_written(table):
        return False
    swapped = exchanged(dates)
    if np.array_equal(swapped, dates) or not _is_regular(swapped):
        return False
    if _is_sorted(swapped, codes) and not _is_sorted(dates, codes):
        return True
    # The first days of twelve months look like twelve days of one month: a later day is needed as evidence.
    return not _is_regular(dates) and bool((pd.DatetimeIndex(dates).day > 12).any())


def is_as_written(table: RawTable) -> bool:
    """Return True if the dates are a regular calendar in order."""
    dates, codes = _dated(table)
    return _is_regular(dates) and _is_sorted(dates, codes)


def exchanged_finding(table: RawTable) -> Finding:
    """Return the finding of a table whose dates are exchanged."""
    dates, _ = _dated(table)
    swapped = exchanged(dates)
    row = int(np.argmax(swapped != dates))
    days = np.datetime_as_string([dates[row], swapped[row], swapped.min(), swapped.max()], unit="D")
    message = (
        f"day and month are exchanged in dates up to day 12: {days[0]} stands for {days[1]}; put right, the dates are "
        f"a regular calendar from {days[2]} to {days[3]}"
    )
    return Finding("exchanged-dates", message, place=table.place(row))


def _dated(table: RawTable) -> tuple[np.ndarray, np.ndarray]:
    dates = table.frame["date"].to_numpy()
    known = ~np.isnat(dates)
    return dates[known], table.codes[known]


def _is_sorted(dates: np.ndarray, codes: np.ndarray) -> bool:
    """Return True if the dates of every symbol go one way, up or down."""
    order = np.argsort(codes, kind="stable")
    steps = np.diff(dates[order]).astype("int64")[np.diff(codes[order]) == 0]
    return bool((steps >= 0).all() or (steps <= 0).all())


def _is_regular(dates: np.ndarray) -> bool:
    """Return True if the dates are those of a market, daily or slower, without long holes."""
    days = pd.DatetimeIndex(np.sort(pd.unique(dates)))
    if len(days) < _LEAST_DATES:
        return False
    gaps = np.diff(days.to_numpy()) / np.timedelta64(1, "D")
    typical = float(np.median(gaps))
    if typical > 2:
        return bool((gaps <= 1.5 * typical + 3).all() and (gaps >= 0.5 * typical - 1).all())
    weekend = float(np.mean(days.day_of_week >= 5))
    span = (days[-1] - days[0]).days + 1
    if weekend <= _CLOSED_WEEKENDS:
        span = int(np.busday_count(days[0].date(), days[-1].date())) + 1
    elif weekend < _OPEN_WEEKENDS:
        return False
    return len(days) >= _COVERAGE * span and float(gaps.max()) <= _LONGEST_CLOSURE
