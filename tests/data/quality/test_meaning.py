"""Tests of columns that are no prices."""

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

DAYS = pd.bdate_range("2023-01-02", periods=200)


def moves(seed: int = 1, size: float = 0.01) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, len(DAYS)).round(5)


def save(folder: Path, **columns: Any) -> Path:
    path = folder / "file.csv"
    pd.DataFrame(columns, index=pd.Index(DAYS, name="Date")).to_csv(path)
    return path


def test_a_risk_free_column_is_refused_and_the_advice_leaves_it_out(cases: Path) -> None:
    path = cases / "wide-riskfree.csv"
    with pytest.raises(DataError, match=r"RF: a risk-free rate .*import with --exclude RF$"):
        read_prices([path])
    result = read_prices([path], options=ReadOptions(exclude=("RF",)))
    assert result.prices.symbols == ("AAPL", "MSFT")
    assert result.source["files"][0]["excluded"] == ["RF"]


RATES = {
    "^TNX": 4 + np.cumsum(moves(2)),
    "DGS10": 4 + np.cumsum(moves(3)),
    "US10Y Yield": 4 + np.cumsum(moves(4)),
    "risk_free": np.full(len(DAYS), 0.0002),
    "CASH": np.full(len(DAYS), 0.0001),
    "FEDFUNDS": np.full(len(DAYS), 5.33),
    "spread": moves(5, 1.0),
    "Market return": moves(6),
    "Year": DAYS.year,
    "row": np.arange(len(DAYS)),
    "note": "abc",
}


@pytest.mark.parametrize("name", RATES)
def test_other_columns_beside_prices_are_refused_and_the_advice_leaves_them_out(
    tmp_path: Path, name: str
) -> None:
    path = save(tmp_path, AAPL=walk(len(DAYS)), **{name: RATES[name]})
    quoted = name if name.replace("_", "").isalnum() else f"'{name}'".replace("^", r"\^")
    with pytest.raises(DataError, match=rf"import with --exclude {quoted}$"):
        read_prices([path])
    prices = read_prices([path], options=ReadOptions(exclude=(name,))).prices
    assert prices.symbols == ("AAPL",)
    np.testing.assert_allclose(prices.close["AAPL"], walk(len(DAYS)), rtol=1e-12)


def test_true_prices_are_not_suspected(tmp_path: Path) -> None:
    near_one = np.exp(np.cumsum(moves(7, 0.004)))
    path = save(
        tmp_path,
        EURUSD=1.1 * near_one,
        GBPUSD=1.2 / near_one,
        RF=20 * near_one,
        SHIB=0.00002 * near_one,
        GS=350 * near_one,
        RATE=120 * near_one,
        CASH=1.0,
        DAX=(15_000 * near_one).round(),
    )
    prices = read_prices([path], checks=CheckOptions("none")).prices
    assert len(prices.symbols) == 8


@pytest.mark.parametrize(
    ("repair", "values"),
    [
        ("chain-returns", {name: moves(seed) for seed, name in enumerate("AB")}),
        ("chain-percent", {name: 100 * moves(seed) for seed, name in enumerate("AB")}),
        ("chain-relatives", {name: 1 + moves(seed) for seed, name in enumerate("AB")}),
    ],
)
def test_returns_and_relatives_are_refused_and_the_advice_makes_prices(
    tmp_path: Path, repair: str, values: dict[str, np.ndarray]
) -> None:
    path = save(tmp_path, **values)
    with pytest.raises(DataError, match=rf"(returns|relatives).*import with .*--repair {repair}") as caught:
        read_prices([path])
    assert "blank-bad-values" not in str(caught.value)
    prices = read_prices([path], checks=CheckOptions("none", repair=(repair,))).prices
    expected = 100 * np.cumprod(1 + moves(0))
    np.testing.assert_allclose(prices.close["A"], expected, rtol=1e-9)


def test_returns_in_fractions_or_percent_are_a_question(tmp_path: Path) -> None:
    path = save(tmp_path, A=moves(1), RF=np.full(len(DAYS), 0.0001))
    with pytest.raises(
        DataError,
        match=r"with --exclude RF --repair chain-returns, or --exclude RF --repair chain-percent$",
    ):
        read_prices([path])
    path = save(tmp_path, A=100 * moves(1))
    with pytest.raises(DataError, match=r"in percent, since.*with --repair chain-percent$"):
        read_prices([path])


def test_weights_are_refused(tmp_path: Path) -> None:
    first = 0.5 + np.clip(np.cumsum(moves(1)), -0.4, 0.4)
    path = save(tmp_path, A=first, B=1 - first)
    with pytest.raises(DataError, match=r"add up to 1: weights; if they are prices: --allow weights"):
        read_prices([path])
    accepted = CheckOptions("none", allow=("weights",))
    assert read_prices([path], checks=accepted).prices.symbols == ("A", "B")


def test_what_looks_like_no_price_can_be_accepted(tmp_path: Path) -> None:
    stable = 1 + 0.001 * moves(1, 1.0)
    path = save(tmp_path, USDT=stable)
    with pytest.raises(DataError, match=r"if they are prices: --allow relatives"):
        read_prices([path])
    accepted = read_prices([path], checks=CheckOptions("none", allow=("relatives",))).prices
    np.testing.assert_allclose(accepted.close["USDT"], stable)


def test_long_tables_and_unknown_names(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    wide = pd.DataFrame({"AAPL": walk(len(DAYS)), "DGS10": RATES["DGS10"]}, index=pd.Index(DAYS, name="date"))
    wide.melt(var_name="symbol", value_name="close", ignore_index=False).to_csv(path)
    with pytest.raises(DataError, match=r"DGS10: a rate or yield.*import with --exclude DGS10$"):
        read_prices([path])
    assert read_prices([path], options=ReadOptions(exclude=("DGS10",))).prices.symbols == ("AAPL",)
    with pytest.raises(DataError, match="--exclude: there is no column or symbol 'RF'"):
        read_prices([path], options=ReadOptions(exclude=("RF",)))
    with pytest.raises(DataError, match="--exclude: every symbol is left out"):
        read_prices([path], options=ReadOptions(exclude=("AAPL", "DGS10")))
