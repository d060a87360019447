"""Measures against independent libraries, by hand and at their edges."""

from __future__ import annotations

import empyrical
import numpy as np
import pandas as pd
import pytest
import scipy.stats
import skfolio.measures as skfolio
from hypothesis import given
from hypothesis import strategies as st

from data.errors import DataError
from trading_app.evaluation import metrics as m


@pytest.fixture(scope="module")
def returns() -> np.ndarray:
    generator = np.random.default_rng(7)
    return np.asarray(0.0004 + 0.012 * generator.standard_t(4, size=(1511, 3)))


@pytest.fixture(scope="module")
def frame(returns: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        returns, index=pd.bdate_range("2015-01-01", periods=len(returns)), columns=list("abc")
    )


def test_against_empyrical(returns: np.ndarray) -> None:
    for k in range(returns.shape[1]):
        column = returns[:, k]
        assert m.sharpe(column, risk_free=0.02) == pytest.approx(
            empyrical.sharpe_ratio(column, 0.02 / 252), rel=1e-12
        )
        measured = m.metrics(column, risk_free=0.02)
        expected = {
            "sharpe": empyrical.sharpe_ratio(column, 0.02 / 252),
            "sortino": empyrical.sortino_ratio(column, 0.02 / 252),
            "max_drawdown": empyrical.max_drawdown(column),
            "cagr": empyrical.cagr(column),
            "volatility": empyrical.annual_volatility(column),
            "calmar": empyrical.calmar_ratio(column),
        }
        assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def test_against_skfolio_and_scipy(returns: np.ndarray) -> None:
    assert -m.cvar(returns) == pytest.approx(skfolio.cvar(returns, beta=0.95), rel=1e-12)
    compounded = skfolio.get_drawdowns(returns, compounded=True)
    # skfolio's peak begins with the first return; these series do not fall from the very start.
    table = m.metrics_table(pd.DataFrame(returns))
    assert table["max_drawdown"].to_numpy() == pytest.approx(
        np.minimum(np.cumprod(1 + returns, axis=0).min(axis=0) - 1, -skfolio.max_drawdown(compounded))
    )
    assert m.skew(returns) == pytest.approx(scipy.stats.skew(returns), rel=1e-10)
    assert m.kurtosis(returns) == pytest.approx(scipy.stats.kurtosis(returns), rel=1e-10)
    deviation = skfolio.standard_deviation(returns) * np.sqrt(252)
    assert table["volatility"].to_numpy() == pytest.approx(deviation)


def test_golden_values() -> None:
    returns = np.array([0.10, -0.20, 0.05, 0.00])
    measured = m.metrics(returns, periods=4, turnover=np.array([0.5, 0.1, 0.0, 0.2]))
    value = 1.10 * 0.80 * 1.05
    assert measured["total_return"] == pytest.approx(value - 1)
    assert measured["cagr"] == pytest.approx(value - 1)  # four quarters
    assert measured["max_drawdown"] == pytest.approx(-0.20)
    assert measured["cvar_5"] == pytest.approx(-0.20)
    assert measured["hit_rate"] == 0.5
    assert measured["sharpe"] == pytest.approx(-0.0125 / np.std(returns, ddof=1) * 2)
    assert measured["sortino"] == pytest.approx(-0.0125 / 0.1 * 2)
    assert measured["calmar"] == pytest.approx((value - 1) / 0.2)
    assert measured["turnover"] == pytest.approx(0.8)
    assert measured["break_even_bps"] == pytest.approx(1e4 * -0.05 / 1.6)


def test_break_even_cost_makes_the_mean_return_zero(returns: np.ndarray) -> None:
    generator = np.random.default_rng(0)
    gross = returns[:, 0] + 0.001
    turnover = generator.uniform(0, 0.3, len(gross))
    rate = 3e-4
    costs = 2 * turnover * rate
    level = m.break_even_bps(gross - costs, turnover, costs)
    assert np.mean(gross - 2 * turnover * float(level) / 1e4) == pytest.approx(0, abs=1e-15)
    assert m.break_even_bps(gross, turnover) == pytest.approx(level)


def test_cvar_counts_a_share_of_the_edge() -> None:
    returns = -np.arange(30.0) / 100  # 5 % of 30 is one and a half periods
    assert m.cvar(returns) == pytest.approx(-(0.29 + 0.5 * 0.28) / 1.5)


def test_drawdown_counts_the_fall_from_the_start() -> None:
    assert m.metrics(np.array([-0.3, 0.1]))["max_drawdown"] == pytest.approx(-0.3)


def test_table_agrees_with_single_series(frame: pd.DataFrame) -> None:
    turnover = frame.abs()
    table = m.metrics_table(frame, turnover=turnover, trading_costs=turnover * 1e-4, risk_free=0.01)
    for name in frame:
        single = m.metrics(
            frame[name], turnover=turnover[name], trading_costs=turnover[name] * 1e-4, risk_free=0.01
        )
        assert list(single) == list(table.columns)
        assert table.loc[name].to_dict() == pytest.approx(single, rel=1e-12)


def test_every_measure_is_described(frame: pd.DataFrame) -> None:
    assert list(m.MEASURES) == list(m.metrics(frame["a"], turnover=frame["a"].abs()))


def test_constant_returns_have_no_ratio() -> None:
    for constant in (0.0, 0.001, -0.0003):
        measured = m.metrics(np.full(100, constant))
        assert np.isnan(measured["sharpe"])
        assert np.isnan(measured["skew"])
        assert np.isnan(measured["kurtosis"])
    assert np.isnan(m.metrics(np.zeros(10))["calmar"])
    assert np.isnan(m.break_even_bps(np.full(5, 0.01), np.zeros(5)))


def test_ruin_is_minus_everything_and_stays() -> None:
    returns = np.array([0.1, -1.2, 0.5, 0.5])
    measured = m.metrics(returns)
    assert measured["total_return"] == -1
    assert measured["cagr"] == -1
    assert measured["max_drawdown"] == -1


def test_missing_return_is_named(frame: pd.DataFrame) -> None:
    broken = frame.copy()
    broken.iloc[5, 1] = np.nan
    with pytest.raises(DataError, match=r"return at 2015-01-08 of 'b' is nan"):
        m.metrics_table(broken)
    with pytest.raises(DataError, match="row 1 is inf"):
        m.metrics(np.array([0.0, np.inf]))
    with pytest.raises(DataError, match="empty"):
        m.metrics(np.array([]))
    with pytest.raises(DataError, match="metrics_table"):
        m.metrics(frame.to_numpy())


@given(st.lists(st.floats(-0.5, 0.5), min_size=2, max_size=60), st.floats(0.1, 3))
def test_scale_changes_size_not_ratio(values: list[float], scale: float) -> None:
    returns = np.array(values)
    before, after = m.metrics(returns), m.metrics(returns * scale / 3)
    if np.isfinite(before["sharpe"]) and np.isfinite(after["sharpe"]):
        assert after["sharpe"] == pytest.approx(before["sharpe"], rel=1e-6, abs=1e-9)
    assert after["volatility"] == pytest.approx(before["volatility"] * scale / 3, rel=1e-6, abs=1e-12)
    assert -1 <= before["max_drawdown"] <= 0
    assert before["cvar_5"] <= returns.mean() + 1e-12


def test_intervals_hold_the_estimate_and_repeat(frame: pd.DataFrame) -> None:
    first = m.bootstrap_table(frame[["a"]], reps=200, seed=3)
    again = m.bootstrap_table(frame[["a"]], reps=200, seed=3)
    other = m.bootstrap_table(frame[["a"]], reps=200, seed=4)
    assert first.equals(again)
    assert not first.equals(other)
    point = m.metrics(frame["a"])
    for name in ("cagr", "volatility", "sharpe", "cvar_5", "hit_rate"):
        low, high = first.loc["a", name]
        assert low < point[name] < high
    with pytest.raises(DataError, match="too few"):
        m.bootstrap_table(frame[["a"]][:10])
    with pytest.raises(DataError, match="level"):
        m.bootstrap_table(frame[["a"]], reps=10, level=95)


def test_interval_width_is_that_of_theory() -> None:
    generator = np.random.default_rng(1)
    returns = generator.normal(0.0005, 0.01, 2520)
    low, high = m.bootstrap_table(pd.DataFrame({"a": returns}), reps=600).loc["a", "sharpe"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(252 / 2520), rel=0.2)


def test_intervals_of_many_strategies_share_their_dates(frame: pd.DataFrame) -> None:
    doubled = frame[["a"]].assign(b=frame["a"] * 2)
    table = m.bootstrap_table(doubled, reps=50)
    assert table.loc["b", ("volatility", "low")] == pytest.approx(2 * table.loc["a", ("volatility", "low")])
    assert table.loc["b", ("sharpe", "high")] == pytest.approx(table.loc["a", ("sharpe", "high")])


def test_worst_drawdowns() -> None:
    dates = pd.bdate_range("2020-01-01", periods=9)
    equity = pd.Series([1.0, 0.9, 1.0, 1.2, 0.6, 0.9, 1.3, 1.1, 1.2], index=dates)
    worst = m.worst_drawdowns(equity)
    assert worst["depth"].tolist() == pytest.approx([-0.5, 1.1 / 1.3 - 1, -0.1])
    assert worst["peak"].tolist() == [dates[3], dates[6], dates[0]]
    assert worst["trough"].tolist() == [dates[4], dates[7], dates[1]]
    assert worst["recovery"].tolist() == [dates[6], pd.NaT, dates[2]]
    assert worst["periods"].tolist() == [3, 2, 2]
    assert len(m.worst_drawdowns(equity, count=1)) == 1
    assert m.worst_drawdowns(equity[:1]).empty
