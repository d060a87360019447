"""Backtests of an agent, its seeds and baselines on random prices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices
from trading_app import backtest
from trading_app.backtesting.baselines import equal_weight, inverse_volatility


@pytest.fixture(scope="session")
def results() -> Any:
    generator = np.random.default_rng(0)
    dates = pd.bdate_range("2018-01-01", periods=500)
    close = pd.DataFrame(
        100 * np.exp(np.cumsum(generator.normal(0.0003, 0.01, (500, 3)), axis=0)), dates, list("ABC")
    )
    prices = Prices.from_frames("made", close=close, open=close.shift(1).bfill(), notes=("made up",))
    start = dates[100]
    seeds = {
        f"seed-{k}": pd.DataFrame(generator.dirichlet(np.ones(3), 400), dates[100:], list("ABC"))
        for k in range(3)
    }
    agent = sum(seeds.values()) / 3
    baselines = {
        "equal-weight": equal_weight(prices, start),
        "inverse-volatility": inverse_volatility(prices, start),
    }
    return backtest(prices, {"agent": agent, **seeds, **baselines}, start=start)
