"""Tests of the import pipeline: accepted errors and empty results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data import DataError
from data.quality.pipeline import CheckOptions, check_and_build
from data.readers.files import read_prices
from tests.data.quality.tables import Rows, table


def test_accepted_errors_are_recorded() -> None:
    rows: Rows = [("2024-01-02", "A", 1.0, 0.5, 0.9, 1.0, 10)]
    with pytest.raises(DataError, match=r"fetch with --repair blank-high-low .or --allow high-below-low."):
        check_and_build(table(rows), "x", {}, CheckOptions("none"))
    result = check_and_build(table(rows), "x", {}, CheckOptions("none", allow=("high-below-low",)))
    assert result.report.summary()["allowed"] == ["high-below-low"]
    assert result.prices.fields["high"].iloc[0, 0] == 0.5


def test_volumes_that_are_zero_throughout_count_as_unknown(cases: Path) -> None:
    prices = read_prices([cases / "mt5.tsv"]).prices
    assert "volume" not in prices.fields
    assert "Volumes that are 0 throughout count as unknown: mt5." in prices.notes
    rows: Rows = [
        (f"2024-01-0{day}", symbol, 1.0, 1.1, 0.9, 1.0, volume if day > 2 else 0)
        for symbol, volume in (("A", 5), ("B", 0))
        for day in (2, 3)
    ]
    volume = check_and_build(table(rows), "x", {}, CheckOptions("none")).prices.fields["volume"]
    np.testing.assert_array_equal(volume, [[0, np.nan], [5, np.nan]])


def test_repairs_that_leave_no_rows_are_refused() -> None:
    rows: Rows = [("2024-01-06", "A", 1.0, 2.0, 0.9, 1.0, 10)]
    with pytest.raises(DataError, match="no rows are left"):
        check_and_build(table(rows), "x", {}, CheckOptions("XNYS", repair=("drop-closed-days",)))
