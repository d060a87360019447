"""Tests of the dataset ``industries``, against the values of its source."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import load_prices
from data.frequency import periods_per_year
from data.providers import french
from data.providers.french import INDUSTRIES, risk_free_rates
from data.quality.checks import validate

SOURCE_SHA256 = "fab6482f4f011a2fcec2fd087d740eef3c5bcc24a39459569a4224516fca1b6e"
# Rows of the source: month, risk-free rate, NoDur, Other, S1V1, S5M5.
FIRST = ("1949-01-31", 0.001, 0.0367, 0.0062, -0.0071, -0.0221)
LAST = ("2017-03-31", 0.0003, 0.0087, -0.0073, 0.0195, -0.0107)


def test_the_file_is_that_of_the_source() -> None:
    content = Path(french.__file__).with_name("french.csv.bz2").read_bytes()
    assert hashlib.sha256(content).hexdigest() == SOURCE_SHA256
    terms = Path(french.__file__).with_name("french.LICENSE.txt").read_text(encoding="utf-8")
    assert "Copyright (c) 2017 Kevin Sheppard" in terms


@pytest.mark.parametrize("row", [FIRST, LAST])
def test_returns_are_those_of_the_source(row: tuple[str, float, float, float, float, float]) -> None:
    date, rate, *expected = row
    close = load_prices("industries").close
    returns = close.pct_change().loc[date, ["NoDur", "Other", "S1V1", "S5M5"]]
    np.testing.assert_allclose(returns, expected, rtol=0, atol=1e-12)
    assert (close.iloc[0] == 100.0).all()
    assert risk_free_rates()[date] == rate


def test_there_are_all_months_and_no_missing_value() -> None:
    prices = load_prices("industries")
    assert prices.dates.equals(pd.date_range("1948-12-31", "2017-03-31", freq="BME"))
    assert prices.close.notna().all(axis=None)
    assert prices.symbols[:12] == INDUSTRIES
    assert periods_per_year(prices.dates) == 12
    assert risk_free_rates().index.equals(prices.dates[1:])


def test_there_is_no_note_on_survivorship_and_no_error() -> None:
    prices = load_prices("industries")
    assert not any("survivor" in note.lower() for note in prices.notes)
    report = validate(prices)
    assert not report.errors
    assert report.calendar is None
