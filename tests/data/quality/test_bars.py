"""Tests of several rows for one date: duplicates, intraday bars, and the latest price below a day's row."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data import DataError, load_prices
from data.cli import app
from data.quality.pipeline import CheckOptions
from data.readers.files import read_prices
from tests.data.quality.tables import kinds

Write = Callable[..., Path]
AGGREGATE = CheckOptions(repair=("aggregate-days",))


def test_intraday_bars_are_refused_with_the_advice_to_aggregate(cases: Path) -> None:
    with pytest.raises(DataError, match=r"AAPL 2024-01-02: 6 rows for one day from 10:00 to 15:00") as caught:
        read_prices([cases / "intraday.csv"])
    assert "--repair aggregate-days" in str(caught.value)
    assert "keep-" not in str(caught.value)


def test_advice_to_aggregate_is_followed(cases: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = ["import", str(cases / "intraday.csv"), "--name", "hours", "--home", str(home)]
    assert isinstance(CliRunner().invoke(app, command).exception, DataError)
    result = CliRunner().invoke(app, [*command, "--repair", "aggregate-days"])
    assert result.exit_code == 0, result.output
    prices = load_prices("hours", home=home)
    bars = pd.read_csv(cases / "intraday.csv", parse_dates=["Datetime"])
    days = bars.groupby(bars["Datetime"].dt.normalize())
    for field, expected in {
        "open": days["Open"].first(),
        "high": days["High"].max(),
        "low": days["Low"].min(),
        "close": days["Close"].last(),
        "volume": days["Volume"].sum(),
    }.items():
        np.testing.assert_array_equal(prices.fields[field]["AAPL"], expected)
    assert prices.fields["open"].iloc[0, 0] == 100.0
    text = "first open, highest high, lowest low, last close, sum of volume"
    assert f"Daily bars are joined from intraday bars: {text}." in result.stdout
    assert f"Daily bars are joined from intraday bars: {text}." in prices.notes


@pytest.mark.parametrize("repair", ["keep-first", "keep-last"])
def test_keeping_one_row_makes_no_daily_bars(cases: Path, repair: str) -> None:
    with pytest.raises(DataError, match="intraday bars"):
        read_prices([cases / "intraday.csv"], checks=CheckOptions(repair=(repair,)))


@pytest.mark.parametrize("order", ["newest first", "mixed"])
def test_bars_are_joined_by_their_time_whatever_their_order(cases: Path, tmp_path: Path, order: str) -> None:
    frame = pd.read_csv(cases / "intraday.csv")
    frame = frame[::-1] if order == "newest first" else frame.sample(frac=1, random_state=0)
    path = tmp_path / "intraday.csv"
    frame.to_csv(path, index=False)
    repair = ("aggregate-days",) if order == "newest first" else ("sort", "aggregate-days")
    expected = read_prices([cases / "intraday.csv"], checks=AGGREGATE).prices
    assert read_prices([path], checks=CheckOptions(repair=repair)).prices == expected


def test_date_and_time_columns_and_several_symbols(write: Write) -> None:
    rows = [
        f"{symbol},2024010{day},{hour}0000,{price},{price + 1},{price - 1},{price + 0.5},{volume}"
        for symbol, price, volume in (("A", 10, 5), ("B", 100, 0))
        for day in (2, 3)
        for hour in ("09", "10", "11")
    ]
    head = "<TICKER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>"
    prices = read_prices([write("\n".join([head, *rows]))], checks=AGGREGATE).prices
    assert prices.symbols == ("A", "B")
    assert prices.fields["volume"]["A"].tolist() == [15, 15]
    assert prices.fields["high"]["B"].tolist() == [101, 101]


def test_dividends_are_added_and_splits_multiplied(write: Write) -> None:
    path = write(
        "datetime,close,dividends,splits\n"
        "2024-01-02 10:00,100,0,1\n2024-01-02 15:00,100,0,1\n"
        "2024-01-03 10:00,25,1,4\n2024-01-03 15:00,25,1,1\n"
        "2024-01-04 10:00,25,0,1\n2024-01-04 15:00,26,0,1\n"
    )
    prices = read_prices([path], checks=CheckOptions("none", repair=("aggregate-days",))).prices
    assert prices.fields["dividends"].iloc[:, 0].tolist() == [0, 2, 0]
    assert prices.fields["splits"].iloc[:, 0].tolist() == [1, 4, 1]
    assert prices.close.iloc[:, 0].tolist() == [100, 25, 26]


def test_repeated_bars_are_not_added_twice(cases: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(cases / "intraday.csv")
    path = tmp_path / "twice.csv"
    pd.concat([frame[:8], frame[7:]]).to_csv(path, index=False)
    with pytest.raises(DataError, match="a second row for this date"):
        read_prices([path], checks=AGGREGATE)
    both = CheckOptions(repair=("keep-last", "aggregate-days"))
    expected = read_prices([cases / "intraday.csv"], checks=AGGREGATE).prices
    assert read_prices([path], checks=both).prices == expected


def test_latest_price_below_the_last_day_is_a_duplicate(write: Write) -> None:
    path = write(
        "Date,Close,Volume\n2024-01-02 00:00:00,100,10\n2024-01-03 00:00:00,101,10\n"
        "2024-01-04 00:00:00,102,8\n2024-01-04 16:00:01,103,10\n"
    )
    with pytest.raises(
        DataError, match=r"a second row for this date.*--repair keep-first .or --repair keep-last."
    ):
        read_prices([path], checks=CheckOptions("none"))
    result = read_prices([path], checks=CheckOptions("none", repair=("keep-last",)))
    assert result.prices.close.iloc[:, 0].tolist() == [100, 101, 103]
    assert result.prices.fields["volume"].iloc[:, 0].tolist() == [10, 10, 10]
    assert kinds(result.report) == {}
