"""Parquet files of panels in long form: date, symbol and one column per field."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import FIELDS
from data.panel import arrange, present_cells
from data.prices import Prices


def write_panel(prices: Prices, path: Path) -> str:
    """Write a panel as long Parquet, ordered by symbol, then date; return the SHA-256 (hex) of the file."""
    import pyarrow
    import pyarrow.parquet

    columns, rows = present_cells(prices.fields)
    days = prices.dates.to_numpy().astype("datetime64[D]")
    codes = pyarrow.array(columns.astype(np.int32))
    table: dict[str, Any] = {
        "date": pyarrow.array(days[rows]),
        "symbol": pyarrow.DictionaryArray.from_arrays(codes, list(prices.symbols)),
    }
    for field, frame in prices.fields.items():
        values = frame.to_numpy().T[columns, rows]
        table[field] = pyarrow.array(values, mask=np.isnan(values))
    pyarrow.parquet.write_table(pyarrow.table(table), path, compression="zstd")
    return file_digest(path)


def read_panel(
    path: Path, name: str, *, symbols: Iterable[str], notes: Iterable[str], file_sha256: str
) -> Prices:
    """Read a panel from a file of `write_panel`.

    Raises `DataError` if the SHA-256 of the file is another one, or the file is not such a table.
    """
    import pyarrow

    order = tuple(symbols)
    try:
        # Hashing and decoding both release the GIL, so the check adds little time.
        with ThreadPoolExecutor(max_workers=1) as pool:
            digest = pool.submit(file_digest, path)
            try:
                dates, arrays = _read_arrays(path, name, order)
            finally:
                found = digest.result()
    except (OSError, pyarrow.ArrowException, DataError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: the snapshot is corrupted ({reason}); import or fetch it again") from error
    if found != file_sha256:
        raise DataError(
            f"{path}: the snapshot is corrupted: the file's SHA-256 is {found[:12]}…, its manifest says "
            f"{file_sha256[:12]}…; import or fetch it again"
        )
    index = pd.DatetimeIndex(dates)
    frames = {field: pd.DataFrame(array, index, list(order), copy=False) for field, array in arrays.items()}
    return Prices(name, index, order, frames, tuple(notes))


def file_digest(path: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_arrays(path: Path, name: str, symbols: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path, read_dictionary=["symbol"])
    days = table["date"].to_numpy().astype("datetime64[D]")
    names = table["symbol"].unify_dictionaries().combine_chunks()
    if isinstance(names, pyarrow.ChunkedArray):
        names = names.chunk(0)
    codes = names.indices.to_numpy()
    seen = [str(symbol) for symbol in names.dictionary.to_pylist()]
    fields = [field for field in FIELDS if field in table.column_names]
    values = {field: table[field].to_numpy() for field in fields}
    length, width = len(days) // max(len(seen), 1), len(seen)
    if tuple(seen) == symbols and length * width == len(days) and _is_rectangle(days, codes, length, width):
        return days[:length], {field: array.reshape(width, length).T for field, array in values.items()}
    dates, arrays = arrange(name, days, codes, seen, values, symbols)
    return dates, arrays


def _is_rectangle(days: np.ndarray, codes: np.ndarray, length: int, width: int) -> bool:
    first = days[:length]
    return (
        bool((np.diff(first) > np.timedelta64(0)).all())
        and bool((days.reshape(width, length) == first).all())
        and bool((codes.reshape(width, length) == np.arange(width)[:, None]).all())
    )
