"""Tests of headers below lines of text, in CSV files and in Excel workbooks, and of the sheets of workbooks."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest
from typer.testing import CliRunner

from data import DataError, Prices, load_prices
from data.cli import app
from data.quality.pipeline import CheckOptions
from data.readers.files import ReadOptions, read_prices

Write = Callable[..., Path]
NO_CALENDAR = CheckOptions(calendar="none")
TABLE = "Date,Open,Close\n2024-01-02,1.5,1.6\n2024-01-03,1.6,1.7\n"


@pytest.mark.parametrize(
    "above",
    [
        "",
        "Apple Inc.\n",
        "Symbol: AAPL\nExported 2024-05-01\n\n",
        "Apple Inc., daily prices, in dollars\n",
        "Symbol,AAPL\nExported,2024-05-01\n",
        "Exported,2024-05-01,10:00\n",
        "Apple Inc.,,\n,,\n",
        "# a\n" * 18,
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_header_is_found_below_lines_of_text(write: Write, above: str, delimiter: str) -> None:
    table = TABLE.replace(",", delimiter)
    if delimiter == ";":
        table = table.replace(".", ",")
    result = read_prices([write(above + table)], checks=NO_CALENDAR)
    assert result.prices.close.iloc[:, 0].tolist() == [1.6, 1.7]
    assert result.prices.fields["open"].iloc[:, 0].tolist() == [1.5, 1.6]
    assert result.source["files"][0]["skipped"] == above.count("\n")


def test_lines_of_findings_count_the_lines_above_the_header(write: Write) -> None:
    path = write("Apple Inc.\n\n" + TABLE + "2024-01-04,1.7,0\n")
    with pytest.raises(DataError, match=r"file\.csv line 6: file 2024-01-04: close is 0"):
        read_prices([path], checks=NO_CALENDAR)


def test_skip_rows_says_where_the_header_is(write: Write) -> None:
    path = write("Date,Open,Close,of Apple\n" + TABLE)
    options = ReadOptions(skip_rows=1)
    assert len(read_prices([path], options=options, checks=NO_CALENDAR).prices) == 2


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def bars(prices: Prices) -> list[list[Any]]:
    frame = prices.to_long()
    dates = [date.to_pydatetime() for date in frame["date"]]
    frame = frame.astype(object).assign(date=dates)
    return [list(frame.columns), *frame.to_numpy().tolist()]


def test_workbook_is_read_like_the_csv_file_of_the_same_cells(tmp_path: Path, make_prices: Any) -> None:
    prices: Prices = make_prices(3, 30, 3)
    notes = [["Prices of three symbols"], ["from", "somewhere"], []]
    path = workbook(tmp_path / "book.xlsx", Readme=[["Nothing here"]], Prices=[*notes, *bars(prices)])
    result = read_prices([path])
    # openpyxl writes 16 digits.
    for field, frame in prices.fields.items():
        pd.testing.assert_frame_equal(result.prices.fields[field], frame, rtol=1e-14)
    assert result.source["files"][0]["skipped"] == 3


def test_wide_sheet_with_gaps_and_text(tmp_path: Path) -> None:
    day = datetime.datetime
    rows = [
        ["Date", "AAPL", "MSFT", None],
        [day(2024, 1, 2), 100, "$ 200.50", None],
        [day(2024, 1, 3), None, "201.5", None],
        [None, None, None, None],
        [day(2024, 1, 4), 101.25, "n/a", None],
    ]
    prices = read_prices([workbook(tmp_path / "wide.xlsx", Sheet1=rows)], checks=NO_CALENDAR).prices
    assert prices.close["AAPL"].dropna().tolist() == [100, 101.25]
    assert prices.close["MSFT"].dropna().tolist() == [200.5, 201.5]


def test_dates_without_a_date_format_are_numbers_of_days(tmp_path: Path, write: Write) -> None:
    path = workbook(tmp_path / "numbers.xlsx", Sheet1=[["Date", "Close"], [45293, 1.5], [45294, 1.6]])
    for file in (path, write("Date,Close\n45293,1.5\n45294,1.6\n")):
        dates = read_prices([file], checks=NO_CALENDAR).prices.dates
        assert [str(date.date()) for date in dates] == ["2024-01-02", "2024-01-03"]


def test_places_are_rows_of_the_sheet(tmp_path: Path) -> None:
    rows = [
        ["Title"],
        ["Date", "Close"],
        [datetime.datetime(2024, 1, 2), 1.0],
        [datetime.datetime(2024, 1, 3), 0],
    ]
    with pytest.raises(DataError, match=r"bad\.xlsx row 4: bad 2024-01-03: close is 0"):
        read_prices([workbook(tmp_path / "bad.xlsx", Sheet1=rows)], checks=NO_CALENDAR)


def test_intraday_times_of_a_sheet_are_read(tmp_path: Path) -> None:
    rows = [["Date", "Close"], *([datetime.datetime(2024, 1, 2, hour), float(hour)] for hour in (10, 11, 12))]
    path = workbook(tmp_path / "hours.xlsx", Sheet1=rows)
    with pytest.raises(DataError, match="3 rows for one day from 10:00 to 12:00"):
        read_prices([path], checks=NO_CALENDAR)


def test_advice_to_choose_a_sheet_is_followed(tmp_path: Path) -> None:
    def rows(price: float) -> list[list[Any]]:
        return [["Date", "Close"], *([datetime.datetime(2024, 1, day), price + day] for day in (2, 3, 4))]

    path = workbook(tmp_path / "book.xlsx", AAPL=rows(100), MSFT=rows(200), Notes=[["text"]])
    command = ["import", str(path), "--name", "m", "--home", str(tmp_path / "home")]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, DataError)
    assert str(error) == (
        "book.xlsx: 2 of the sheets AAPL, MSFT, Notes have prices; to continue, import with --sheet AAPL, or --sheet "
        "MSFT"
    )
    result = CliRunner().invoke(app, [*command, "--sheet", "MSFT", "--symbol", "MSFT"])
    assert result.exit_code == 0, result.output
    assert load_prices("m", home=tmp_path / "home").close["MSFT"].tolist() == [202, 203, 204]
    with pytest.raises(DataError, match=r"no sheet 'X' \(sheets: AAPL, MSFT, Notes\)"):
        read_prices([path], options=ReadOptions(sheet="X"))


def test_sheet_with_some_dates_exchanged_and_others_as_text_is_put_right(tmp_path: Path) -> None:
    # Day first in the file, month first in the spreadsheet: 2 January became 1 February.
    rows = [
        [datetime.datetime(2024, day, 1) if day <= 12 else f"{day}/01/2024", 100 + day]
        for day in (2, 3, 4, 5, 8, 9, 10, 11, 12, 15, 16, 17, 18)
    ]
    path = workbook(tmp_path / "mangled.xlsx", Sheet1=[["Date", "Close"], *rows])
    with pytest.raises(DataError, match=r"2024-02-01 stands for 2024-01-02.*--repair swap-day-month"):
        read_prices([path], checks=NO_CALENDAR)
    prices = read_prices([path], checks=CheckOptions("none", repair=("swap-day-month",))).prices
    assert [date.day for date in prices.dates] == [2, 3, 4, 5, 8, 9, 10, 11, 12, 15, 16, 17, 18]
    assert set(prices.dates.month) == {1}


def test_files_that_are_no_workbooks_are_refused_in_one_line(tmp_path: Path, write: Write) -> None:
    with zipfile.ZipFile(tmp_path / "kaggle.zip", "w") as archive:
        archive.writestr("prices.csv", TABLE)
    with pytest.raises(DataError, match=r"archive of prices\.csv; unpack it"):
        read_prices([tmp_path / "kaggle.zip"])
    old = tmp_path / "old.xls"
    old.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\x00" * 100)
    with pytest.raises(DataError, match=r"before 2007; save it as \.xlsx or CSV"):
        read_prices([old])
    whole = workbook(
        tmp_path / "whole.xlsx", Sheet1=[["Date", "Close"], [datetime.datetime(2024, 1, 2), 1.0]]
    )
    cut = tmp_path / "cut.xlsx"
    cut.write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(DataError, match="cut short or damaged"):
        read_prices([cut])
    with pytest.raises(DataError, match="only Excel workbooks have sheets; leave --sheet out"):
        read_prices([write(TABLE)], options=ReadOptions(sheet="Sheet1"))


def test_pandas_writes_workbooks_that_are_read(tmp_path: Path, make_prices: Any) -> None:
    prices: Prices = make_prices(3, 30, 3)
    prices.close.to_excel(tmp_path / "wide.xlsx")
    pd.testing.assert_frame_equal(read_prices([tmp_path / "wide.xlsx"]).prices.close, prices.close)
