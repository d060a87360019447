"""`load_prices`: one door to bundled datasets, snapshots and files."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from data.errors import DataError
from data.fields import DateLike
from data.prices import Prices


def load_prices(
    name_or_path: str | Path,
    *,
    home: Path | None = None,
    start: DateLike | None = None,
    end: DateLike | None = None,
    symbols: Iterable[str] | None = None,
) -> Prices:
    """Load prices by name or path.

    Parameters
    ----------
    name_or_path
        A bundled dataset (``sp500-20``, ``factors-5``, ``sp500-index-ohlc``), a snapshot in
        ``<home>/data/`` (``NAME`` for the newest version, ``NAME@2`` for a given one), or the path of a CSV
        or Parquet file; looked for in this order.
    home
        Where snapshots live; by default `home_directory()`.
    start, end
        First and last date, both included.
    symbols
        Keep these symbols, in this order.

    Raises
    ------
    DataError
        If there is nothing of that name, a snapshot is corrupted, a file does not pass validation, a symbol
        is unknown or the range holds no session.
    """
    prices = _load(name_or_path, home)
    if symbols is not None:
        prices = prices.select(symbols)
    return prices.between(start, end)


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
        f"(there are {', '.join(known)}){hint}"
    )
