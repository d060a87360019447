"""Tests of dates that are a day off because stamps are in another time zone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import DataError
from data.quality.pipeline import CheckOptions
from data.readers.files import ReadOptions, read_prices
from tests.data.quality.tables import walk


def stamps(zone: str, clock: str, written: str = "UTC") -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Return a year of weekdays, and the stamps that another clock gives to a time of those days."""
    days = pd.bdate_range("2023-01-02", "2023-12-29")
    local = (days + pd.Timedelta(clock)).tz_localize(zone)
    return days, local.tz_convert(written)


@pytest.mark.parametrize("text", ["%Y-%m-%d %H:%M:%S+00:00", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S"])
@pytest.mark.parametrize("zone", ["Asia/Tokyo", "Asia/Hong_Kong", "Australia/Sydney", "Asia/Kolkata"])
def test_utc_stamps_of_eastern_exchanges_are_refused_and_the_advice_dates_them(
    write: Any, zone: str, text: str
) -> None:
    days, utc = stamps(zone, "0h")
    values = walk(len(days))
    path = write(
        "Date,Close\n" + "".join(f"{at.strftime(text)},{v}\n" for at, v in zip(utc, values, strict=True))
    )
    with pytest.raises(DataError, match=rf"Sundays and none on Fridays.*import with --zone {zone}$"):
        read_prices([path])
    prices = read_prices([path], options=ReadOptions(zone=zone)).prices
    assert list(prices.dates) == list(days)
    np.testing.assert_array_equal(prices.close.iloc[:, 0], values)


def test_stamps_with_zone_in_parquet_files(tmp_path: Path) -> None:
    days, utc = stamps("Asia/Tokyo", "0h")
    path = tmp_path / "tokyo.parquet"
    pd.DataFrame({"Close": walk(len(days))}, index=pd.Index(utc, name="Date")).to_parquet(path)
    with pytest.raises(DataError, match=r"--zone Asia/Tokyo"):
        read_prices([path])
    assert list(read_prices([path], options=ReadOptions(zone="Asia/Tokyo")).prices.dates) == list(days)


def test_a_column_of_times_is_part_of_the_stamp(write: Any) -> None:
    days, utc = stamps("Asia/Tokyo", "0h")
    rows = (f"{at:%Y%m%d},{at:%H%M%S},{v}\n" for at, v in zip(utc, walk(len(days)), strict=True))
    path = write("<DATE>,<TIME>,<CLOSE>\n" + "".join(rows))
    with pytest.raises(DataError, match=r"--zone Asia/Tokyo"):
        read_prices([path])
    assert list(read_prices([path], options=ReadOptions(zone="Asia/Tokyo")).prices.dates) == list(days)


@pytest.mark.parametrize("factor", [1, 1000])
def test_seconds_since_1970(write: Any, factor: int) -> None:
    days, utc = stamps("Asia/Tokyo", "0h")
    rows = (f"{int(at.timestamp()) * factor},{v}\n" for at, v in zip(utc, walk(len(days)), strict=True))
    path = write("timestamp,close\n" + "".join(rows))
    with pytest.raises(DataError, match=r"--zone Asia/Tokyo"):
        read_prices([path])
    assert list(read_prices([path], options=ReadOptions(zone="Asia/Tokyo")).prices.dates) == list(days)


def test_closing_times_of_new_york_by_a_clock_in_tokyo(write: Any) -> None:
    days, tokyo = stamps("America/New_York", "16h", "Asia/Tokyo")
    rows = (f"{at.isoformat()},{v}\n" for at, v in zip(tokyo, walk(len(days)), strict=True))
    path = write("Date,Close\n" + "".join(rows))
    with pytest.raises(DataError, match=r"Saturdays and none on Mondays.*--zone America/New_York"):
        read_prices([path])
    assert list(read_prices([path], options=ReadOptions(zone="America/New_York")).prices.dates) == list(days)


def test_dates_without_time_are_refused_unless_the_exchange_trades_on_sundays(write: Any) -> None:
    days = pd.bdate_range("2023-01-02", "2023-12-29") - pd.Timedelta("1D")
    rows = (f"{at:%Y-%m-%d},{v}\n" for at, v in zip(days, walk(len(days)), strict=True))
    path = write("Date,Close\n" + "".join(rows))
    with pytest.raises(DataError, match=r"if the exchange does trade on Sundays, --allow shifted-dates \["):
        read_prices([path])
    accepted = read_prices([path], checks=CheckOptions(allow=("shifted-dates",)))
    assert list(accepted.prices.dates) == list(days)


@pytest.mark.parametrize("clock", ["0h", "9h30min", "16h"])
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "Asia/Tokyo"])
def test_stamps_in_the_zone_of_the_exchange_are_not_suspected(write: Any, zone: str, clock: str) -> None:
    days, local = stamps(zone, clock, zone)
    rows = (f"{at.isoformat()},{v}\n" for at, v in zip(local, walk(len(days)), strict=True))
    assert list(read_prices([write("Date,Close\n" + "".join(rows))]).prices.dates) == list(days)


def test_unknown_zones_are_refused() -> None:
    with pytest.raises(DataError, match="--zone: 'Mars' is not a time zone"):
        ReadOptions(zone="Mars")
