"""Between the long form of prices (one row a date and symbol) and the panel form (one array a field)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from data.errors import DataError

if TYPE_CHECKING:
    from data.prices import Prices


def pivot(
    frame: pd.DataFrame, name: str, symbols: Iterable[str] | None = None
) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Turn a long frame into (dates [T], symbols [N], field → float64 [T, N]); NaN where there is no row.

    Raises
    ------
    DataError
        If a column is missing or unknown, a date or symbol is empty, or a (date, symbol) occurs twice.
    """
    from data.prices import FIELDS

    for column in ("date", "symbol", "close"):
        if column not in frame.columns:
            raise DataError(f"{name}: no column '{column}' (there are {', '.join(map(str, frame.columns))})")
    unknown = [column for column in frame.columns if column not in (*FIELDS, "date", "symbol")]
    if unknown:
        raise DataError(f"{name}: unknown column '{unknown[0]}' (known: date, symbol, {', '.join(FIELDS)})")
    days = pd.DatetimeIndex(frame["date"]).to_numpy().astype("datetime64[ns]")
    dates, rows = np.unique(days, return_inverse=True)
    codes, seen = pd.factorize(frame["symbol"])
    if len(codes) == 0:
        raise DataError(f"{name}: there is no row")
    if np.isnat(dates).any() or (codes < 0).any():
        row = int(np.argmax(np.isnat(days) | (codes < 0)))
        raise DataError(f"{name}: row {row} lacks its date or symbol")
    order = [str(symbol) for symbol in seen]
    if symbols is not None:
        wanted = list(symbols)
        if sorted(wanted) != sorted(order):
            differing = sorted(set(wanted) ^ set(order))
            raise DataError(f"{name}: symbols differ from those expected: {', '.join(differing[:5])}")
        position = {symbol: index for index, symbol in enumerate(wanted)}
        codes = np.array([position[symbol] for symbol in order])[codes]
        order = wanted
    cells = rows * len(order) + codes
    _check_unique(cells, dates, order, name)
    arrays = {}
    for field in FIELDS:
        if field in frame.columns:
            array = np.full(len(dates) * len(order), np.nan)
            array[cells] = frame[field].to_numpy(dtype=np.float64)
            arrays[field] = array.reshape(len(dates), len(order))
    return dates, order, arrays


def _check_unique(cells: np.ndarray, dates: np.ndarray, order: list[str], name: str) -> None:
    counts = np.bincount(cells, minlength=1)
    if counts.max() > 1:
        row, column = divmod(int(np.argmax(counts > 1)), len(order))
        day = np.datetime_as_string(dates[row], unit="D")
        raise DataError(f"{name}: {order[column]} has {int(counts.max())} rows on {day}")


def melt(prices: Prices) -> pd.DataFrame:
    """Turn a panel into a long frame, ordered by symbol, then date; see `Prices.to_long`."""
    arrays = {field: frame.to_numpy() for field, frame in prices.fields.items()}
    length, width = len(prices.dates), len(prices.symbols)
    kept = np.zeros((length, width), dtype=bool)
    for array in arrays.values():
        kept |= ~np.isnan(array)
    kept[~kept.any(axis=1), 0] = True
    # A symbol without any value keeps one empty row as well.
    kept[0, ~kept.any(axis=0)] = True
    columns, rows = np.nonzero(kept.T)
    data: dict[str, object] = {
        "date": prices.dates[rows],
        "symbol": pd.Categorical.from_codes(columns, categories=list(prices.symbols)).astype(object),
    }
    for field, array in arrays.items():
        data[field] = array.T[columns, rows]
    return pd.DataFrame(data)
