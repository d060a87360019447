"""Contributions add up to the ledger's price gains; the fold strip shows the dates it was given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.report.figures import contribution as f

DATES = pd.bdate_range("2020-01-01", periods=60, name="date")
SYMBOLS = ["A", "B", "C"]


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize("short", [False, True])
def test_contributions_are_the_price_gains_whatever_the_fill(opens: bool, short: bool) -> None:
    generator = np.random.default_rng(2)
    close = pd.DataFrame(50 * np.exp(np.cumsum(generator.normal(0, 0.02, (60, 3)), axis=0)), DATES, SYMBOLS)
    fields = {"close": close, "open": close.shift(1).fillna(50) * 1.003} if opens else {"close": close}
    targets = pd.DataFrame(generator.uniform(-0.3 if short else 0, 0.3, (60, 3)), DATES, SYMBOLS)
    result = backtest(Prices.from_frames("toy", **fields), {"agent": targets}).strategy("agent")
    gains = f.contributions(result.weights, result.equity, result.trades)
    np.testing.assert_allclose(gains.sum(axis=1), result.costs["price_pnl"], atol=1e-12)


def test_bars_show_each_assets_sum_the_largest_on_top() -> None:
    gains = pd.DataFrame({"A": [0.01, 0.02], "B": [-0.01, -0.04], "C": [0.1, 0.0]}, DATES[:2])
    figure = f.contribution_bars(gains)
    assert list(figure.data[0].y) == ["C", "A", "B"]
    np.testing.assert_allclose(figure.data[0].x, [10, 3, -5], rtol=1e-6)
    assert "C 10.0" in figure.layout.title.text
    assert "−5.0" in figure.layout.title.text


def test_many_assets_share_a_bar_and_nothing_is_lost() -> None:
    gains = pd.DataFrame(np.arange(100.0)[None] / 1000, DATES[:1], [f"S{k}" for k in range(100)])
    bars = f.contribution_bars(gains).data[0]
    assert "76 others" in bars.y
    assert np.sum(bars.x) == pytest.approx(100 * float(gains.sum().sum()), rel=1e-5)


def test_fold_strip_has_a_row_a_fold_and_a_bar_a_part() -> None:
    one = {"train": ["2015-01-02", "2018-12-31"], "validation": [], "test": ["2019-01-02", "2020-12-31"]}
    figure = f.fold_strip([one, {**one, "validation": ["2018-06-01", "2018-12-31"]}])
    assert [trace.name for trace in figure.data] == ["Training", "Validation", "Test"]
    assert list(figure.data[2].y) == ["Fold 1", "Fold 2"]
    assert list(figure.data[1].y) == ["Fold 2"]
    assert figure.data[0].base[0] == "2015-01-02"
    assert figure.data[0].x[0] == (pd.Timestamp("2018-12-31") - pd.Timestamp("2015-01-02")).days * 86_400_000
    assert list(f.fold_strip([one]).data[0].y) == ["Run"]
