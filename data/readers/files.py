"""Prices from CSV and Parquet, wide (date × symbol) or long (date, symbol, open … volume), gzipped or not.

Nothing is invented: a column or value that is not there stays absent, and the report says which rows lack it.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import FIELDS
from data.quality.findings import Finding
from data.quality.pipeline import CheckOptions, ImportResult, check_and_build
from data.quality.raw_table import RawTable, with_places
from data.readers.columns import Layout, detect, field_of
from data.readers.csv_text import read_bytes, read_text
from data.readers.parsing import parse_dates, parse_numbers

_SUFFIXES = (".gz", ".csv", ".txt", ".tsv", ".parquet", ".pq")


@dataclass(frozen=True)
class ReadOptions:
    """How to read files.

    Attributes
    ----------
    mapping
        Role → column where the usual names do not tell (``{"close": "Last price"}``).
    symbol
        Symbol of a file without a symbol column; by default the file's name.
    date_format
        A strptime format where the order of day and month is not clear.
    """

    mapping: Mapping[str, str] = field(default_factory=dict)
    symbol: str | None = None
    date_format: str | None = None


def read_prices(
    paths: Sequence[str | Path],
    *,
    name: str | None = None,
    options: ReadOptions | None = None,
    checks: CheckOptions | None = None,
) -> ImportResult:
    """Read and check prices from files.

    Parameters
    ----------
    paths
        CSV or Parquet files, gzipped or not; several are put together (say, one a symbol).
    name
        Name of the panel; by default that of the first file.
    options
        How to read them.
    checks
        How strictly to check them, and what to repair.

    Raises
    ------
    DataError
        If a file cannot be read, or a finding stops the import; the message holds the first one and its row.
    """
    table, source = read_table(paths, options or ReadOptions())
    return check_and_build(table, name or _stem(Path(paths[0])), source, checks or CheckOptions())


def read_table(paths: Sequence[str | Path], options: ReadOptions) -> tuple[RawTable, dict[str, Any]]:
    """Read files into one table of rows as they stand there, and describe the source for a manifest."""
    if not paths:
        raise DataError("no file given")
    tables, files = [], []
    for path in map(Path, paths):
        table, description = _read_file(path, options)
        tables.append(table)
        files.append(description)
    fields = [name for name in FIELDS if any(name in table.frame.columns for table in tables)]
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    order = ["date", "symbol", *fields, "file", "line", "offset", "currency", "unreadable"]
    findings = tuple(item for table in tables for item in table.findings)
    source = {
        "name": "files",
        "files": files,
        "options": {
            "map": dict(options.mapping),
            "symbol": options.symbol,
            "date_format": options.date_format,
        },
    }
    return RawTable(frame[order], findings, tables[0].word), source


def _read_file(path: Path, options: ReadOptions) -> tuple[RawTable, dict[str, Any]]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    content = read_bytes(path)
    if content[:4] == b"PAR1":
        frame, word = _read_parquet(content, path), "row"
        lines, decimal_comma = np.arange(1, len(frame) + 1), False
        findings: tuple[Finding, ...] = ()
    else:
        text = read_text(content, path.name)
        frame, word = text.frame, "line"
        lines, findings, decimal_comma = text.lines, text.findings, text.decimal_comma
    layout = detect([str(column) for column in frame.columns], path.name, options.mapping)
    reader = _Reader(path, frame, lines, decimal_comma, options, word)
    table = reader.read_wide(layout) if layout.wide else reader.read_long(layout)
    description = {
        "path": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": len(frame),
        "layout": "wide" if layout.wide else "long",
        "columns": dict(layout.roles),
        "ignored": list(layout.ignored),
    }
    return RawTable(table.frame, (*findings, *table.findings), word), description


def _read_parquet(content: bytes, path: Path) -> pd.DataFrame:
    import pyarrow

    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: the Parquet file is cut short or damaged ({reason})") from error
    if not isinstance(frame.index, pd.RangeIndex):
        index_names = [str(name) for name in frame.index.names if name is not None]
        if not index_names:
            frame.index.name = "date"
        frame = frame.reset_index()
    if isinstance(frame.columns, pd.MultiIndex):
        frame.columns = pd.Index([_pair_name(column) for column in frame.columns])
    frame.columns = pd.Index([str(column) for column in frame.columns])
    if frame.empty:
        raise DataError(f"{path}: there is no row")
    return frame


def _pair_name(column: tuple[Any, ...]) -> str:
    parts = [str(part) for part in column if str(part)]
    if len(parts) != 2:
        return "_".join(parts)
    field_first = field_of(parts[0]) is not None
    return f"{parts[1]}|{parts[0]}" if field_first else f"{parts[0]}|{parts[1]}"


@dataclass(frozen=True)
class _Reader:
    """Turns the columns of one file into a raw table."""

    path: Path
    frame: pd.DataFrame
    lines: np.ndarray
    decimal_comma: bool
    options: ReadOptions
    word: str

    def read_long(self, layout: Layout) -> RawTable:
        fields = {role: column for role, column in layout.roles.items() if role in FIELDS}
        symbol = layout.roles.get("symbol")
        if symbol is None:
            names = np.full(len(self.frame), self.options.symbol or _stem(self.path), dtype=object)
        else:
            texts = self.frame[symbol].astype("str").str.strip()
            names = texts.where(self.frame[symbol].notna(), "").to_numpy(dtype=object)
        currency = layout.roles.get("currency")
        named = self.frame[currency].astype("str").str.strip().to_numpy(dtype=object) if currency else None
        return self._table(names, fields, layout.roles["date"], named)

    def read_wide(self, layout: Layout) -> RawTable:
        symbols = list(dict.fromkeys(symbol for symbol, _ in layout.wide))
        parts = []
        for symbol in symbols:
            fields = {name: layout.wide[symbol, name] for name in FIELDS if (symbol, name) in layout.wide}
            names = np.full(len(self.frame), symbol, dtype=object)
            part = self._table(names, fields, layout.roles["date"], None)
            empty = part.frame[list(fields)].isna().all(axis=1) & ~part.frame["unreadable"]
            # An empty cell of a wide table says that the symbol has no price there: no row.
            parts.append(part.keep(~empty.to_numpy(dtype=bool)))
        frame = pd.concat([part.frame for part in parts], ignore_index=True)
        # The dates are the same for every symbol: what is wrong with them is said once.
        findings = dict.fromkeys(item for part in parts for item in part.findings)
        return RawTable(frame, tuple(findings), self.word)

    def _table(
        self, names: np.ndarray, fields: Mapping[str, str], date: str, currency: np.ndarray | None
    ) -> RawTable:
        dates = parse_dates(self.frame[date], f"{self.path.name}: {date}", self.options.date_format)
        columns: dict[str, Any] = {"date": dates.dates, "symbol": names}
        findings = [
            self._finding("unreadable-date", int(row), date, names[row])
            for row in np.flatnonzero(dates.unreadable)
        ]
        unreadable = np.zeros(len(self.frame), dtype=bool)
        signs = currency if currency is not None else np.full(len(self.frame), "", dtype=object)
        for name, column in fields.items():
            numbers = parse_numbers(self.frame[column], decimal_comma=self.decimal_comma)
            # Where there was no split some exports write 0; as new shares for an old one that is 1.
            values = numbers.values
            columns[name] = np.where(values == 0, 1.0, values) if name == "splits" else values
            unreadable |= numbers.unreadable
            rows = np.flatnonzero(numbers.unreadable)
            findings += [
                self._finding("unreadable-value", int(row), column, names[row], dates) for row in rows
            ]
            for row, sign in numbers.currencies.items():
                signs[row] = signs[row] or sign
        frame = with_places(pd.DataFrame(columns), self.path.name, self.lines)
        frame = frame.assign(offset=dates.offsets, currency=signs, unreadable=unreadable)
        return RawTable(frame, tuple(findings), self.word)

    def _finding(self, kind: str, row: int, column: str, symbol: str, dates: Any = None) -> Finding:
        text = str(self.frame[column].iat[row])
        what = "a date" if kind == "unreadable-date" else "a number"
        day = None if dates is None or np.isnat(dates.dates[row]) else str(dates.dates[row])[:10]
        place = f"{self.path.name} {self.word} {self.lines[row]}"
        return Finding(kind, f"{column} '{text}' is not {what}", str(symbol) or None, day, place)


def _stem(path: Path) -> str:
    name = path.name
    while any(name.lower().endswith(suffix) for suffix in _SUFFIXES):
        name = name[: name.rindex(".")]
    return name or path.name
