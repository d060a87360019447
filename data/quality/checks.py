"""Validation of prices. Every finding has its row, symbol and date; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from data.calendars import resolve_calendar
from data.errors import check_choices
from data.prices import Prices
from data.quality.adjustment import check_adjustments
from data.quality.bars import check_intraday, duplicates
from data.quality.day_month import are_exchanged, exchanged_finding, is_as_written
from data.quality.day_offset import check_day_offset
from data.quality.findings import ALLOWABLE, Finding, Report
from data.quality.jumps import STALE_SESSIONS, check_jumps, check_stale
from data.quality.meaning import check_meaning
from data.quality.raw_table import RawTable, raw_table
from data.quality.sessions import check_sessions

# Rounding to two decimals is 1e-4 of a price of 50: a smaller excess over high or low is rounding.
_RANGE_TOLERANCE = 1e-4


def validate(prices: Prices, *, calendar: str = "auto", stale_sessions: int = STALE_SESSIONS) -> Report:
    """Check a panel: sessions, ranges, suspected splits, stale runs.

    Parameters
    ----------
    prices
        A panel. It cannot have zero prices or duplicates, so these are not searched for.
    calendar
        A code of exchange_calendars, ``auto`` for the best match, ``none`` for no check of sessions.
    stale_sessions
        Shortest run of equal closes that is reported.
    """
    report = check_table(raw_table(prices), calendar=calendar, stale_sessions=stale_sessions)
    return replace(report, notes=prices.notes)


def check_table(
    table: RawTable,
    *,
    calendar: str = "auto",
    allow: Iterable[str] = (),
    stale_sessions: int = STALE_SESSIONS,
) -> Report:
    """Check the rows of a source.

    Parameters
    ----------
    table
        The rows.
    calendar, stale_sessions
        As in `validate`.
    allow
        Kinds of findings to accept; see `data.quality.findings.ALLOWABLE`.

    Raises
    ------
    DataError
        If an error cannot be accepted, or the calendar is unknown.
    """
    allowed = check_choices(allow, ALLOWABLE, "--allow")
    findings = _of_reader(table)
    findings += _missing_symbols(table)
    findings += _zones(table)
    findings += _currencies(table)
    meaning = list(check_meaning(table))
    findings += meaning
    doubtful = _doubtful(table, meaning, allowed)
    findings += [
        item for item in _values(table) if item.kind != "non-positive" or item.symbol not in doubtful
    ]
    findings += _missing_values(table)
    if are_exchanged(table):
        # With wrong dates, order, sessions and moves mean nothing.
        return Report((exchanged_finding(table), *findings), None, allowed)
    findings += _order(table)
    findings += check_day_offset(table)
    code = resolve_calendar(calendar, table.dates) if len(table.dates) else None
    findings += check_sessions(table, code, automatic=calendar == "auto")
    intraday = list(check_intraday(table))
    findings += intraday
    if doubtful:
        table = table.keep(~table.frame["symbol"].isin(doubtful).to_numpy(dtype=bool))
    if not intraday:
        findings += check_jumps(table)
        findings += check_adjustments(table)
        findings += check_stale(table, stale_sessions)
    return Report(tuple(findings), code, allowed)


def _values(table: RawTable) -> Iterator[Finding]:
    frame = table.frame
    repeated = np.flatnonzero(duplicates(frame)).tolist()
    first = _first_rows(table) if repeated else np.array([])
    for row in repeated:
        place = table.place(int(first[row]))
        message = f"a second row for this date{f' (the first is {place})' if place else ''}"
        yield table.finding("duplicate", row, f"{message}, {_differences(table, row, int(first[row]))}")
    for kind in ("non-finite", "non-positive"):
        for name in table.fields:
            values = frame[name].to_numpy(dtype=float)
            wrong = np.isinf(values) if kind == "non-finite" else below_range(name, values)
            for row in np.flatnonzero(wrong).tolist():
                yield table.finding(kind, row, f"{name} is {values[row]:g}")
    if {"high", "low"} <= set(table.fields):
        crossed = (frame["high"] < frame["low"]).to_numpy()
        for row in np.flatnonzero(crossed).tolist():
            message = f"high {frame['high'].iat[row]:g} is below low {frame['low'].iat[row]:g}"
            yield table.finding("high-below-low", row, message)
        bars = frame[[name for name in ("open", "high", "low", "close") if name in frame]]
        for row in np.flatnonzero(_outside_range(frame) & ~crossed).tolist():
            listed = ", ".join(f"{name} {value:g}" for name, value in bars.iloc[row].dropna().items())
            yield table.finding("outside-range", row, f"open or close is outside high and low ({listed})")


def below_range(field: str, values: np.ndarray) -> np.ndarray:
    """Return True where a value is negative, or zero in a field that is never zero."""
    below: np.ndarray = values < 0 if field in ("volume", "dividends") else values <= 0
    return below


def _outside_range(frame: pd.DataFrame) -> np.ndarray:
    outside = np.zeros(len(frame), dtype=bool)
    top, bottom = frame["high"] * (1 + _RANGE_TOLERANCE), frame["low"] * (1 - _RANGE_TOLERANCE)
    for name in ("open", "close"):
        if name in frame.columns:
            # Zero, negative and infinite prices have findings of their own.
            usable = (frame[name] > 0) & np.isfinite(frame[name])
            outside |= (((frame[name] > top) | (frame[name] < bottom)) & usable).to_numpy()
    return outside


def _differences(table: RawTable, row: int, first: int) -> str:
    """Return the values in which a row differs from the first one of its date."""
    new, old = table.frame[table.fields].iloc[[row, first]].to_numpy(dtype=float)
    differs = np.flatnonzero(~((new == old) | (np.isnan(new) & np.isnan(old))))
    other = [f"{table.fields[at]} {new[at]:g} and not {old[at]:g}" for at in differs.tolist()]
    return f"with {', '.join(other)}" if other else "with the same values"


def _first_rows(table: RawTable) -> np.ndarray:
    """Return the first row with the same symbol and time, or else with the same symbol and date [rows]."""
    rows = pd.Series(np.arange(len(table.frame)))
    same_time = rows.groupby([table.codes, table.moments]).transform("min")
    same_date = rows.groupby([table.codes, table.frame["date"].to_numpy()]).transform("min")
    return same_time.where(same_time < rows, same_date).to_numpy()


def _of_reader(table: RawTable) -> list[Finding]:
    """Return the findings of the reader, less two formats of dates that are a regular calendar as they stand."""
    settled = is_as_written(table) or are_exchanged(table)
    return [item for item in table.findings if item.kind != "mixed-date-formats" or not settled]


def _doubtful(table: RawTable, meaning: Iterable[Finding], allowed: Iterable[str]) -> set[str]:
    """Return the symbols whose closes are no prices: their signs and moves mean nothing."""
    found = [item for item in meaning if item.kind not in allowed]
    if any(item.kind in ("returns", "relatives", "weights") for item in found):
        return set(table.frame["symbol"].unique())
    return {str(item.symbol) for item in found}


def _missing_symbols(table: RawTable) -> Iterator[Finding]:
    for row in np.flatnonzero((table.frame["symbol"] == "").to_numpy()):
        yield table.finding("missing-symbol", int(row), "the row has no symbol")


def _missing_values(table: RawTable) -> Iterator[Finding]:
    # Most days have no split and no dividend: an empty cell is not a gap.
    fields = [name for name in table.fields if name not in ("dividends", "splits")]
    empty = table.frame[fields].isna().to_numpy() & ~table.frame[["unreadable"]].to_numpy()
    for row in np.flatnonzero(empty.any(axis=1)):
        lacking = [name for name, gone in zip(fields, empty[row], strict=True) if gone]
        yield table.finding("missing-value", int(row), f"no {', '.join(lacking)}")


def _order(table: RawTable) -> Iterator[Finding]:
    dates = table.frame["date"].to_numpy()
    known = table.frame[table.frame["date"].notna()]
    for rows in known.groupby("symbol", sort=False).indices.values():
        where = known.index.to_numpy()[rows]
        for position in np.flatnonzero(np.diff(dates[where]) < np.timedelta64(0)):
            before = np.datetime_as_string(dates[where[position]], unit="D")
            row = int(where[position + 1])
            yield table.finding("unsorted", row, f"comes after {before}: dates are not sorted")


def oldest_first(table: RawTable) -> RawTable:
    """Return the table reversed if the rows of every symbol run strictly backwards in time, as in some exports."""
    frame = table.frame
    if frame["date"].isna().any() or frame["symbol"].nunique() == len(frame):
        return table
    steps = pd.Series(table.moments).groupby(table.codes).diff().dropna()
    if not (steps < pd.Timedelta(0)).all():
        return table
    return replace(table, frame=frame.iloc[::-1].reset_index(drop=True))


def _zones(table: RawTable) -> Iterator[Finding]:
    offsets = table.frame["offset"].to_numpy(dtype=float)
    known = offsets[~np.isnan(offsets)]
    if len(known) == 0:
        return
    if len(known) < len(offsets):
        zoned = not np.isnan(offsets[0])
        row = int(np.flatnonzero(np.isnan(offsets) == zoned)[0])
        word = (
            "without a time zone, the first row has one" if zoned else "with a time zone, the first has none"
        )
        yield table.finding("mixed-time-zones", row, f"a time stamp {word}")
        return
    # One zone has at most two offsets, an hour apart, and one at a time; otherwise there are several zones.
    spread = np.ptp(offsets)
    by_date = pd.Series(offsets).groupby(table.frame["date"].to_numpy())
    several = by_date.transform("nunique").to_numpy() > 1
    if len(np.unique(known)) > 2 or spread > 60 or several.any():
        differs = offsets != offsets[0]
        far = np.abs(offsets - offsets[0]) > 60
        chosen = far if far.any() else (several & differs if (several & differs).any() else differs)
        row = int(np.flatnonzero(chosen)[0])
        message = f"UTC{_offset_text(offsets[row])}, the first row is UTC{_offset_text(offsets[0])}"
        yield table.finding("mixed-time-zones", row, message)


def _offset_text(minutes: float) -> str:
    sign = "+" if minutes >= 0 else "-"
    return f"{sign}{int(abs(minutes)) // 60:02d}:{int(abs(minutes)) % 60:02d}"


def _currencies(table: RawTable) -> Iterator[Finding]:
    currency = table.frame["currency"].to_numpy(dtype=object)
    rows = np.flatnonzero(currency != "")
    others = rows[currency[rows] != currency[rows[0]]] if len(rows) else rows
    if len(others):
        row = int(others[0])
        message = f"in {currency[row]}, rows before are in {currency[rows[0]]}"
        yield table.finding("mixed-currency", row, message)
