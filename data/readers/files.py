"""Prices from files: CSV, Parquet and Excel, wide (date × symbol) or long (date, symbol, open … volume).

A column or value that the file does not have stays absent, and the report lists the rows; only adjusted closes are made
from splits and dividends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import FIELDS
from data.quality.advice import Option, Refusal, advised
from data.quality.findings import Finding
from data.quality.pipeline import CheckOptions, ImportResult, build
from data.quality.raw_table import RawTable, with_places
from data.readers.columns import Layout, detect_layout
from data.readers.csv_text import read_bytes, read_text
from data.readers.dates import ParsedDates, in_zone, parse_dates, parse_times
from data.readers.numbers import NumberFormat, ParsedNumbers, find_format, parse_numbers, parse_splits
from data.readers.options import ReadOptions
from data.readers.parquet_table import read_parquet
from data.readers.source_table import SourceTable
from data.readers.workbook import is_workbook, read_workbook

__all__ = ["ReadOptions", "file_stem", "read_prices", "read_source", "read_table"]

_SUFFIXES = (".gz", ".csv", ".txt", ".tsv", ".parquet", ".pq", ".xlsx", ".xlsm")
# Rows that show whether columns are open, high, low and close.
_SAMPLE, _SMALLEST_SAMPLE = 200, 5


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
        CSV files, gzipped or not, Parquet files or Excel workbooks; several are put together, for example one per
        symbol.
    name
        Name of the panel; the name of the first file by default.
    options
        How to read them.
    checks
        How to check them, and what to repair.

    Raises
    ------
    DataError
        If a file cannot be read, or a finding stops the import.
    """
    reading, checking = options or ReadOptions(), checks or CheckOptions()
    read: list[tuple[ReadOptions, tuple[RawTable, dict[str, Any]]]] = []

    def attempt(more: Sequence[Option]) -> ImportResult:
        chosen = reading.added(more)
        if not read or read[-1][0] != chosen:  # most advice changes the checks alone
            read[:] = [(chosen, read_table(paths, chosen))]
        table, source = read[-1][1]
        return build(table, name or file_stem(Path(paths[0])), source, checking.added(more))

    try:
        return attempt(())
    except Refusal as refusal:
        raise advised(refusal, attempt) from None


def read_table(paths: Sequence[str | Path], options: ReadOptions) -> tuple[RawTable, dict[str, Any]]:
    """Return the rows of files in one table, and a description of the source for a manifest."""
    if not paths:
        raise DataError("no file given")
    tables, files = [], []
    for path in map(Path, paths):
        table, description = _read_file(path, options)
        tables.append(table)
        files.append(description)
    frame = pd.concat([table.frame for table in tables], ignore_index=True)
    findings = tuple(item for table in tables for item in table.findings)
    chosen = {key: value for key, value in asdict(options).items() if key != "mapping"}
    source = {"name": "files", "files": files, "options": {"map": dict(options.mapping), **chosen}}
    frame = _without(frame, options.exclude, {name for file in files for name in file["excluded"]})
    closes = options.closes
    if closes == "auto" and all(table.closes == "adjusted" for table in tables):
        closes = "adjusted"
    return RawTable(frame, findings, tables[0].word, closes), source


def read_source(path: Path, sheet: str | None = None, skip_rows: int | None = None) -> SourceTable:
    """Return the rows of a CSV file, gzipped or not, a Parquet file or an Excel workbook, as written there.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    content = read_bytes(path)
    if sheet is not None and not is_workbook(content, path.name):
        raise DataError(f"{path}: only Excel workbooks have sheets; leave --sheet out")
    if content[:4] == b"PAR1":
        return read_parquet(content, path.name)
    if is_workbook(content, path.name):
        return read_workbook(content, path.name, sheet, skip_rows)
    return read_text(content, path.name, skip_rows)


def _read_file(path: Path, options: ReadOptions) -> tuple[RawTable, dict[str, Any]]:
    source = read_source(path, options.sheet, options.skip_rows)
    reader = _Reader(path.name, source.frame, source.lines, source.delimiter, options, source.word)
    excluded = [column for column in reader.frame.columns if column in options.exclude]
    reader = replace(reader, frame=reader.frame.drop(columns=excluded))
    table = reader.read()
    description = {
        "path": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "rows": len(reader.frame),
        "skipped": source.skipped,
        "layout": "wide" if reader.layout.wide else "long",
        "columns": dict(reader.layout.roles),
        "ignored": list(reader.layout.ignored),
        "excluded": excluded,
    }
    return replace(table, findings=(*source.findings, *table.findings)), description


def _without(frame: pd.DataFrame, excluded: Sequence[str], columns: set[str]) -> pd.DataFrame:
    """Return the rows of the symbols that are not excluded."""
    symbols = set(frame["symbol"].unique())
    unknown = [name for name in excluded if name not in symbols | columns]
    if unknown:
        raise DataError(f"--exclude: there is no column or symbol '{unknown[0]}'")
    if symbols <= set(excluded):
        raise DataError("--exclude: every symbol is left out")
    return frame[~frame["symbol"].isin(excluded)].reset_index(drop=True) if excluded else frame


@dataclass(frozen=True)
class _Reader:
    """Reader of the columns of one file into a raw table."""

    file: str
    frame: pd.DataFrame
    lines: np.ndarray
    delimiter: str
    options: ReadOptions
    word: str

    def read(self) -> RawTable:
        """Return the rows of the file."""
        table = self._wide() if self.layout.wide else self._long()
        closes = "adjusted" if self.layout.adjusted else "auto"
        return RawTable(table, tuple(self._problems()), self.word, closes)

    @cached_property
    def layout(self) -> Layout:
        """Roles of the columns."""
        return detect_layout(
            [str(column) for column in self.frame.columns],
            self.file,
            mapping=self.options.mapping,
            layout=self.options.layout,
            are_fields=self._are_fields,
        )

    @cached_property
    def values(self) -> dict[str, str]:
        """Columns of numbers → field."""
        if self.layout.wide:
            return {column: name for (_, name), column in self.layout.wide.items()}
        return {column: role for role, column in self.layout.roles.items() if role in FIELDS}

    @cached_property
    def form(self) -> NumberFormat:
        """Format of the numbers."""
        if self.options.decimal is not None:
            return NumberFormat(self.options.decimal)
        return find_format([self.frame[column] for column in self.values], self.delimiter)

    @cached_property
    def numbers(self) -> dict[str, ParsedNumbers]:
        """Columns of numbers → their numbers."""
        return {
            column: (parse_splits if name == "splits" else parse_numbers)(self.frame[column], self.form)
            for column, name in self.values.items()
        }

    @cached_property
    def dates(self) -> ParsedDates:
        """Dates of the rows."""
        parsed = parse_dates(self.frame[self.layout.roles["date"]], self.options.date_format)
        if "time" in self.layout.roles:
            parsed = replace(parsed, times=parse_times(self.frame[self.layout.roles["time"]]))
        return parsed if self.options.zone is None else in_zone(parsed, self.options.zone)

    @cached_property
    def symbols(self) -> np.ndarray:
        """Symbol of each row of a long table; empty where missing."""
        column = self.layout.roles.get("symbol")
        if column is None:
            name = self.options.symbol or file_stem(Path(self.file))
            return np.full(len(self.frame), name, dtype=object)
        return self._texts(column)

    def _texts(self, column: str) -> np.ndarray:
        texts = self.frame[column].astype("str").str.strip()
        return texts.where(self.frame[column].notna(), "").to_numpy(dtype=object)

    def _long(self) -> pd.DataFrame:
        signs = np.full(len(self.frame), "", dtype=object)
        if "currency" in self.layout.roles:
            signs = self._texts(self.layout.roles["currency"])
        columns: dict[str, Any] = {"date": self.dates.dates, "symbol": self.symbols}
        unreadable = np.zeros(len(self.frame), dtype=bool)
        for column, name in self.values.items():
            numbers = self.numbers[column]
            columns[name] = numbers.values
            unreadable |= numbers.unreadable
            for row, sign in numbers.currencies.items():
                signs[row] = signs[row] or sign
        ordered = {key: columns[key] for key in ("date", "symbol", *FIELDS) if key in columns}
        return with_places(pd.DataFrame(ordered), self.file, self.lines).assign(
            time=self.dates.times, offset=self.dates.offsets, currency=signs, unreadable=unreadable
        )

    def _wide(self) -> pd.DataFrame:
        wide = self.layout.wide
        symbols = list(dict.fromkeys(symbol for symbol, _ in wide))
        fields = [name for name in FIELDS if any(found == name for _, found in wide)]
        shape = (len(symbols), len(self.frame))
        cells = {name: np.full(shape, np.nan) for name in fields}
        unreadable = np.zeros(shape, dtype=bool)
        signs = np.full(shape, "", dtype=object)
        for (symbol, name), column in wide.items():
            at, numbers = symbols.index(symbol), self.numbers[column]
            cells[name][at] = numbers.values
            unreadable[at] |= numbers.unreadable
            for row, sign in numbers.currencies.items():
                signs[at, row] = signs[at, row] or sign
        # An empty cell means that the symbol has no price on that date: no row.
        present = unreadable.copy()
        for name, values in cells.items():
            if name not in ("dividends", "splits"):
                present |= ~np.isnan(values)
        owners, rows = np.nonzero(present)
        frame = pd.DataFrame(
            {
                "date": self.dates.dates[rows],
                "symbol": np.array(symbols, dtype=object)[owners],
                **{name: values[owners, rows] for name, values in cells.items()},
            }
        )
        return with_places(frame, self.file, self.lines[rows]).assign(
            time=self.dates.times[rows],
            offset=self.dates.offsets[rows],
            currency=signs[owners, rows],
            unreadable=unreadable[owners, rows],
        )

    def _problems(self) -> Iterator[Finding]:
        """Yield what is wrong with the columns: formats first, then single cells."""
        date = self.layout.roles["date"]
        for problem in self.dates.problems:
            yield Finding(
                problem.kind,
                f"{date} {problem.message}",
                place=self._place(problem.row),
                advice=problem.advice,
            )
        if self.form.example is not None:
            message = f"'{self.form.example}' may have a decimal mark or a separator of thousands"
            choice = (("--decimal", "."), ("--decimal", ","))
            yield Finding("ambiguous-number", message, place=self.file, advice=choice)
        for row in np.flatnonzero(self.dates.unreadable).tolist():
            symbol = None if self.layout.wide else self.symbols[row]
            yield self._unreadable("unreadable-date", row, date, symbol, "a date")
        symbol_of = {column: symbol for (symbol, _), column in self.layout.wide.items()}
        for column, numbers in self.numbers.items():
            if not numbers.unreadable.any():
                continue
            filled = self.frame[column].notna() & (self.frame[column] != "")
            if 2 * numbers.unreadable.sum() > filled.sum():
                row = int(np.argmax(numbers.unreadable))
                message = f"{column} holds texts such as '{self.frame[column].iat[row]}', no numbers"
                advice = (("--exclude", column),)
                yield Finding("unreadable-column", message, place=self._place(row), advice=advice)
                continue
            for row in np.flatnonzero(numbers.unreadable).tolist():
                symbol = symbol_of[column] if self.layout.wide else self.symbols[row]
                yield self._unreadable("unreadable-value", row, column, symbol, "a number")

    def _unreadable(self, kind: str, row: int, column: str, symbol: str | None, kind_of_cell: str) -> Finding:
        date = self.dates.dates[row]
        day = None if np.isnat(date) else str(date)[:10]
        message = f"{column} '{self.frame[column].iat[row]}' is not {kind_of_cell}"
        return Finding(kind, message, symbol or None, day, self._place(row))

    def _place(self, row: int) -> str:
        return f"{self.file} {self.word} {self.lines[row]}"

    def _are_fields(self, prices: Mapping[str, str]) -> bool:
        """Return False if the numbers cannot be open, high, low and close of one symbol."""
        sample = self.frame[list(prices.values())].head(_SAMPLE)
        columns = [sample[column] for column in prices.values()]
        form = find_format(columns, self.delimiter)
        values = {name: parse_numbers(sample[column], form).values for name, column in prices.items()}
        every = np.stack(list(values.values()))
        every = np.where(every > 0, every, np.nan)
        known = np.isfinite(every).all(axis=0)
        if known.sum() < _SMALLEST_SAMPLE:
            return True
        top, bottom = every[:, known].max(axis=0), every[:, known].min(axis=0)
        ordered = np.ones(int(known.sum()), dtype=bool)
        if "high" in values:
            ordered &= values["high"][known] >= top * 0.999
        if "low" in values:
            ordered &= values["low"][known] <= bottom * 1.001
        return bool(np.mean(ordered) > 0.8 and np.mean(top <= 2 * bottom) > 0.8)


def file_stem(path: Path) -> str:
    """Return the name of a file without its endings."""
    name = path.name
    while any(name.lower().endswith(suffix) for suffix in _SUFFIXES):
        name = name[: name.rindex(".")]
    return name or path.name
