"""Tests of the import pipeline: accepted errors and empty results."""

from __future__ import annotations

import pytest

from data import DataError
from data.quality.pipeline import CheckOptions, check_and_build
from tests.data.quality.tables import Rows, table


def test_accepted_errors_are_recorded() -> None:
    rows: Rows = [("2024-01-02", "A", 1.0, 0.5, 0.9, 1.0, 10)]
    with pytest.raises(DataError, match="--repair blank-high-low or --allow high-below-low"):
        check_and_build(table(rows), "x", {}, CheckOptions("none"))
    result = check_and_build(table(rows), "x", {}, CheckOptions("none", allow=("high-below-low",)))
    assert result.report.summary()["allowed"] == ["high-below-low"]
    assert result.prices.fields["high"].iloc[0, 0] == 0.5


def test_repairs_that_leave_no_rows_are_refused() -> None:
    rows: Rows = [("2024-01-06", "A", 1.0, 2.0, 0.9, 1.0, 10)]
    with pytest.raises(DataError, match="no rows are left"):
        check_and_build(table(rows), "x", {}, CheckOptions("XNYS", repair=("drop-closed-days",)))
