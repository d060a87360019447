"""Tests of the checks of values, rows and ranges."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from data import DataError, Prices, load_prices
from data.quality.checks import check_table, validate
from data.quality.findings import ERRORS, WARNINGS
from tests.data.quality.tables import MESSY, kinds, table


def test_clean_prices_have_no_findings(make_prices: Callable[..., Prices]) -> None:
    report = validate(make_prices(0, 250, 3))
    assert report.findings == ()
    assert report.calendar == "XNYS"


def test_close_outside_the_range_of_the_day() -> None:
    report = check_table(
        table([("2024-01-02", "A", 1.0, 2.0, 0.5, 2.5, 1), ("2024-01-03", "A", 1.0, 2.0, 0.5, 2.0, 1)]),
        calendar="none",
    )
    assert kinds(report) == {"outside-range": 1}
    assert "high 2, low 0.5, close 2.5" in report.findings[0].message
    assert report.findings[0].place == "t.csv line 2"


def test_every_kind_of_error_is_found_at_once() -> None:
    report = check_table(table(MESSY), calendar="XNYS")
    assert kinds(report) == {
        "missing-symbol": 1,
        "unsorted": 1,
        "duplicate": 1,
        "non-finite": 1,
        "non-positive": 2,
        "high-below-low": 1,
        "not-a-session": 1,
    }
    assert len(report.errors) == 7
    assert set(report.counts()) <= {*ERRORS, *WARNINGS}
    frame = report.to_frame()
    assert list(frame.columns) == ["kind", "severity", "place", "symbol", "date", "message"]
    assert (frame["severity"] == "warning").sum() == 1
    with pytest.raises(DataError, match=r"t\.csv line 8.*t\.csv line 4.*\[1 missing-symbol, 1 duplicate, "):
        report.raise_errors("messy")


def test_bundled_prices_have_no_errors() -> None:
    assert validate(load_prices("factors-5")).findings == ()
    report = validate(load_prices("sp500-20", start="2000-01-01"))
    assert report.errors == ()
    assert report.calendar == "XNYS"
    assert "missing-session" not in report.counts()
