"""Loading of prices by name or path: bundled datasets, snapshots and files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import DataError
from data.fields import DateLike
from data.prices import Prices

if TYPE_CHECKING:
    from data.quality.findings import Report
    from data.readers.files import ReadOptions

__all__ = ["load_prices", "validate_named"]


def load_prices(
    name_or_path: str | Path,
    *,
    home: Path | None = None,
    start: DateLike | None = None,
    end: DateLike | None = None,
    symbols: Iterable[str] | None = None,
    signals: Iterable[str] = (),
) -> Prices:
    """Load prices by name or path.

    Parameters
    ----------
    name_or_path
        A bundled dataset (``sp500-20``, ``factors-5``, ``sp500-index-ohlc``, ``industries``), a snapshot in
        ``<home>/data/`` (``NAME`` for the newest version, ``NAME@2`` for version 2), or the path of a file; searched in
        this order.
    home
        State directory; `home_directory()` by default.
    start, end
        First and last date, both included.
    symbols
        Select these symbols, in this order.
    signals
        Signals of one's own to put beside them, ``NAME`` for the newest version or ``NAME@2``.

    Raises
    ------
    DataError
        If there is nothing of that name, a snapshot is corrupted, a file does not pass validation, a symbol is unknown
        or the range has no session.
    """
    from data.signals.store import with_signals

    prices = _load(name_or_path, home)
    if symbols is not None:
        prices = prices.select(symbols)
    return with_signals(prices, signals, home).between(start, end)


def validate_named(
    name_or_path: str | Path,
    *,
    home: Path | None = None,
    options: ReadOptions | None = None,
    calendar: str = "auto",
) -> Report:
    """Check a bundled dataset, a snapshot or a file; a file is checked as it stands, also where it cannot be imported.

    Parameters
    ----------
    name_or_path, home
        As in `load_prices`.
    options
        How to read a file.
    calendar
        A code of exchange_calendars, ``auto`` or ``none``.

    Raises
    ------
    DataError
        If there is nothing of that name, or a file cannot be read at all.
    """
    from data.providers.bundled import bundled_names
    from data.quality.adjustment import add_adjusted_closes
    from data.quality.advice import Refusal
    from data.quality.checks import check_table, oldest_first, validate
    from data.readers.files import ReadOptions, read_prices, read_table
    from data.snapshots.store import SnapshotStore

    name = str(name_or_path)
    if name not in bundled_names() and not SnapshotStore(home).has(name) and Path(name).is_file():
        try:
            table, _ = read_table([name], options or ReadOptions())
        except Refusal:
            read_prices([name], options=options)  # refused with advice
            raise
        table, notes = add_adjusted_closes(oldest_first(table))
        return replace(check_table(table, calendar=calendar), notes=tuple(notes))
    return validate(load_prices(name, home=home), calendar=calendar)


def _load(name_or_path: str | Path, home: Path | None) -> Prices:
    from data.providers.bundled import bundled_names, load_bundled
    from data.snapshots.store import SnapshotStore

    name = str(name_or_path)
    if name in bundled_names():
        return load_bundled(name)
    store = SnapshotStore(home)
    if store.has(name):
        return store.load(name)
    path = Path(name_or_path)
    if path.is_file():
        from data.readers.files import read_prices

        return read_prices([path]).prices
    known = [*bundled_names(), *store.names()]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise DataError(
        f"no bundled dataset, snapshot in {store.directory} or file is called '{name}' "
        f"(available: {', '.join(known)}){hint}"
    )
