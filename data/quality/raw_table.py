"""Rows of a source before validation, each with its place in the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd

from data.fields import FIELDS, PRICE_FIELDS
from data.prices import Prices
from data.quality.findings import Finding


@dataclass(frozen=True)
class RawTable:
    """Long table that may have errors.

    Attributes
    ----------
    frame
        Columns ``date`` (datetime64[ns], NaT where unreadable), ``symbol`` (empty where missing), fields as float64,
        ``file`` and ``line`` of the row, ``time`` (minutes after midnight, NaN without time), ``offset`` (minutes east
        of UTC, NaN without zone), ``currency`` (empty where not given), ``unreadable`` (a value in the row is not a
        number).
        The index is 0 … rows − 1.
    findings
        Findings of the reader.
    word
        Unit of places: ``line`` or ``row``.
    closes
        ``raw``, ``adjusted`` or ``auto``: see `data.quality.adjustment.CLOSES`.
    """

    frame: pd.DataFrame
    findings: tuple[Finding, ...] = field(default=())
    word: str = "line"
    closes: str = "auto"

    @property
    def fields(self) -> list[str]:
        """Fields that the source has, in the usual order."""
        return [name for name in FIELDS if name in self.frame.columns]

    @property
    def price_fields(self) -> list[str]:
        """Price fields that the source has."""
        return [name for name in PRICE_FIELDS if name in self.frame.columns]

    @cached_property
    def dates(self) -> pd.DatetimeIndex:
        """Dates of the rows, each once, in order."""
        return pd.DatetimeIndex(np.sort(self.frame["date"].dropna().unique()))

    @cached_property
    def codes(self) -> np.ndarray:
        """Number of the symbol of each row, in order of first appearance [rows]."""
        codes: np.ndarray = pd.factorize(self.frame["symbol"])[0]
        return codes

    @cached_property
    def moments(self) -> np.ndarray:
        """Date and time of each row, datetime64; midnight where it has no time [rows]."""
        minutes = np.nan_to_num(self.frame["time"].to_numpy(dtype=float))
        moments: np.ndarray = self.frame["date"].to_numpy() + (minutes * 60e9).astype("timedelta64[ns]")
        return moments

    def series(self, field: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield rows and values of each symbol with two or more positive values, in order of date."""
        values, dates = self.frame[field].to_numpy(), self.frame["date"].to_numpy()
        rows = np.flatnonzero(~np.isnat(dates) & (values > 0) & np.isfinite(values))
        rows = rows[np.lexsort((dates[rows], self.codes[rows]))]
        ends = np.flatnonzero(np.diff(self.codes[rows])) + 1
        for part in np.split(rows, ends):
            if len(part) > 1:
                yield part, values[part]

    def keep(self, mask: np.ndarray) -> RawTable:
        """Return the table of the rows where `mask` is true."""
        return replace(self, frame=self.frame[mask].reset_index(drop=True))

    def place(self, row: int) -> str | None:
        """Return file and line of row `row` of the frame, or None if it comes from no file."""
        file = str(self.frame["file"].iat[row])
        return f"{file} {self.word} {self.frame['line'].to_numpy()[row]}" if file else None

    def day(self, row: int) -> str | None:
        """Return the date (ISO) of row `row` of the frame, or None if it is unknown."""
        date = self.frame["date"].to_numpy()[row]
        return None if np.isnat(date) else str(np.datetime_as_string(date, unit="D"))

    def symbol(self, row: int) -> str:
        """Return the symbol of row `row` of the frame; empty where missing."""
        return str(self.frame["symbol"].iat[row])

    def finding(self, kind: str, row: int, message: str) -> Finding:
        """Make a finding about row `row` of the frame."""
        return Finding(kind, message, self.symbol(row) or None, self.day(row), self.place(row))


def raw_table(prices: Prices) -> RawTable:
    """Return prices as a raw table, without rows that have no value."""
    frame = prices.to_long()
    frame = frame[frame[list(prices.fields)].notna().any(axis=1)].reset_index(drop=True)
    frame["symbol"] = frame["symbol"].astype(object)
    return RawTable(with_places(frame, "", np.arange(len(frame))))


def with_places(frame: pd.DataFrame, file: str, lines: np.ndarray) -> pd.DataFrame:
    """Add the other columns of a raw table, with default values."""
    return frame.assign(file=file, line=lines, time=np.nan, offset=np.nan, currency="", unreadable=False)
