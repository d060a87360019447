"""Repairs that a user can ask for. Each records its changes, and nothing is repaired without a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from data.calendars import resolve_calendar, sessions_of
from data.errors import DataError, check_choices
from data.quality.adjustment import add_adjusted_closes
from data.quality.bars import aggregate_days, duplicates
from data.quality.checks import below_range
from data.quality.day_month import are_exchanged, exchanged, is_as_written
from data.quality.findings import REPAIRS_BY_KIND
from data.quality.jumps import Jumps, ratio_text
from data.quality.raw_table import RawTable

Result = tuple[RawTable, list[str]]


@dataclass(frozen=True)
class Repair:
    """A repair: its effect in words, and a function from (table, calendar) to the repaired table and its changes."""

    effect: str
    function: Callable[[RawTable, str], Result]


def apply_repairs(
    table: RawTable, names: Iterable[str], *, calendar: str = "auto"
) -> tuple[RawTable, list[dict[str, Any]]]:
    """Apply repairs in the order of `REPAIRS`, whatever the order of `names`.

    Returns the repaired table, and ``{"repair", "count", "changes"}`` of each repair for the manifest.

    Raises `DataError` if a name is not one of `REPAIRS`.
    """
    wanted = set(check_choices(names, REPAIRS, "--repair"))
    records: list[dict[str, Any]] = []
    for name, repair in REPAIRS.items():
        if name in wanted:
            table, changes = repair.function(table, calendar)
            findings = tuple(
                item for item in table.findings if name not in REPAIRS_BY_KIND.get(item.kind, ())
            )
            table = replace(table, findings=findings)
            records.append({"repair": name, "count": len(changes), "changes": changes})
    return table, records


def _drop_bad_rows(table: RawTable, calendar: str) -> Result:
    frame = table.frame
    bad = (frame["date"].isna() | (frame["symbol"] == "") | frame["unreadable"]).to_numpy(dtype=bool)
    if 2 * bad.sum() > len(bad):
        raise DataError(
            f"--repair drop-bad-rows: {bad.sum()} of {len(bad)} rows cannot be read; rather name their columns or "
            "the format of their dates or numbers"
        )
    changes = [f"{_where(table, row)}: row dropped" for row in np.flatnonzero(bad)]
    # Rows with a wrong number of columns never came into the table.
    changes += [f"{item.place}: row dropped" for item in table.findings if item.kind == "truncated-row"]
    return table.keep(~bad), changes


def _local_dates(table: RawTable, calendar: str) -> Result:
    offsets = table.frame["offset"].dropna().unique()
    frame = table.frame.assign(offset=np.nan)
    change = f"{len(offsets)} UTC offsets: every row dated by its own wall clock"
    return replace(table, frame=frame), [change] if len(offsets) else []


def _swap_day_month(table: RawTable, calendar: str) -> Result:
    if is_as_written(table):
        return table, []
    if not are_exchanged(table):
        raise DataError(
            "--repair swap-day-month: exchanging day and month up to day 12 does not make the dates a regular "
            "calendar; write the dates of the file in one format"
        )
    known = table.frame["date"].notna().to_numpy()
    before = table.frame["date"].to_numpy()
    after = before.copy()
    after[known] = exchanged(before[known])
    changes = [
        f"{_where(table, row)}: date → {np.datetime_as_string(after[row], unit='D')}"
        for row in np.flatnonzero(known & (after != before))
    ]
    return replace(table, frame=table.frame.assign(date=after)), changes


def _chain(factors: Callable[[np.ndarray], np.ndarray]) -> Callable[[RawTable, str], Result]:
    def repair(table: RawTable, calendar: str) -> Result:
        if table.price_fields != ["close"]:
            raise DataError(
                f"--repair chain-…: prices are made from closes alone, not from {', '.join(table.price_fields)}"
            )
        frame = table.frame.copy()
        values, dates = frame["close"].to_numpy(dtype=float), frame["date"].to_numpy()
        prices = values.copy()
        changes = []
        for symbol in frame["symbol"].unique():
            rows = np.flatnonzero((frame["symbol"] == symbol).to_numpy())
            ordered = rows[np.argsort(dates[rows], kind="stable")]
            known = ordered[np.isfinite(values[ordered])]
            prices[known] = 100.0 * np.cumprod(factors(values[known]))
            changes.append(f"{symbol}: {len(known)} prices, from 100 before the first one")
        return replace(table, frame=frame.assign(close=prices)), changes

    return repair


def _sort(table: RawTable, calendar: str) -> Result:
    if are_exchanged(table):
        # Sorted by wrong dates, the rows would be spread over the year.
        return table, []
    dates = table.frame["date"].to_numpy()
    order = np.arange(len(dates))
    # Each symbol keeps the places that its rows have: only what is out of order moves.
    for rows in table.frame.groupby("symbol", sort=False).indices.values():
        order[rows] = rows[np.argsort(dates[rows], kind="stable")]
    changes = [f"{_where(table, row)}: row moved" for row in np.sort(order[order != np.arange(len(order))])]
    return replace(table, frame=table.frame.iloc[order].reset_index(drop=True)), changes


def _keep(which: Literal["first", "last"]) -> Callable[[RawTable, str], Result]:
    def repair(table: RawTable, calendar: str) -> Result:
        extra = duplicates(table.frame, which)
        changes = [f"{_where(table, row)}: row dropped" for row in np.flatnonzero(extra)]
        return table.keep(~extra), changes

    return repair


def _blank_bad_values(table: RawTable, calendar: str) -> Result:
    frame = table.frame.copy()
    changes = []
    for field in table.fields:
        values = frame[field].to_numpy(dtype=float)
        bad = below_range(field, values) | np.isinf(values)
        changes += [f"{_where(table, row)}: {field} {values[row]:g} → missing" for row in np.flatnonzero(bad)]
        frame[field] = np.where(bad, np.nan, values)
    return replace(table, frame=frame), changes


def _blank_high_low(table: RawTable, calendar: str) -> Result:
    if not {"high", "low"} <= set(table.fields):
        return table, []
    frame = table.frame.copy()
    bad = (frame["high"] < frame["low"]).to_numpy(dtype=bool)
    high, low = frame["high"].to_numpy(), frame["low"].to_numpy()
    changes = [
        f"{_where(table, row)}: high {high[row]:g} and low {low[row]:g} → missing"
        for row in np.flatnonzero(bad)
    ]
    frame.loc[bad, ["high", "low"]] = np.nan
    return replace(table, frame=frame), changes


def _drop_closed_days(table: RawTable, calendar: str) -> Result:
    dates = table.dates
    code = resolve_calendar(calendar, dates) if len(dates) else None
    if code is None:
        return table, []
    closed = ~table.frame["date"].isin(sessions_of(code, dates[0], dates[-1])) & table.frame["date"].notna()
    mask = closed.to_numpy(dtype=bool)
    return table.keep(~mask), [f"{_where(table, row)}: row dropped" for row in np.flatnonzero(mask)]


def _adjust_splits(table: RawTable, calendar: str) -> Result:
    frame = table.frame.copy()
    changes = []
    # A split that the source has and that makes its adjusted closes is no suspect.
    for jump in Jumps(add_adjusted_closes(table)[0]).splits:
        assert jump.ratio is not None
        symbol, date = frame["symbol"].iat[jump.row], frame["date"].iat[jump.row]
        before = ((frame["symbol"] == symbol) & (frame["date"] < date)).to_numpy(dtype=bool)
        frame.loc[before, table.price_fields] /= jump.ratio
        if "volume" in table.fields:
            frame.loc[before, "volume"] *= jump.ratio
        if "dividends" in table.fields:
            frame.loc[before, "dividends"] /= jump.ratio
        split = ratio_text(jump.ratio)
        changes.append(f"{_where(table, jump.row)}: prices before divided by {jump.ratio:g} ({split} split)")
    return replace(table, frame=frame), changes


def _blank_spikes(table: RawTable, calendar: str) -> Result:
    frame = table.frame.copy()
    changes = []
    for spike in Jumps(table).spikes:
        # With the close the whole bar is in doubt.
        fields = table.price_fields if spike.field in ("close", "adj_close") else [spike.field]
        rows = list(spike.rows)
        frame.loc[rows, fields] = np.nan
        changes += [f"{_where(table, row)}: {', '.join(fields)} → missing" for row in rows]
    return replace(table, frame=frame), changes


def _where(table: RawTable, row: int | np.integer[Any]) -> str:
    position = int(row)
    known = " ".join(part for part in (table.symbol(position), table.day(position)) if part)
    return ": ".join(part for part in (table.place(position), known) if part)


REPAIRS: dict[str, Repair] = {
    "drop-bad-rows": Repair(
        "drop rows that are cut short or whose date, symbol or numbers cannot be read", _drop_bad_rows
    ),
    "local-dates": Repair("date every row by its own wall clock where time zones are mixed", _local_dates),
    "swap-day-month": Repair(
        "exchange day and month up to day 12 where that makes the dates a regular calendar", _swap_day_month
    ),
    "sort": Repair("sort rows by date", _sort),
    "keep-first": Repair("of rows for the same symbol, date and time keep the first", _keep("first")),
    "keep-last": Repair("of rows for the same symbol, date and time keep the last", _keep("last")),
    "chain-returns": Repair(
        "make prices from returns in fractions, 0.01 for 1 %", _chain(lambda values: 1 + values)
    ),
    "chain-percent": Repair("make prices from returns in percent", _chain(lambda values: 1 + values / 100)),
    "chain-relatives": Repair(
        "make prices from price relatives, 1.01 for 1 %", _chain(lambda values: values)
    ),
    "aggregate-days": Repair(
        "join intraday bars into daily ones", lambda table, calendar: aggregate_days(table)
    ),
    "blank-bad-values": Repair("make zero, negative and infinite values missing", _blank_bad_values),
    "blank-high-low": Repair("make high and low missing where high is below low", _blank_high_low),
    "drop-closed-days": Repair("drop rows on days on which the exchange was closed", _drop_closed_days),
    "blank-spikes": Repair("make prices that are far off and return missing", _blank_spikes),
    "adjust-splits": Repair("divide prices before a suspected split by its ratio", _adjust_splits),
}
