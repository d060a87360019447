"""Dated risk-free rates: read from files and from the bundled series."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from data.errors import DataError
from data.providers.french import risk_free_rates
from data.rates import read_rates


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_changes_of_the_rate_are_read_by_date(tmp_path: Path, suffix: str) -> None:
    dates = pd.to_datetime(["2020-01-03", "2020-01-01", "2020-01-02", "2020-01-06"])
    frame = pd.DataFrame({"date": dates, "rate": [0.02, 0.01, 0.01, 0.02]})
    file = tmp_path / f"rates.{suffix}"
    frame.to_parquet(file) if suffix == "parquet" else frame.to_csv(file, index=False)
    assert read_rates(file) == {"2020-01-01": 0.01, "2020-01-03": 0.02, "2020-01-06": 0.02}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,rate\n2020-01-01,0.01\n", "0 columns for 'date'"),
        ("date,rate,rf\n2020-01-01,0.01,0.01\n", "2 columns for 'rate'"),
        ("date,rate\n2020-01-01,0.01\n2020-01-02,5.1\n", "rates.csv line 3: rate '5.1' .* 2 % as 0.02"),
        ("date,rate\n2020-01-01,\n", "line 2: rate"),
        ("date,rate\n2020-01-01,0.01\nyesterday,0.02\n", "line 3: date"),
        ("date,rate\n2020-01-01,0.01\n2020-01-01,0.02\n", "2020-01-01 has more than one rate"),
    ],
)
def test_faulty_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read_rates(file)


def test_the_rate_of_a_month_is_known_when_it_begins() -> None:
    earned, rates = risk_free_rates(), read_rates("industries")
    assert next(iter(rates)) == "1948-12-31"
    assert rates["1948-12-31"] == 12 * earned["1949-01-31"]
