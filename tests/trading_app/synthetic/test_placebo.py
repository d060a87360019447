from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data import DataError, Prices, load_prices
from trading_app.synthetic.placebo import random_prices, shuffled_prices


def log_returns(prices: Prices) -> np.ndarray:
    return np.diff(np.log(prices.fields["close"].to_numpy()), axis=0)


def test_random_prices_hold_no_signal():
    prices = random_prices(np.random.default_rng(0), assets=6, days=4000)
    returns = log_returns(prices)
    bound = 4 / len(returns) ** 0.5
    for i in range(6):
        assert abs(np.corrcoef(returns[:-1, i], returns[1:, i])[0, 1]) < bound
        assert abs(np.corrcoef(returns[:, i], returns[:, i - 1])[0, 1]) < bound
    assert abs(np.expm1(returns).mean()) < 4 * 0.01 / returns.size**0.5
    bars = prices.fields
    assert (bars["high"] >= bars["open"]).to_numpy().all()
    assert (bars["low"] <= bars["close"]).to_numpy().all()


def test_shuffled_prices_keep_days_and_lose_their_order():
    prices = load_prices("sp500-index-ohlc")
    shuffled = shuffled_prices(prices, np.random.default_rng(0))
    before, after = log_returns(prices), log_returns(shuffled)
    np.testing.assert_allclose(np.sort(after, axis=0), np.sort(before, axis=0), atol=1e-9)
    assert shuffled.fields["close"].iloc[-1, 0] == pytest.approx(prices.fields["close"].iloc[-1, 0])
    # Volatility clusters in the original and no longer here.
    size = [np.corrcoef(abs(r[:-1, 0]), abs(r[1:, 0]))[0, 1] for r in (before, after)]
    assert size[0] > 0.15
    assert abs(size[1]) < 0.06
    assert (shuffled.fields["high"] >= shuffled.fields["low"]).to_numpy().all()
    ratio = [(p.fields["high"] / p.fields["low"]).to_numpy() for p in (prices, shuffled)]
    np.testing.assert_allclose(np.sort(ratio[0][1:], axis=0), np.sort(ratio[1][1:], axis=0))
    assert "Placebo" in shuffled.notes[-1]


def test_assets_keep_what_they_did_together():
    prices = load_prices("factors-5")
    shuffled = shuffled_prices(prices, np.random.default_rng(1))
    np.testing.assert_allclose(
        np.corrcoef(log_returns(prices).T), np.corrcoef(log_returns(shuffled).T), atol=1e-9
    )
    same = shuffled_prices(prices, np.random.default_rng(1))
    assert same.hash == shuffled.hash


def test_a_gap_is_named():
    close = pd.DataFrame(
        {"A": [1.0, 2.0, 3.0], "B": [1.0, np.nan, 2.0]}, pd.bdate_range("2020-01-01", periods=3)
    )
    prices = Prices.from_frames("gap", close=close)
    with pytest.raises(DataError, match="close of B is missing on 2020-01-02"):
        shuffled_prices(prices, np.random.default_rng(0))
