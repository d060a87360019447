"""Conversion between the long form of prices (one row per date and symbol) and the panel form (one array per field)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import FIELDS


def pivot(
    frame: pd.DataFrame, name: str, symbols: Iterable[str] | None = None
) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Turn a long frame into (dates [T], symbols [N], field → float64 [T, N]); NaN where there is no row.

    Raises `DataError` if a column is missing or unknown, a date or symbol is empty, or a (date, symbol) occurs twice.
    """
    for column in ("date", "symbol", "close"):
        if column not in frame.columns:
            raise DataError(f"{name}: no column '{column}' (columns: {', '.join(map(str, frame.columns))})")
    unknown = [column for column in frame.columns if column not in (*FIELDS, "date", "symbol")]
    if unknown:
        raise DataError(f"{name}: unknown column '{unknown[0]}' (known: date, symbol, {', '.join(FIELDS)})")
    days = pd.DatetimeIndex(frame["date"]).to_numpy().astype("datetime64[ns]")
    if len(days) == 0:
        raise DataError(f"{name}: no rows")
    codes, found = pd.factorize(frame["symbol"])
    if np.isnat(days).any() or (codes < 0).any():
        row = int(np.argmax(np.isnat(days) | (codes < 0)))
        raise DataError(f"{name}: row {row} lacks its date or symbol")
    seen = [str(symbol) for symbol in found]
    values = {
        field: frame[field].to_numpy(dtype=np.float64, na_value=np.nan)
        for field in FIELDS
        if field in frame.columns
    }
    order = seen if symbols is None else list(symbols)
    dates, arrays = arrange(name, days, codes, seen, values, order)
    return dates, order, arrays


def arrange(
    name: str,
    days: np.ndarray,
    codes: np.ndarray,
    seen: list[str],
    values: Mapping[str, np.ndarray],
    order: Iterable[str],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the dates, and the values of rows in arrays [T, N] with columns in `order`, the symbols in another order.

    `days` and `codes` are the date of each row and its symbol as a position in `seen`; `values` are field → value of
    each row, all [rows].

    Raises `DataError` if `order` holds other symbols, or a (date, symbol) occurs twice.
    """
    wanted = list(order)
    if sorted(wanted) != sorted(seen):
        differing = sorted(set(wanted) ^ set(seen))
        raise DataError(f"{name}: symbols differ from those expected: {', '.join(differing[:5])}")
    position = {symbol: index for index, symbol in enumerate(wanted)}
    columns = np.array([position[symbol] for symbol in seen])[codes]
    # factorize hashes, np.unique sorts: several times slower on millions of rows.
    first_seen, found = pd.factorize(days)
    sorting = np.argsort(found)
    rank = np.empty(len(found), dtype=np.intp)
    rank[sorting] = np.arange(len(found))
    dates = np.asarray(found)[sorting]
    cells = rank[first_seen] * len(wanted) + columns
    _check_unique(cells, dates, wanted, name)
    arrays = {}
    for field, column in values.items():
        array = np.full(len(dates) * len(wanted), np.nan)
        array[cells] = column
        arrays[field] = array.reshape(len(dates), len(wanted))
    return dates, arrays


def _check_unique(cells: np.ndarray, dates: np.ndarray, order: list[str], name: str) -> None:
    counts = np.bincount(cells, minlength=1)
    if counts.max() > 1:
        row, column = divmod(int(np.argmax(counts > 1)), len(order))
        day = np.datetime_as_string(dates[row], unit="D")
        raise DataError(f"{name}: {order[column]} has {int(counts.max())} rows on {day}")


def present_cells(fields: Mapping[str, pd.DataFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Return (column, row) of the cells that get a row in the long form, ordered by symbol, then date.

    These are the cells with at least one value, and one cell of each date and symbol without any value, so that no
    date and no symbol is lost.
    """
    kept = np.zeros(fields["close"].shape, dtype=bool)
    for frame in fields.values():
        kept |= ~np.isnan(frame.to_numpy())
    kept[~kept.any(axis=1), 0] = True
    kept[0, ~kept.any(axis=0)] = True
    columns, rows = np.nonzero(kept.T)
    return columns, rows


def melt(dates: pd.DatetimeIndex, symbols: Sequence[str], fields: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Turn a panel into a long frame, ordered by symbol, then date."""
    columns, rows = present_cells(fields)
    names = np.array(symbols, dtype=object)[columns]
    data: dict[str, object] = {"date": dates[rows], "symbol": pd.Series(names, dtype="str")}
    for field, frame in fields.items():
        data[field] = frame.to_numpy().T[columns, rows]
    return pd.DataFrame(data)
