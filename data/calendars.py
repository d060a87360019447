"""Which exchange's sessions a set of dates follows, and which sessions are missing."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.quality.findings import Finding
from data.quality.raw_table import RawTable

_CANDIDATES = (
    *("XNYS", "XLON", "XETR", "XPAR", "XSWX", "XTKS", "XHKG", "XTSE", "XASX", "XBOM", "XSHG", "BVMF"),
    "24/7",
)
# The score of a perfect guess with a few odd days; below the second the dates follow no exchange known here.
_CLEAR, _PLAUSIBLE = 0.995, 0.9


def sessions_of(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Sessions of an exchange from `start` to `end`, both included.

    Raises
    ------
    DataError
        If exchange_calendars knows no such calendar, or not for these dates.
    """
    # Whole years, so that checks of one range after another build a calendar once.
    sessions = _sessions_of_years(calendar, start.year, end.year)
    return sessions[(sessions >= start) & (sessions <= end)]


@functools.lru_cache(maxsize=32)
def _sessions_of_years(calendar: str, first: int, last: int) -> pd.DatetimeIndex:
    import exchange_calendars

    if calendar not in exchange_calendars.get_calendar_names():
        raise DataError(f"no exchange calendar '{calendar}' (for example {', '.join(_CANDIDATES)})")
    try:
        built = exchange_calendars.get_calendar(calendar, start=f"{first}-01-01", end=f"{last}-12-31")
    except ValueError as error:
        raise DataError(f"calendar {calendar}: {' '.join(str(error).split())}") from error
    return pd.DatetimeIndex(built.sessions.to_numpy().astype("datetime64[ns]"))


def detect_calendar(dates: pd.DatetimeIndex) -> str | None:
    """Return the exchange whose sessions the dates match best, or None if they match none well."""
    best, best_score = None, _PLAUSIBLE
    for calendar in _CANDIDATES:
        try:
            sessions = sessions_of(calendar, dates[0], dates[-1])
        except DataError:
            continue
        common = len(sessions.intersection(dates))
        score = 2 * common / (len(sessions) + len(dates))
        if score > best_score:
            best, best_score = calendar, score
        if score >= _CLEAR:
            break
    return best


def resolve_calendar(calendar: str, dates: pd.DatetimeIndex) -> str | None:
    """Turn ``auto``, ``none`` or a code into the calendar to check against (None for no check)."""
    if calendar == "none":
        return None
    return detect_calendar(dates) if calendar == "auto" else calendar


def check_sessions(table: RawTable, calendar: str | None, *, automatic: bool) -> Iterator[Finding]:
    """Yield missing sessions and rows on closed days; without a calendar, gaps against the other symbols.

    Sessions on which no symbol has a row are one finding without symbol; for each symbol, gaps between its
    first and last row are findings of their own. Consecutive sessions are one finding.
    """
    frame = table.frame[table.frame["date"].notna()]
    if frame.empty:
        return
    dates = pd.DatetimeIndex(np.unique(frame["date"].to_numpy()))
    if calendar is None and automatic:
        yield Finding(
            "no-calendar",
            f"the {len(dates)} dates from {dates[0].date()} to {dates[-1].date()} fit no exchange known "
            "here: sessions were not checked (name one with --calendar)",
        )
    if calendar is not None:
        sessions = sessions_of(calendar, dates[0], dates[-1])
        absent = np.flatnonzero(~sessions.isin(dates))
        for first, last in _runs(absent):
            yield _gap(None, sessions[first : last + 1], f"no symbol has a row, {calendar} was open")
        yield from _closed_days(table, frame, dates, sessions, calendar)
    position = pd.Series(np.arange(len(dates)), index=dates)
    for symbol, rows in frame.groupby("symbol", sort=False)["date"]:
        own = np.unique(position[rows.to_numpy()].to_numpy())
        for before in np.flatnonzero(np.diff(own) > 1):
            missing = dates[own[before] + 1 : own[before + 1]]
            yield _gap(str(symbol), missing, "no row, other symbols have one")


def _closed_days(
    table: RawTable, frame: pd.DataFrame, dates: pd.DatetimeIndex, sessions: pd.DatetimeIndex, calendar: str
) -> Iterator[Finding]:
    closed = dates[~dates.isin(sessions)]
    if len(closed) == 0:
        return
    first_rows = (
        frame[frame["date"].isin(closed)]
        .groupby("date")
        .agg(row=("symbol", lambda column: column.index[0]), count=("symbol", "size"))
    )
    for date, row, count in first_rows.itertuples():
        others = f" ({count} rows)" if count > 1 else ""
        message = f"{calendar} was closed on this {date.day_name()}{others}"
        yield Finding("not-a-session", message, date=str(date.date()), place=table.place(int(row)))


def _runs(positions: np.ndarray) -> Iterator[tuple[int, int]]:
    if len(positions):
        breaks = np.flatnonzero(np.diff(positions) > 1)
        starts = positions[np.r_[0, breaks + 1]]
        ends = positions[np.r_[breaks, len(positions) - 1]]
        yield from zip(starts.tolist(), ends.tolist(), strict=True)


def _gap(symbol: str | None, missing: Any, reason: str) -> Finding:
    first, last = str(missing[0].date()), str(missing[-1].date())
    span = reason if len(missing) == 1 else f"{reason}, for {len(missing)} sessions until {last}"
    return Finding("missing-session", span, symbol=symbol, date=first)
