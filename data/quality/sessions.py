"""Check of trading days: sessions without a row, and rows on days on which the exchange was closed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from data.calendars import sessions_of
from data.quality.findings import Finding
from data.quality.raw_table import RawTable


def check_sessions(table: RawTable, calendar: str | None, *, automatic: bool) -> Iterator[Finding]:
    """Yield missing sessions and rows on closed days; without a calendar, gaps relative to the other symbols.

    Sessions on which no symbol has a row are findings without a symbol. Gaps between the first and last row of a
    symbol are findings of that symbol. Consecutive sessions are one finding.
    """
    frame = table.frame[table.frame["date"].notna()]
    if frame.empty:
        return
    dates = table.dates
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
    codes, symbols = pd.factorize(frame["symbol"])
    present = np.zeros((len(symbols), len(dates)), dtype=bool)
    present[codes, dates.get_indexer(pd.DatetimeIndex(frame["date"]))] = True
    owner, at = np.nonzero(present)
    for before in np.flatnonzero((np.diff(at) > 1) & (np.diff(owner) == 0)).tolist():
        missing = dates[at[before] + 1 : at[before + 1]]
        yield _gap(str(symbols[owner[before]]), missing, "no row, other symbols have one")


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


def _gap(symbol: str | None, missing: pd.DatetimeIndex, reason: str) -> Finding:
    first, last = str(missing[0].date()), str(missing[-1].date())
    span = reason if len(missing) == 1 else f"{reason}, for {len(missing)} sessions until {last}"
    return Finding("missing-session", span, symbol=symbol, date=first)
