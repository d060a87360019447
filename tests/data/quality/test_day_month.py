"""Tests of dates of which a spreadsheet exchanged day and month."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import DataError
from data.quality.checks import check_table
from data.quality.day_month import exchanged
from data.quality.pipeline import CheckOptions, check_and_build
from data.readers.files import read_prices
from tests.data.quality.tables import kinds, table, walk

SWAP = CheckOptions("auto", repair=("swap-day-month",))


def long(days: pd.DatetimeIndex, symbols: tuple[str, ...] = ("A",)) -> Any:
    values = walk(len(days))
    return table(
        [(day, name, value) for name in symbols for day, value in zip(days, values, strict=True)],
        "date symbol close",
    )


def test_mangled_file_is_refused_and_the_repair_puts_it_right(cases: Path) -> None:
    path = cases / "excel-mangled.csv"
    with pytest.raises(
        DataError, match=r"line 2: day and month are exchanged.*--repair swap-day-month"
    ) as caught:
        read_prices([path])
    assert "unsorted" not in str(caught.value)
    result = read_prices([path], checks=SWAP)
    truth = pd.bdate_range("2024-01-02", "2024-02-12")
    assert list(result.prices.dates) == list(truth)
    assert result.repairs[0]["count"] == 16
    assert result.repairs[0]["changes"][0] == "excel-mangled.csv line 2: AAPL 2024-02-01: date → 2024-01-02"
    assert result.report.errors == ()


def test_sorting_does_not_spread_mangled_dates(cases: Path) -> None:
    with pytest.raises(DataError, match="day and month are exchanged"):
        read_prices([cases / "excel-mangled.csv"], checks=CheckOptions(repair=("sort",)))


@pytest.mark.parametrize("symbols", [("A",), ("A", "B")])
@pytest.mark.parametrize("order", ["as mangled", "newest first", "sorted afterwards"])
def test_dates_in_one_format_are_recognised_too(sessions: Any, order: str, symbols: tuple[str, ...]) -> None:
    truth = sessions("2023-01-03", "2024-12-31")
    mangled = long(pd.DatetimeIndex(exchanged(truth.to_numpy())), symbols)
    frame = mangled.frame
    if order == "newest first":
        frame = frame.iloc[::-1].reset_index(drop=True)
    elif order == "sorted afterwards":
        frame = frame.sort_values(["symbol", "date"]).reset_index(drop=True)
    mangled = type(mangled)(frame)
    assert set(kinds(check_table(mangled))) == {"exchanged-dates"}
    repaired = check_and_build(mangled, "x", {}, CheckOptions("XNYS", repair=("swap-day-month", "sort")))
    assert list(repaired.prices.dates) == list(truth)
    np.testing.assert_array_equal(repaired.prices.close["A"], walk(len(truth)))


@pytest.mark.parametrize(
    "days",
    [
        pd.bdate_range("2024-01-02", "2024-12-31"),
        pd.date_range("2024-01-01", "2024-12-31"),
        pd.date_range("2010-01-01", "2020-01-01", freq="W-FRI"),
        pd.date_range("2010-01-01", "2020-01-01", freq="MS"),
        pd.date_range("2010-01-01", "2020-01-01", freq="ME"),
        pd.date_range("2023-01-01", "2023-12-01", freq="MS").delete(4),
        pd.bdate_range("2024-01-02", "2024-12-31")[::7],
        pd.bdate_range("2024-03-01", "2024-06-28").delete(slice(20, 60)),
    ],
)
def test_true_dates_are_not_suspected(days: pd.DatetimeIndex) -> None:
    assert "exchanged-dates" not in kinds(check_table(long(days)))


def test_two_formats_in_a_regular_calendar_are_read_as_written(write: Any) -> None:
    days = pd.bdate_range("2024-01-02", "2024-02-29")
    text = "".join(
        f"{day:%Y-%m-%d},{value}\n" if day.day <= 12 else f"{day:%d/%m/%Y},{value}\n"
        for day, value in zip(days, walk(len(days)), strict=True)
    )
    assert list(read_prices([write("Date,Close\n" + text)]).prices.dates) == list(days)


def test_the_repair_refuses_dates_that_it_does_not_put_right(write: Any) -> None:
    path = write("Date,Close\n2024-02-01,1\n2024-07-01,2\n2024-03-05,3\n15/01/2024,4\n")
    with pytest.raises(DataError, match=r"two formats.*write the dates in one format"):
        read_prices([path])
    with pytest.raises(DataError, match="swap-day-month: exchanging day and month"):
        read_prices([path], checks=SWAP)
