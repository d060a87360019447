"""Raw tables and panels for the tests of checks and repairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from data import Prices
from data.quality.raw_table import RawTable, with_places

Rows = list[tuple[Any, ...]]


def table(rows: Rows, columns: str = "date symbol open high low close volume") -> RawTable:
    frame = pd.DataFrame(rows, columns=columns.split())
    frame["date"] = pd.to_datetime(frame["date"])
    frame["symbol"] = frame["symbol"].astype(object)
    for name in frame.columns[2:]:
        frame[name] = frame[name].astype(float)
    return RawTable(with_places(frame, "t.csv", np.arange(2, len(frame) + 2)))


def closes(dates: pd.DatetimeIndex, values: Any, **others: Any) -> Prices:
    frame = pd.DataFrame(np.asarray(values, dtype=float)[:, None], dates, ["A"])
    fields = {name: pd.DataFrame(np.asarray(v)[:, None], dates, ["A"]) for name, v in others.items()}
    return Prices.from_frames("x", close=frame, **fields)


def walk(length: int, seed: int = 0) -> np.ndarray:
    return 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, length)))


def kinds(report: Any) -> dict[str, int]:
    return dict(report.counts())


MESSY: Rows = [
    ("2024-01-03", "A", 1.0, 1.2, 0.9, 1.1, 10),
    ("2024-01-02", "A", 1.0, 1.2, 0.9, 1.0, 10),
    ("2024-01-02", "A", 1.0, 1.2, 0.9, 1.05, 10),
    ("2024-01-04", "A", 0.0, 1.2, 0.9, 1.0, -10),
    ("2024-01-05", "A", 1.0, 0.2, 0.9, np.inf, 10),
    ("2024-01-06", "A", 1.0, 1.2, 0.9, 1.0, 10),
    ("2024-01-08", "", 1.0, 1.2, 0.9, 1.0, 10),
    (None, "A", 1.0, 1.2, 0.9, 1.0, 10),
]
