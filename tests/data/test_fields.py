"""Tests of dates as users write them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from data import DataError
from data.fields import parse_date


@pytest.mark.parametrize(
    "value", ["2020-04-03", date(2020, 4, 3), np.datetime64("2020-04-03"), pd.Timestamp("2020-04-03 16:00")]
)
def test_iso_dates_and_date_objects_are_read(value: str | date) -> None:
    assert parse_date(value, "--start") == pd.Timestamp("2020-04-03")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("03/04/2020", "may mean 2020-04-03 or 2020-03-04: write YYYY-MM-DD"),
        ("3.4.2020", "may mean 2020-04-03 or 2020-03-04"),
        ("31-12-2020", "may mean 2020-12-31: write"),
        ("20200403", "is not a date .write YYYY-MM-DD"),
        ("2020", "is not a date"),
        ("2020-13-01", "is not a date"),
        ("soon", "is not a date"),
    ],
)
def test_other_texts_are_refused_with_the_dates_they_may_mean(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=f"^--start: '{text}' {reason}") as caught:
        parse_date(text, "--start")
    assert "\n" not in str(caught.value)
