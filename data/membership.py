"""Dated membership of a universe, such as an index: which symbols belong to it on which dates.

A file has the columns ``symbol``, ``from`` and ``to``, one row for each time that a symbol belongs: from its first to
its last day, both included. An empty ``to`` means that it still belongs. A symbol that left and came back has
several rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import DateLike, parse_date
from data.readers.dates import parse_dates
from data.readers.files import read_source
from data.readers.source_table import SourceTable

__all__ = ["Membership", "read_membership"]

_COLUMNS = {
    "symbol": ("symbol", "ticker"),
    "from": ("from", "start", "start_date"),
    "to": ("to", "end", "end_date"),
}
_STILL = np.datetime64("NaT", "ns")


@dataclass(frozen=True, eq=False)
class Membership:
    """Times of membership, ordered by symbol and first day.

    `symbols` [rows] may repeat; `first` and `last` [rows] are days, both included, `last` NaT for a symbol that still
    belongs.
    """

    symbols: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @classmethod
    def from_times(cls, times: Mapping[str, Sequence[str]]) -> Membership:
        """Return the membership of symbols by their times, ``FROM/TO`` or ``FROM/`` with dates as YYYY-MM-DD.

        DataError if a time cannot be read.
        """
        rows = [(symbol, *time.partition("/")[::2]) for symbol in sorted(times) for time in times[symbol]]
        for symbol, first, last in rows:
            if parse_date(first, f"membership of {symbol}") > parse_date(
                last or first, f"membership of {symbol}"
            ):
                raise DataError(f"membership of {symbol}: it ends on {last}, before {first}")
        columns: list[tuple[str, ...]] = list(zip(*rows, strict=True)) or [(), (), ()]
        days = [np.array([day or "NaT" for day in column], dtype="datetime64[ns]") for column in columns[1:]]
        return cls(np.array(columns[0], dtype=object), *days)

    def times(self) -> dict[str, tuple[str, ...]]:
        """Return the times of each symbol, as `from_times` takes them."""
        found: dict[str, tuple[str, ...]] = {}
        for symbol, first, last in zip(self.symbols, self.first, self.last, strict=True):
            ends = [str(day.astype("datetime64[D]")) for day in (first, last)]
            time = f"{ends[0]}/{'' if np.isnat(last) else ends[1]}"
            found[symbol] = (*found.get(symbol, ()), time)
        return found

    def members(self, date: DateLike) -> tuple[str, ...]:
        """Return the symbols that belong on a date, in alphabetical order."""
        day = np.datetime64(parse_date(date, "date"), "ns")
        belongs = (self.first <= day) & (np.isnat(self.last) | (day <= self.last))
        return tuple(self.symbols[belongs].tolist())

    def mask(self, dates: pd.DatetimeIndex, symbols: tuple[str, ...]) -> np.ndarray:
        """Return True where a symbol belongs on a date [T, N]; a symbol without a row never belongs."""
        days = dates.to_numpy().astype("datetime64[ns]")
        mask = np.zeros((len(days), len(symbols)), dtype=bool)
        column = {symbol: position for position, symbol in enumerate(symbols)}
        for symbol, first, last in zip(self.symbols, self.first, self.last, strict=True):
            if symbol in column:
                mask[:, column[symbol]] |= (days >= first) & (np.isnat(last) | (days <= last))
        return mask


def read_membership(path: str | Path, *, date_format: str | None = None) -> Membership:
    """Read a membership file: CSV, gzipped or not, Parquet or Excel.

    Parameters
    ----------
    path
        The file. ``ticker``, ``start_date`` and ``end_date`` are accepted as names of the columns too.
    date_format
        Format of the dates, for example ``%d/%m/%Y``, where it is not clear.

    Raises
    ------
    DataError
        If the file cannot be read, a column or symbol is missing, a date is unreadable or not clear, a last day is
        before the first, or two times of one symbol overlap. The message names file and row.
    """
    file = Path(path)
    source = read_source(file)
    for finding in source.findings:
        raise DataError(f"{finding}; give every row a symbol, a first and a last day")
    frame = source.frame.rename(columns=_column_names(file, source))
    places = [f"{file.name} {source.word} {line}" for line in source.lines]
    if frame.empty:
        raise DataError(f"{file.name}: there is no row below the header")
    symbols = frame["symbol"].astype("str").str.strip().where(frame["symbol"].notna(), "")
    table = pd.DataFrame({"symbol": symbols.to_numpy(dtype=object), "place": places})
    for name in ("from", "to"):
        table[name] = _days(frame[name], name, places, date_format)
    table = table.sort_values(["symbol", "from"], kind="stable")
    _check_rows(table)
    return Membership(table["symbol"].to_numpy(), table["from"].to_numpy(), table["to"].to_numpy())


def _column_names(file: Path, source: SourceTable) -> dict[str, str]:
    """Return name in the file → ``symbol``, ``from`` or ``to``."""
    known = {str(name).strip().lower(): str(name) for name in source.frame.columns}
    names = {}
    for role, aliases in _COLUMNS.items():
        found = [known[alias] for alias in aliases if alias in known]
        if len(found) != 1:
            fault = (
                "there is no column" if not found else f"both '{found[0]}' and '{found[1]}' may be the column"
            )
            raise DataError(
                f"{file.name}: {fault} '{role}'; a membership file has the columns symbol, from and to"
            )
        names[found[0]] = role
    return names


def _days(column: pd.Series, name: str, places: list[str], date_format: str | None) -> np.ndarray:
    """Return the days of a column; NaT for an empty cell of ``to`` alone."""
    empty = (column.isna() | (column.astype("str").str.strip() == "")).to_numpy(dtype=bool)
    if name == "from" and empty.any():
        raise DataError(
            f"{places[int(empty.argmax())]}: 'from' is empty; write the first day of the membership"
        )
    days = np.full(len(column), _STILL)
    filled = np.flatnonzero(~empty)
    if len(filled) == 0:
        return days
    parsed = parse_dates(column.iloc[filled].reset_index(drop=True), date_format)
    for problem in parsed.problems:
        raise DataError(f"{places[filled[problem.row]]}: {name} {problem.message}; write dates as YYYY-MM-DD")
    if parsed.unreadable.any():
        row = int(filled[int(parsed.unreadable.argmax())])
        raise DataError(f"{places[row]}: {name} '{column.iat[row]}' is not a date; write it as YYYY-MM-DD")
    days[filled] = parsed.dates
    return days


def _check_rows(table: pd.DataFrame) -> None:
    """Refuse rows without a symbol, with days in the wrong order, or that overlap; ordered by symbol and first day."""
    before = None
    for row in table.itertuples(index=False):
        symbol, place, first, last = row
        if not symbol:
            raise DataError(f"{place}: the symbol is empty; write it, or remove the row")
        if last < first:
            raise DataError(
                f"{place}: {symbol} leaves on {last.date()}, before it joins on {first.date()}; correct from or to"
            )
        if before is not None and before[0] == symbol and not before[3] < first:
            raise DataError(
                f"{place}: {symbol} joins on {first.date()}, while it belongs already by {before[1]}; "
                "correct the days, or join the rows"
            )
        before = row
