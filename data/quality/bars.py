"""Several rows of a symbol for one date: duplicates, or intraday bars, which can be joined into daily ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd

from data.quality.findings import Finding
from data.quality.raw_table import RawTable

# Field → how a day's bars are joined: pandas aggregation, and its description.
_AGGREGATION = {
    "open": ("first", "first open"),
    "high": ("max", "highest high"),
    "low": ("min", "lowest low"),
    "close": ("last", "last close"),
    "adj_close": ("last", "last adj_close"),
    "volume": ("sum", "sum of volume"),
    "dividends": ("sum", "sum of dividends"),
    "splits": ("prod", "product of splits"),
}
_BAR = ["symbol", "date", "time", "offset"]


def duplicates(frame: pd.DataFrame, keep: Literal["first", "last"] = "first") -> np.ndarray:
    """Return True at the rows of a raw table that repeat another row's symbol, date and time, but for one [rows]."""
    twice = frame[frame["date"].notna() & frame.duplicated(["symbol", "date"], keep=False)]
    marked = np.zeros(len(frame), dtype=bool)
    if twice.empty:
        return marked
    bars = twice[_BAR]
    # Some sources put the latest price, with its time, below the last day's row.
    count = twice.groupby(["symbol", "date"])["date"].transform("size")
    days = twice.groupby("symbol")["date"].transform("nunique")
    last = frame.groupby("symbol")["date"].max()
    latest = (count == 2) & (days == 1) & (twice["date"] == twice["symbol"].map(last))
    latest &= twice["symbol"].map(frame["symbol"].value_counts()) > 2
    bars = bars.mask(latest.to_numpy()[:, None] & np.isin(_BAR, ["time", "offset"]))
    marked[twice.index[bars.duplicated(keep=keep).to_numpy()]] = True
    return marked


def check_intraday(table: RawTable) -> Iterator[Finding]:
    """Yield one finding if symbols have rows for several times of a day."""
    rows = _intraday_rows(table)
    if len(rows) == 0:
        return
    days = table.frame.iloc[rows].groupby(["symbol", "date"], sort=False)["time"].agg(["size", "min", "max"])
    span = _span(days["min"].iloc[0], days["max"].iloc[0])
    message = f"{days['size'].iloc[0]} rows for one day{span}: intraday bars ({len(days)} such days)"
    yield table.finding("intraday", int(rows[0]), message)


def aggregate_days(table: RawTable) -> tuple[RawTable, list[str]]:
    """Return the table with one bar a day where symbols have bars for several times, and one line per joined day.

    The open is the first one, the high the highest, the low the lowest, the close the last; volumes and dividends are
    added, splits multiplied.
    """
    rows = _intraday_rows(table)
    bars = table.frame.iloc[rows[np.argsort(table.moments[rows], kind="stable")]]
    bars = bars.assign(row=bars.index, first=bars["time"], last=bars["time"])
    joining = {name: how for name, (how, _) in _AGGREGATION.items() if name in table.fields}
    places = {"file": "first", "line": "first", "currency": "first", "unreadable": "any"}
    joined = bars.groupby(["symbol", "date"], sort=False)
    days = joined.agg({**joining, **places, "row": "min", "first": "min", "last": "max"})
    for name in ("volume", "dividends", "splits"):
        if name in joining:
            days[name] = days[name].where(joined[name].count() > 0)
    what = describe_aggregation(table)
    changes = [
        f"{symbol} {day:%Y-%m-%d}: {count} bars{_span(first, last)} joined: {what}"
        for (symbol, day), count, first, last in zip(
            days.index, joined.size(), days["first"], days["last"], strict=True
        )
    ]
    days = days.reset_index().set_index("row").assign(time=np.nan, offset=np.nan)
    others = table.frame.drop(index=rows.tolist())
    frame = pd.concat([others, days[table.frame.columns]]).sort_index()
    return replace(table, frame=frame.reset_index(drop=True)), changes


def describe_aggregation(table: RawTable) -> str:
    """Return how each field of the table is joined."""
    return ", ".join(text for name, (_, text) in _AGGREGATION.items() if name in table.fields)


def _intraday_rows(table: RawTable) -> np.ndarray:
    """Return the rows of days with bars for several times; days with duplicates are left out."""
    frame = table.frame
    same_day = (
        frame.duplicated(["symbol", "date"], keep=False) & frame["date"].notna() & (frame["symbol"] != "")
    )
    if not same_day.any():
        return np.array([], dtype=np.intp)
    repeated = (
        pd.Series(duplicates(frame)).groupby([frame["symbol"], frame["date"]], dropna=False).transform("any")
    )
    rows: np.ndarray = np.flatnonzero(same_day.to_numpy() & ~repeated.to_numpy())
    return rows


def _span(first: float, last: float) -> str:
    return "" if np.isnan(first) else f" from {_clock(first)} to {_clock(last)}"


def _clock(minutes: float) -> str:
    return f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}"
