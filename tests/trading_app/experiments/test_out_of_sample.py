"""Benchmarks from a file beside the backtest of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from data.loading import load_prices
from trading_app.experiments.out_of_sample import benchmark_series
from trading_app.market.config import MarketConfig


def test_a_benchmark_file_gives_returns_from_close_to_close_where_it_covers_the_dates(tmp_path: Path) -> None:
    prices = load_prices("factors-5")
    days = prices.dates[100:300]
    levels = pd.Series(range(1000, 1200), days, name="level")
    levels.drop(days[50]).rename_axis("date").to_csv(tmp_path / "index.csv")
    market = MarketConfig(benchmark=str(tmp_path / "index.csv"))
    returns, notes = benchmark_series(prices, market, days[0], days[-1])
    assert returns is not None
    assert (returns.name, notes) == ("index", [])
    assert returns[days[1]] == pytest.approx(1 / 1000)
    assert (returns[days[50]], returns[days[51]]) == pytest.approx((0.0, 2 / 1049))
    missing, notes = benchmark_series(prices, market, days[0], prices.dates[300])
    assert missing is None
    assert f"from {days[0].date()} to {days[-1].date()} only" in notes[0]
    assert benchmark_series(prices, MarketConfig(), days[0], days[-1]) == (None, [])
