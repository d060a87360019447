"""Reading and writing the files of a run, with errors that name them."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
