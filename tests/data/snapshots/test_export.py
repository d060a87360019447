"""Tests of export: the file reads back to the same prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from data import DataError, load_prices
from data.snapshots.export import export_prices


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_exported_prices_read_back(tmp_path: Path, ending: str) -> None:
    prices = load_prices("sp500-index-ohlc", start="2016-01-01")
    path = tmp_path / f"index.{ending}"
    rows = export_prices(prices, path)
    back = load_prices(path)
    assert rows == len(prices.dates)
    assert back.fields["close"].equals(prices.fields["close"]) or (
        (back.fields["close"] - prices.fields["close"]).abs().max().max() < 1e-9
    )


def test_other_endings_and_missing_folders_are_refused(tmp_path: Path) -> None:
    prices = load_prices("factors-5")
    with pytest.raises(DataError, match="must end with"):
        export_prices(prices, tmp_path / "prices.xlsx")
    with pytest.raises(DataError, match="does not exist"):
        export_prices(prices, tmp_path / "nowhere" / "prices.csv")
