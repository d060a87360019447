"""Tests of column roles: tickers named like fields, and headers of several tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import DataError
from data.quality.pipeline import CheckOptions
from data.readers.files import ReadOptions, read_prices

Write = Callable[..., Path]
NO_CALENDAR = CheckOptions(calendar="none")


def rows(header: str, *levels: float) -> str:
    """Return a table of ten days with prices near these levels."""
    lines = [
        f"2024-01-{day:02d}," + ",".join(f"{level * (1 + 0.002 * (day % 3)):.4f}" for level in levels)
        for day in range(2, 12)
    ]
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize(
    ("case", "symbols"),
    [
        ("tickers-ohlc.csv", ("O", "H", "L", "C", "V", "AAPL", "MSFT")),
        ("tickers-low-open.csv", ("LOW", "OPEN", "AAPL")),
        ("yf-tuple.csv", ("AAPL", "MSFT")),
        ("mt5.tsv", ("mt5",)),
    ],
)
def test_symbols_of_a_file(cases: Path, case: str, symbols: tuple[str, ...]) -> None:
    assert read_prices([cases / case]).prices.symbols == symbols


def test_tuple_headers_name_field_and_symbol(cases: Path) -> None:
    prices = read_prices([cases / "yf-tuple.csv"]).prices
    assert set(prices.fields) == {"open", "high", "low", "close", "volume"}
    assert prices.close["AAPL"].iloc[0] == pytest.approx(186.51250421)


def test_letters_are_fields_where_the_numbers_are_bars(write: Write) -> None:
    path = write(rows("t,o,h,l,c,v", 10, 11, 9, 10.5, 1000).replace("t,", "timestamp,", 1), "X.csv")
    prices = read_prices([path], checks=NO_CALENDAR).prices
    assert prices.symbols == ("X",)
    assert set(prices.fields) == {"open", "high", "low", "close", "volume"}


@pytest.mark.parametrize("layout", ["long", "wide"])
def test_doubtful_tables_are_refused_and_the_advice_settles_them(write: Write, layout: str) -> None:
    path = write(rows("Date,LAST,AAPL,MSFT", 20, 190, 400), "X.csv")
    with pytest.raises(DataError, match=r"'LAST' may be the close.*--layout long, or --layout wide"):
        read_prices([path], checks=NO_CALENDAR)
    prices = read_prices([path], options=ReadOptions(layout=layout), checks=NO_CALENDAR).prices
    assert prices.symbols == (("X",) if layout == "long" else ("LAST", "AAPL", "MSFT"))
    assert prices.close.iloc[0, 0] == pytest.approx(20.08)


def test_open_and_low_without_close_are_refused_and_the_advice_settles_it(write: Write) -> None:
    path = write(rows("Date,LOW,OPEN", 220, 221))
    with pytest.raises(DataError, match=r"no close.*--map close=COLUMN, or write --layout wide"):
        read_prices([path], checks=NO_CALENDAR)
    prices = read_prices([path], options=ReadOptions(layout="wide"), checks=NO_CALENDAR).prices
    assert prices.symbols == ("LOW", "OPEN")


def test_volume_beside_one_price_is_not_a_symbol(write: Write) -> None:
    path = write(rows("Date,AAPL,Volume", 190, 1e6))
    with pytest.raises(DataError, match="no close among Date, AAPL, Volume"):
        read_prices([path], checks=NO_CALENDAR)
    prices = read_prices([path], options=ReadOptions({"close": "AAPL"}), checks=NO_CALENDAR).prices
    assert set(prices.fields) == {"close", "volume"}


@pytest.mark.parametrize(
    ("header", "symbols", "fields"),
    [
        ("Date,PX_LAST", ("X",), {"close"}),
        (
            "Dates,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME",
            ("X",),
            {"open", "high", "low", "close", "volume"},
        ),
        ("Date,AAPL_PX_LAST,MSFT_PX_LAST", ("AAPL", "MSFT"), {"close"}),
        (
            "Date,AAPL US Equity PX_LAST,MSFT US Equity PX_LAST",
            ("AAPL US Equity", "MSFT US Equity"),
            {"close"},
        ),
        ("Date,\"('AAPL', 'Close')\",\"('MSFT', 'Close')\"", ("AAPL", "MSFT"), {"close"}),
        ('Date,"(Close, AAPL)","(Close, BRK-B)"', ("AAPL", "BRK-B"), {"close"}),
    ],
)
def test_headers_of_several_tools(
    write: Write, header: str, symbols: tuple[str, ...], fields: set[str]
) -> None:
    levels = [100, 101, 99, 100, 1000] if "PX_OPEN" in header else [100] * len(symbols)
    prices = read_prices([write(rows(header, *levels), "X.csv")], checks=NO_CALENDAR).prices
    assert prices.symbols == symbols
    assert set(prices.fields) == fields
    assert np.isfinite(prices.close.to_numpy()).all()


def test_quandl_wiki_prices_are_used_with_their_adjusted_columns(cases: Path) -> None:
    path = cases / "quandl-wiki.csv"
    result = read_prices([path])
    prices, source = result.prices, pd.read_csv(path)
    assert prices.symbols == ("AA", "BB")
    assert set(prices.fields) == {
        *("open", "high", "low", "close", "adj_close", "volume"),
        "dividends",
        "splits",
    }
    assert result.source["files"][0]["columns"]["dividends"] == "ex-dividend"
    for field in ("open", "high", "low", "close"):
        expected = source.pivot(index="date", columns="ticker", values=f"adj_{field}")
        np.testing.assert_allclose(prices.adjusted(field), expected, rtol=1e-12)
    assert prices.fields["splits"]["AA"].iloc[4] == 2.0
    assert prices.fields["dividends"]["AA"].iloc[6] == 0.5


def test_adjusted_columns_alone_are_prices(cases: Path, write: Write) -> None:
    source = pd.read_csv(cases / "quandl-wiki.csv")
    adjusted = [f"adj_{field}" for field in ("open", "high", "low", "close", "volume")]
    path = write(source[["ticker", "date", "open", *adjusted]].to_csv(index=False))
    prices = read_prices([path]).prices
    assert set(prices.fields) == {"open", "high", "low", "close", "volume"}
    for field in prices.fields:
        expected = source.pivot(index="date", columns="ticker", values=f"adj_{field}")
        np.testing.assert_array_equal(prices.fields[field], expected)
    assert any("adjusted" in note for note in prices.notes)
