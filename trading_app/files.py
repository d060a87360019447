"""Reading and writing the files of a run, with errors that name them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from data.errors import DataError


class RunError(DataError):
    """A run that is missing or damaged, or a name that cannot be used; the message names it."""


def read_parquet(path: Path, filters: list[tuple[str, str, str]] | None = None) -> pd.DataFrame:
    """Read a Parquet file, or the rows that pass the filters."""
    try:
        return pd.read_parquet(path, filters=filters)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); backtest the run again") from None


def read_weights(path: Path, symbols: Sequence[str]) -> pd.DataFrame:
    """Read target weights, date × symbol, from a CSV or Parquet file; a symbol without a column has weight 0.

    Raises `DataError` for a file that cannot be read, a first column without dates, a symbol unknown to the prices, or
    text among the weights.
    """
    frame = _read_dated(path, "weights")
    for name in frame.columns:
        if name not in symbols:
            raise DataError(
                f"{path}: {name!r} is no symbol of the prices; they have {', '.join(symbols[:8])}"
            )
    absent = pd.DataFrame(0.0, frame.index, [symbol for symbol in symbols if symbol not in frame.columns])
    absent[frame.isna().all(axis=1)] = float("nan")  # a day without a decision
    return frame.join(absent)[list(symbols)]


def read_returns(path: Path) -> pd.DataFrame:
    """Read simple returns, date × strategy, from a CSV or Parquet file.

    Raises `DataError` for a file that cannot be read, a first column without dates, or text among the returns.
    """
    return _read_dated(path, "returns")


def _read_dated(path: Path, what: str) -> pd.DataFrame:
    """Read a table of numbers whose first column has dates, in order of the dates."""
    try:
        if path.suffix in (".parquet", ".pq"):
            frame = pd.read_parquet(path)
            if not isinstance(frame.index, pd.DatetimeIndex):
                frame = frame.set_index(frame.columns[0])
        else:
            frame = pd.read_csv(path, index_col=0)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: {what} cannot be read ({str(error).splitlines()[0]})") from None
    try:
        index = pd.to_datetime(frame.index, format=None if frame.index.dtype.kind == "M" else "%Y-%m-%d")
    except (ValueError, TypeError):
        raise DataError(
            f"{path}: the first column must have dates as YYYY-MM-DD, got {frame.index[0]!r}"
        ) from None
    for name in frame.columns:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            raise DataError(f"{path}: the {what} of {name} are not all numbers")
    return frame.set_axis(index).sort_index()


def read_groups(path: Path) -> dict[str, str]:
    """Read the group of each symbol from a CSV file with the columns symbol and group.

    Raises `DataError` for a file that cannot be read, without these columns, or with a symbol in two groups.
    """
    try:
        frame = pd.read_csv(path, dtype=str, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: groups cannot be read ({str(error).splitlines()[0]})") from None
    if not {"symbol", "group"} <= set(frame.columns) or frame[["symbol", "group"]].isna().any(axis=None):
        raise DataError(f"{path}: the columns symbol and group are needed, with a group for each symbol")
    twice = frame["symbol"][frame["symbol"].duplicated()]
    if len(twice):
        raise DataError(f"{path}: {twice.iloc[0]} is there twice")
    return dict(zip(frame["symbol"], frame["group"], strict=True))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise RunError(f"{path}: not valid JSON in line {error.lineno}") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: a JSON object is expected, not {type(content).__name__}")
    return content


def read_text(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from None


def to_json(content: Mapping[str, Any]) -> str:
    """Return strict JSON text; NaN is an error."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
