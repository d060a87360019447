"""Tables of Parquet files, with their index as columns."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.readers.columns import field_of, role_of
from data.readers.source_table import SourceTable


def read_parquet(content: bytes, name: str) -> SourceTable:
    """Return the rows of a Parquet file. Raises `DataError` if the file is damaged or has no row."""
    import pyarrow

    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, pyarrow.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{name}: the Parquet file is cut short or damaged ({reason})") from error
    if not isinstance(frame.index, pd.RangeIndex):
        unnamed = all(level is None for level in frame.index.names)
        dated = any(role_of(str(column)) == "date" for column in frame.columns)
        if unnamed and not dated:
            frame.index.name = "date"
        # An index without a name beside a column of dates only numbers the rows.
        frame = frame.reset_index(drop=unnamed and dated)
    if isinstance(frame.columns, pd.MultiIndex):
        frame.columns = pd.Index([_pair_name(column) for column in frame.columns])
    frame.columns = pd.Index([str(column) for column in frame.columns])
    if frame.empty:
        raise DataError(f"{name}: there is no row")
    return SourceTable(frame, np.arange(1, len(frame) + 1), "row")


def _pair_name(column: tuple[Any, ...]) -> str:
    parts = [str(part) for part in column if str(part)]
    if len(parts) != 2:
        return "_".join(parts)
    field_first = field_of(parts[0]) is not None
    return f"{parts[1]}|{parts[0]}" if field_first else f"{parts[0]}|{parts[1]}"
