"""Signals from files: long (date, symbol, signal columns), or wide (date × symbol) with one signal or two levels."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.prices import Prices
from data.readers.columns import is_index_name, role_of
from data.readers.dates import parse_dates
from data.readers.files import file_stem, read_source
from data.readers.numbers import NumberFormat, find_format, parse_numbers
from data.readers.source_table import SourceTable
from data.signals.options import SignalOptions
from data.signals.values import Signals

__all__ = ["SignalImport", "read_signals", "signal_lines"]

_PAIR = "|"


@dataclass(frozen=True)
class SignalImport:
    """Result of an import: signals, and the members of the manifest that describe where they came from."""

    signals: Signals
    details: dict[str, Any]


def read_signals(
    paths: Sequence[str | Path], prices: Prices, options: SignalOptions, *, name: str | None = None
) -> SignalImport:
    """Read signals from files and check them against the prices that they belong to.

    Parameters
    ----------
    paths
        CSV files, gzipped or not, Parquet files or Excel workbooks. Several wide files have one signal each, called as
        the file.
    prices
        The prices.
    options
        Columns, parities, lag and repairs.
    name
        Name of the signals; that of the first file by default.

    Raises
    ------
    DataError
        If a file cannot be read, or a value cannot be used: one line with the reason, the place and the remedy.
    """
    tables, files = [], []
    for path in map(Path, paths):
        source = read_source(path, options.sheet, options.skip_rows)
        found, description = _SignalFile(path, source, options, len(paths) == 1).read()
        tables += found
        files.append(description | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    cells = {column: [table for key, table in tables if key == column] for column in options.parity}
    for column, parts in cells.items():
        if not parts:
            known = dict.fromkeys(name for file in files for name in file["columns"])
            raise DataError(
                f"{files[0]['path']}: no column '{column}' (columns: {', '.join(list(known)[:20])}); correct --odd and "
                "--even, or name a wide file of one signal as the signal"
            )
    repairs = _Repairs(options.repair)
    checked = {column: _checked(pd.concat(parts), column, prices, repairs) for column, parts in cells.items()}
    signals = _panel(checked, prices, options, name or file_stem(Path(paths[0])))
    present = int(np.isfinite(signals.align(prices).values).sum())
    details = {
        "prices": {"name": prices.name, "hash": prices.hash},
        "provider": {"name": "files", "files": files},
        "repairs": repairs.entries(),
        "coverage": present / (len(prices.dates) * len(prices.symbols) * len(signals.parity)),
        "without_values": _without_values(signals),
    }
    return SignalImport(signals, details)


class _Repairs:
    """Requested repairs, with the number of changes of each."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._count = dict.fromkeys(wanted, 0)

    def wants(self, name: str) -> bool:
        """Return whether a repair was asked for."""
        return name in self._count

    def count(self, name: str, changes: int) -> None:
        """Record changes that a repair made."""
        self._count[name] += changes

    def entries(self) -> list[dict[str, Any]]:
        """Return repair and count for the manifest."""
        return [{"repair": name, "count": count} for name, count in self._count.items()]


@dataclass(frozen=True)
class _SignalFile:
    """Reader of one file into cells: a frame of date, symbol, value and place for each signal."""

    path: Path
    source: SourceTable
    options: SignalOptions
    alone: bool

    def read(self) -> tuple[list[tuple[str, pd.DataFrame]], dict[str, Any]]:
        """Return (signal, cells) pairs, and a description of the file."""
        for finding in self.source.findings:
            if "drop-bad-rows" not in self.options.repair:
                raise DataError(f"{finding}; leave such rows out with --repair drop-bad-rows")
        names = [str(column) for column in self.source.frame.columns]
        date = self._role(names, "date") or names[0]
        if not (is_index_name(date) or role_of(date) == "date" or "date" in self.options.mapping):
            raise DataError(
                f"{self.path.name}: no date column among {', '.join(names[:20])}; name it with --map date=COLUMN"
            )
        symbol = self._role(names, "symbol")
        rest = [column for column in names if column not in (date, symbol)]
        declared = self.options.parity
        used: dict[tuple[str, str | None], str] = {}
        if symbol is None:
            used |= self._wide(rest)
        else:
            used |= {(column, None): column for column in rest if column in declared}
        frame = self.source.frame
        dates = self._dates(date)
        owners = None if symbol is None else frame[symbol].astype("str").str.strip().to_numpy(dtype=object)
        form = NumberFormat(self.options.decimal or ".")
        if self.options.decimal is None and used:
            form = find_format([frame[column] for column in used.values()], self.source.delimiter)
            if form.example is not None:
                raise DataError(
                    f"{self.path.name}: '{form.example}' may have a decimal mark or a separator of thousands; choose "
                    "--decimal . or --decimal ,"
                )
        places = np.array([self._place(row) for row in range(len(frame))], dtype=object)
        tables = []
        for (signal, owner), column in used.items():
            numbers = parse_numbers(frame[column], form)
            cells = pd.DataFrame({"date": dates, "symbol": owners if owner is None else owner})
            cells["value"], cells["place"] = numbers.values, places
            cells["bad"] = numbers.unreadable | np.isinf(numbers.values)
            cells["text"] = (
                frame[column].where(cells["bad"].to_numpy(), "").astype("str").to_numpy(dtype=object)
            )
            # An empty cell of a wide table means that the symbol has no value.
            tables.append((signal, cells if owner is None else cells[cells["bad"] | cells["value"].notna()]))
        read = set(used.values())
        description = {
            "path": self.path.name,
            "rows": len(frame),
            "layout": "wide" if symbol is None else "long",
            "columns": rest,
            "ignored": [column for column in rest if column not in read],
        }
        return tables, description

    def _role(self, names: Sequence[str], role: str) -> str | None:
        chosen = self.options.mapping.get(role)
        if chosen is not None:
            if chosen not in names:
                raise DataError(
                    f"{self.path.name}: no column '{chosen}' for the {role} (columns: {', '.join(names[:20])}); "
                    f"correct --map {role}=COLUMN"
                )
            return chosen
        free = [name for name in names if name not in self.options.parity]
        return next((name for name in free if role_of(name) == role), None)

    def _wide(self, columns: Sequence[str]) -> dict[tuple[str, str | None], str]:
        """Return (signal, symbol) → column of a wide table."""
        declared = self.options.parity
        if all(_PAIR in column for column in columns):
            pairs: dict[tuple[str, str | None], str] = {}
            for column in columns:
                one, _, two = (part.strip() for part in column.partition(_PAIR))
                signal, symbol = (one, two) if one in declared else (two, one)
                if signal in declared:
                    pairs[signal, symbol] = column
            return pairs
        stem = file_stem(self.path)
        if any(column in declared for column in columns):
            raise DataError(
                f"{self.path.name}: there is no symbol column beside {', '.join(columns[:5])}; name it with "
                "--map symbol=COLUMN, or give a table of dates and symbols for each signal"
            )
        if self.alone and len(declared) == 1:
            stem = next(iter(declared))
        if stem not in declared:
            raise DataError(
                f"{self.path.name}: a wide table has one signal, and '{stem}' is none of those declared "
                f"({', '.join(declared)}); name the file as its signal, or use columns of two levels (signal, symbol)"
            )
        return {(stem, column.strip()): column for column in columns}

    def _dates(self, column: str) -> np.ndarray:
        """Return the dates of the rows; NaT where unreadable."""
        parsed = parse_dates(self.source.frame[column], self.options.date_format)
        for problem in parsed.problems:
            choice = " or ".join(f"{flag} {value}" for flag, value in problem.advice)
            remedy = f"; choose {choice}" if choice else ""
            raise DataError(f"{self._place(problem.row)}: {column} {problem.message}{remedy}")
        timed = np.nan_to_num(parsed.times) > 0
        if timed.any():
            row = int(timed.argmax())
            raise DataError(
                f"{self._place(row)}: the stamp '{self.source.frame[column].iat[row]}' has a time of day; give the "
                "date of the session before whose close the value was known"
            )
        return parsed.dates

    def _place(self, row: int) -> str:
        return f"{self.path.name} {self.source.word} {self.source.lines[row]}"


def _checked(cells: pd.DataFrame, column: str, prices: Prices, repairs: _Repairs) -> pd.DataFrame:
    """Return the cells of one signal that can be used, one per date and symbol."""
    cells = cells.reset_index(drop=True)
    undated = cells["date"].isna().to_numpy() | cells["symbol"].isin(["", "nan", "None"]).to_numpy()
    cells = _without(
        cells, undated, "drop-bad-rows", repairs, lambda _: "the row has no readable date or no symbol"
    )
    known = cells["symbol"].isin(prices.symbols).to_numpy()
    cells = _without(
        cells, ~known, "drop-symbols", repairs, lambda cell: _unknown_symbol(cell["symbol"], prices)
    )
    first, last, today = prices.dates[0], prices.dates[-1], pd.Timestamp(datetime.now(UTC).date())
    outside = ((cells["date"] < first) | (cells["date"] > last)).to_numpy()

    def outside_reason(cell: Mapping[Any, Any]) -> str:
        day = cell["date"]
        where = "lies in the future" if day > today else "lies outside of the prices"
        return f"the stamp {day.date()} {where}, which run from {first.date()} to {last.date()}"

    cells = _without(cells, outside, "drop-outside", repairs, outside_reason)
    bad = cells["bad"].to_numpy()
    cells = cells.assign(value=cells["value"].mask(bad))
    _without(
        cells,
        bad,
        "blank-bad-values",
        repairs,
        lambda cell: f"{column} '{cell['text']}' is not a finite number",
    )
    keep = "keep-last" if repairs.wants("keep-last") else "keep-first"
    twice = cells.duplicated(["date", "symbol"], keep="last" if keep == "keep-last" else "first").to_numpy()
    cells = _without(
        cells, twice, keep, repairs, lambda _: f"{column} has a second row for this date", ("keep-last",)
    )
    cells = cells[cells["value"].notna()]
    if cells.empty:
        raise DataError(f"{column}: no value is left for {prices.name}; check file, symbols and dates")
    return cells


def _without(
    cells: pd.DataFrame,
    bad: np.ndarray,
    repair: str,
    repairs: _Repairs,
    reason: Callable[[Mapping[Any, Any]], str],
    others: tuple[str, ...] = (),
) -> pd.DataFrame:
    """Return the cells without bad ones if that repair was asked for; refuse the first bad one otherwise."""
    if not bad.any():
        return cells
    if repairs.wants(repair):
        repairs.count(repair, int(bad.sum()))
        return cells[~bad].reset_index(drop=True)
    cell = cells.iloc[int(bad.argmax())].to_dict()
    where = cell["place"]
    if pd.notna(cell["date"]) and cell["symbol"]:
        where += f": {cell['symbol']} {cell['date'].date()}"
    count = f" ({int(bad.sum())} such cells)" if bad.sum() > 1 else ""
    advice = " or ".join(f"--repair {name}" for name in (repair, *others))
    raise DataError(f"{where}: {reason(cell)}{count}; correct the file, or choose {advice}")


def _unknown_symbol(symbol: str, prices: Prices) -> str:
    close = difflib.get_close_matches(symbol, prices.symbols, n=1, cutoff=0.6)
    hint = f"did you mean '{close[0]}'?" if close else f"symbols: {', '.join(prices.symbols[:8])} …"
    return f"the prices '{prices.name}' have no symbol '{symbol}' ({hint})"


def _panel(checked: Mapping[str, pd.DataFrame], prices: Prices, options: SignalOptions, name: str) -> Signals:
    dates = pd.DatetimeIndex(
        np.unique(np.concatenate([cells["date"].to_numpy() for cells in checked.values()]))
    )
    values = np.full((len(dates), len(prices.symbols), len(checked)), np.nan)
    symbols = pd.Index(prices.symbols)
    for index, cells in enumerate(checked.values()):
        rows, columns = (
            dates.get_indexer(pd.Index(cells["date"])),
            symbols.get_indexer(pd.Index(cells["symbol"])),
        )
        values[rows, columns, index] = cells["value"].to_numpy()
    return Signals(name, dates, prices.symbols, options.parity, values, options.lag, options.carry)


def _without_values(signals: Signals) -> list[str]:
    """Return the symbols of which a column has no value at all."""
    missing = ~np.isfinite(signals.values).any(axis=0)
    return [symbol for symbol, gone in zip(signals.symbols, missing.any(axis=1), strict=True) if gone]


def signal_lines(details: Mapping[str, Any], signals: Signals) -> Iterator[str]:
    """Yield the lines of the result of an import."""
    parities = ", ".join(
        f"{column} {'odd' if sign < 0 else 'even'}" for column, sign in signals.parity.items()
    )
    yield f"signals  {parities}; lag {signals.lag}, carried {signals.carry} sessions"
    yield (
        f"stamps   {len(signals.dates)}, {signals.dates[0].date()} to {signals.dates[-1].date()}; values for "
        f"{details['coverage']:.1%} of the sessions and symbols of {details['prices']['name']}"
    )
    if details["without_values"]:
        yield f"note     without values: {', '.join(details['without_values'])}; they count as neutral"
    yield from (f"repaired {entry['repair']}: {entry['count']} changes" for entry in details["repairs"])
    ignored = dict.fromkeys(name for file in details["provider"]["files"] for name in file["ignored"])
    if ignored:
        yield f"ignored  {', '.join(ignored)}"
