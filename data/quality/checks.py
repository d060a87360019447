"""Validation of prices. Every finding has its row, symbol and date; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from data.calendars import resolve_calendar
from data.errors import check_choices
from data.prices import Prices
from data.quality.adjustment import check_adjustments
from data.quality.findings import ALLOWABLE, Finding, Report
from data.quality.jumps import STALE_SESSIONS, check_jumps, check_stale
from data.quality.raw_table import RawTable, raw_table
from data.quality.sessions import check_sessions

if TYPE_CHECKING:
    import pandera.pandas as pandera

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
        Kinds of errors to accept; see `data.quality.findings.ALLOWABLE`.

    Raises
    ------
    DataError
        If an error cannot be accepted, or the calendar is unknown.
    """
    allowed = check_choices(allow, ALLOWABLE, "--allow")
    findings = list(table.findings)
    findings += _missing_symbols(table)
    findings += _zones(table)
    findings += _currencies(table)
    findings += _order(table)
    findings += _values(table)
    findings += _missing_values(table)
    dates = pd.DatetimeIndex(np.unique(table.frame["date"].dropna().to_numpy()))
    code = resolve_calendar(calendar, dates) if len(dates) else None
    findings += check_sessions(table, code, automatic=calendar == "auto")
    findings += check_jumps(table)
    findings += check_adjustments(table)
    findings += check_stale(table, stale_sessions)
    return Report(tuple(findings), code, allowed)


def value_schema(fields: Iterable[str]) -> pandera.DataFrameSchema:
    """Return the pandera schema of the values of a long table with these fields.

    Each check has the name of its kind of finding.
    """
    import pandera.pandas as pandera

    present = list(fields)
    columns: dict[str, Any] = {}
    for name in present:
        may_be_zero = name in ("volume", "dividends")
        columns[name] = pandera.Column(
            float,
            nullable=True,
            checks=[
                pandera.Check(np.isfinite, error="non-finite"),
                pandera.Check(_at_least_zero if may_be_zero else _above_zero, error="non-positive"),
            ],
        )
    checks = [pandera.Check(_first_of_its_date, error="duplicate")]
    if {"high", "low"} <= set(present):
        checks.append(pandera.Check(_high_not_below_low, error="high-below-low"))
        checks.append(pandera.Check(_within_range, error="outside-range"))
    return pandera.DataFrameSchema(columns, checks=checks)


def _at_least_zero(values: pd.Series) -> pd.Series:
    return values >= 0


def _above_zero(values: pd.Series) -> pd.Series:
    return values > 0


def _first_of_its_date(frame: pd.DataFrame) -> pd.Series:
    return ~(frame.duplicated(["symbol", "date"], keep="first") & frame["date"].notna())


def _high_not_below_low(frame: pd.DataFrame) -> pd.Series:
    return ~(frame["high"] < frame["low"])


def _within_range(frame: pd.DataFrame) -> pd.Series:
    inside = pd.Series(True, index=frame.index)
    top, bottom = frame["high"] * (1 + _RANGE_TOLERANCE), frame["low"] * (1 - _RANGE_TOLERANCE)
    for name in ("open", "close"):
        if name in frame.columns:
            # Zero, negative and infinite prices, and a high below the low, have findings of their own.
            usable = (frame[name] > 0) & np.isfinite(frame[name])
            inside &= ~(((frame[name] > top) | (frame[name] < bottom)) & usable)
    return inside | (frame["high"] < frame["low"])


def _values(table: RawTable) -> Iterator[Finding]:
    import pandera.pandas as pandera

    try:
        value_schema(table.fields).validate(table.frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases.drop_duplicates(["check", "index", "schema_context"])
        by_column = error.failure_cases.drop_duplicates(["check", "index", "column"])
        cases = pd.concat(
            [
                by_column[by_column["schema_context"] == "Column"],
                cases[cases["schema_context"] == "DataFrameSchema"],
            ]
        )
        for kind in ("duplicate", "non-finite", "non-positive", "high-below-low", "outside-range"):
            for row, column in cases.loc[cases["check"] == kind, ["index", "column"]].itertuples(index=False):
                yield table.finding(kind, int(row), _describe(table, kind, int(row), str(column)))


def _describe(table: RawTable, kind: str, row: int, column: str) -> str:
    values = table.frame.iloc[row]
    if kind == "duplicate":
        same = (table.frame["symbol"] == values["symbol"]) & (table.frame["date"] == values["date"])
        first = int(np.flatnonzero(same.to_numpy())[0])
        place = table.place(first)
        return f"a second row for this date{f' (the first is {place})' if place else ''}"
    if kind in ("non-finite", "non-positive"):
        return f"{column} is {values[column]:g}"
    shown = {name: values[name] for name in ("open", "high", "low", "close") if name in table.frame.columns}
    if kind == "high-below-low":
        return f"high {shown['high']:g} is below low {shown['low']:g}"
    listed = ", ".join(f"{name} {value:g}" for name, value in shown.items() if not np.isnan(value))
    return f"open or close is outside high and low ({listed})"


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


def is_newest_first(table: RawTable) -> bool:
    """Return True if the rows of every symbol run strictly backwards in time, as in some exports."""
    frame = table.frame
    if frame["date"].isna().any() or frame["symbol"].nunique() == len(frame):
        return False
    steps = frame.groupby("symbol", sort=False)["date"].diff().dropna()
    return bool((steps < pd.Timedelta(0)).all())


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
