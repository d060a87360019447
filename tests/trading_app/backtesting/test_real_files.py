"""Backtests of files whose calendars, gaps and levels are not those of one exchange's daily prices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data.errors import DataError
from data.prices import Prices
from data.readers.files import read_prices
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import BASELINES, buy_and_hold, equal_weight
from trading_app.market.costs import CostModel

CASES = Path(__file__).parents[2] / "data" / "cases"
FREE = CostModel.free()


def prices_of(case: str) -> Prices:
    return read_prices([CASES / case]).prices


@pytest.mark.parametrize(
    ("case", "periods", "sharpe", "growth"),
    [("weekly.csv", 52, 0.92, 0.076), ("monthly.csv", 12, 0.64, 0.052)],
)
def test_weekly_and_monthly_prices_are_annualised_by_their_own_periods(
    case: str, periods: int, sharpe: float, growth: float
) -> None:
    prices = prices_of(case)
    result = backtest(prices, equal_weight(prices))
    assert result.cost_model.sessions_a_year == periods
    assert result.metrics()["sharpe"] == pytest.approx(sharpe, abs=0.006)
    assert result.metrics()["cagr"] == pytest.approx(growth, abs=0.0006)


def test_mixed_calendars_keep_what_does_not_trade_at_the_weekend() -> None:
    prices = prices_of("mixed-calendars.csv")
    daily = backtest(prices, equal_weight(prices, rebalance="daily"), costs=FREE)
    assert daily.weights["SPY"].iloc[1:].mean() == pytest.approx(0.5, abs=0.002)
    spy = prices.select(["SPY"])
    assert backtest(spy, buy_and_hold(spy), costs=FREE).nav[-1] == pytest.approx(2.075, abs=0.0005)
    once = pd.DataFrame(np.nan, prices.dates, list(prices.symbols))
    once.loc[spy.close["SPY"].first_valid_index()] = [0.0, 1.0]
    close = spy.close["SPY"].dropna()
    # Decided at the first close, filled at the next one.
    assert backtest(prices, once, costs=FREE).nav[-1] == pytest.approx(close.iloc[-1] / close.iloc[1])


def test_constant_prices_stop_no_baseline_but_those_that_cannot_be_computed() -> None:
    prices = prices_of("min-variance-flat.csv")
    refused = {}
    for name, baseline in BASELINES.items():
        try:
            result = backtest(prices, baseline(prices, None, None), costs=FREE)
        except DataError as error:
            refused[name] = str(error)
        else:
            assert result.nav == pytest.approx(1.0)
    assert "equal-weight" not in refused
    assert all("\n" not in reason for reason in refused.values())


def test_a_lost_row_changes_no_buy_and_hold() -> None:
    dates = pd.bdate_range("2006-01-03", periods=600)
    generator = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(generator.normal(0.0005, 0.015, (600, 31)), axis=0))
    lost = close.copy()
    lost[300, 3:10] = np.nan
    symbols = [f"S{at:02d}" for at in range(31)]
    whole, holed = (
        Prices.from_frames("dow", close=pd.DataFrame(values, dates, symbols)) for values in (close, lost)
    )
    expected = backtest(whole, buy_and_hold(whole), costs=FREE).nav
    found = backtest(holed, buy_and_hold(holed), costs=FREE).nav
    assert np.delete(found, 300) == pytest.approx(np.delete(expected, 300))
    carried = np.where(np.isnan(lost[300]), close[299], close[300])
    units = 1 / 31 / close[1]
    assert found[300] == pytest.approx(float(units @ carried))
