"""Baselines: what they hold, when they decide, and that the future cannot reach them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from skfolio.moments import LedoitWolf, ShrunkMu
from skfolio.optimization import MeanRisk, ObjectiveFunction
from skfolio.prior import EmpiricalPrior

from data import Prices
from data.errors import DataError
from data.signals.values import Signals
from trading_app.backtesting import baselines as b
from trading_app.backtesting.backtest import backtest
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.limits import Limits

START = "2012-06-15"


def panel(seed: int = 0, symbols: int = 6, periods: int = 900) -> Prices:
    generator = np.random.default_rng(seed)
    common = generator.normal(0.0003, 0.008, (periods, 1))
    each = generator.normal(0, 1, (periods, symbols)) * np.linspace(0.005, 0.02, symbols)
    frame = pd.DataFrame(
        50 * np.exp(np.cumsum(common + each, axis=0)),
        index=pd.bdate_range("2011-01-03", periods=periods),
        columns=[f"S{i}" for i in range(symbols)],
    )
    signals = generator.normal(size=(periods, symbols, 1))
    own = Signals("own", frame.index, tuple(frame.columns), {"value": -1}, signals, lag=0)
    return Prices.from_frames("made", close=frame).with_signals([own])


def altered(prices: Prices, change: dict[str, object] | None = None, after: str | None = None) -> Prices:
    """Prices with some closes made missing, or all closes after a date replaced by others."""
    close, signals = prices.close.copy(), prices.signals[0].source
    for symbol, dates in (change or {}).items():
        close.loc[dates, symbol] = np.nan
    if after is not None:
        late = close.index > after
        close.loc[late] = close.loc[late].to_numpy()[::-1] * 3.7
        values = signals.values.copy()
        values[late] = values[late][::-1] + 0.5
        signals = replace(signals, values=values)
    return Prices.from_frames(prices.name, close=close).with_signals([signals])


def fully_invested(name: str, targets: pd.DataFrame) -> bool:
    """Return whether weights sum to 1 on every date; of a trend, at most to that."""
    sums = targets.sum(axis=1).to_numpy()
    return bool((sums <= 1 + 1e-9).all() if name == "trend" else np.allclose(sums, 1.0))


@pytest.fixture(scope="module")
def prices() -> Prices:
    return panel()


@pytest.mark.parametrize("name", b.BASELINES)
def test_targets_are_portfolios_on_the_sessions_of_their_schedule(name: str, prices: Prices) -> None:
    targets = b.BASELINES[name](prices, START, "2013-12-31")
    assert list(targets.columns) == list(prices.symbols)
    assert targets.index.equals(prices.between(START, "2013-12-31").dates)
    decided = targets.dropna(how="all")
    assert decided.notna().all(axis=None)
    assert fully_invested(name, decided)
    assert (decided >= 0).all(axis=None)
    if name.endswith("-daily"):
        assert decided.index.equals(targets.index)
    elif name == "buy-and-hold":
        assert list(decided.index) == [targets.index[0]]
    else:
        months = pd.Series(targets.index, index=targets.index).groupby(targets.index.to_period("M")).first()
        assert list(decided.index) == list(months)


@pytest.mark.parametrize("name", b.BASELINES)
@pytest.mark.parametrize("after", ["2012-09-03", "2013-02-14"])
def test_the_future_changes_no_past_decision(name: str, after: str, prices: Prices) -> None:
    before = b.BASELINES[name](prices, START)
    perturbed = b.BASELINES[name](altered(prices, after=after), START)
    truncated = b.BASELINES[name](prices.between(None, after), START)
    pd.testing.assert_frame_equal(before[:after], perturbed[:after])
    pd.testing.assert_frame_equal(before[:after], truncated, check_freq=False)
    if name not in {"equal-weight", "equal-weight-daily", "buy-and-hold"}:
        assert not before.equals(perturbed)


@pytest.mark.parametrize("name", b.BASELINES)
def test_unlisted_and_delisted_symbols_get_nothing(name: str, prices: Prices) -> None:
    gappy = altered(
        prices, {"S1": slice(None, "2012-12-31"), "S2": slice("2013-03-08", None), "S3": slice(None, None)}
    )
    # What acts like an agent may order single symbols that did not trade.
    targets = b.BASELINES[name](gappy, START).dropna(how="any" if name == "plug-in" else "all")
    assert targets.notna().all(axis=None)
    assert (targets["S1"][:"2012-12-31"] == 0).all()
    # It is available until it has not traded for ten sessions.
    assert (targets["S2"]["2013-03-21":] == 0).all()
    assert (targets["S3"] == 0).all()
    assert fully_invested(name, targets)
    if name == "equal-weight":
        assert targets["S1"].iloc[-1] == pytest.approx(1 / 4)  # all but S2 and S3


@pytest.mark.parametrize("name", ["inverse-volatility", "min-variance", "momentum"])
def test_short_history_starts_later_or_says_why(name: str, prices: Prices) -> None:
    targets = b.BASELINES[name](prices)
    needed = 252 if name == "momentum" else 63
    first = int(np.argmax(targets.notna().any(axis=1)))
    assert first == needed
    assert targets.iloc[needed].sum() == pytest.approx(1.0)
    with pytest.raises(DataError, match=f"{name}: made has too little history .* needs {needed} sessions"):
        b.BASELINES[name](prices.between(None, "2011-02-15"))


@pytest.mark.parametrize("name", b.BASELINES)
def test_an_empty_range_is_an_error(name: str, prices: Prices) -> None:
    with pytest.raises(DataError, match="no session"):
        b.BASELINES[name](prices, "2050-01-01")


def test_a_gap_of_some_sessions_changes_no_weight(prices: Prices) -> None:
    gap = altered(prices, {"S1": slice("2013-03-01", "2013-03-12")})
    assert (b.equal_weight(gap, START, rebalance="daily").to_numpy() == 1 / 6).all()
    first = b.equal_weight(gap, "2013-03-01").iloc[0]
    assert first.to_numpy() == pytest.approx(1 / 6)


def test_a_baseline_that_cannot_be_computed_says_why_in_one_line() -> None:
    dates = pd.bdate_range("2020-01-01", periods=400)
    flat = Prices.from_frames("flat", close=pd.DataFrame(5.0, index=dates, columns=["A", "B", "C"]))
    with pytest.raises(DataError, match=r"min-variance: flat .*every price is constant") as caught:
        b.minimum_variance(flat)
    assert "\n" not in str(caught.value)
    assert b.equal_weight(flat).iloc[0].tolist() == pytest.approx([1 / 3] * 3)


def test_unknown_baseline_names_the_near_one() -> None:
    with pytest.raises(DataError, match="did you mean 'momentum'"):
        b.baseline("momentun")
    assert b.baseline("equal-weight") is b.equal_weight


def test_inverse_volatility_weights(prices: Prices) -> None:
    targets = b.inverse_volatility(prices, START)
    date = targets.index[0]
    returns = prices.close.pct_change().loc[:date].tail(252)
    expected = (1 / returns.std()) / (1 / returns.std()).sum()
    assert targets.loc[date].to_numpy() == pytest.approx(expected.to_numpy())


def test_minimum_variance_is_that_of_skfolio(prices: Prices) -> None:
    targets = b.minimum_variance(prices, START).dropna()
    model = MeanRisk(prior_estimator=EmpiricalPrior(covariance_estimator=LedoitWolf()))
    for date in targets.index[[0, 7]]:
        returns = prices.close.pct_change().loc[:date].tail(252)
        assert targets.loc[date].to_numpy() == pytest.approx(model.fit(returns).weights_, abs=1e-4)


def test_minimum_variance_with_a_young_symbol_uses_the_common_history(prices: Prices) -> None:
    young = altered(prices, {"S0": slice(None, "2012-03-01")})
    weights = b.minimum_variance(young, START).iloc[0]
    sample = young.close.pct_change().loc[:START].dropna().tail(252)
    assert len(sample) < 100
    expected = b.least_variance_weights(LedoitWolf().fit(sample).covariance_)
    assert weights.to_numpy() == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 2, 10, 40])
def test_least_variance_weights_are_optimal(size: int) -> None:
    generator = np.random.default_rng(size)
    factors = generator.normal(0, 0.01, (size, size + 3))
    covariance = factors @ factors.T
    weights = b.least_variance_weights(covariance)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    marginal = covariance @ weights
    variance = weights @ marginal
    assert marginal[weights > 0] == pytest.approx(variance, rel=1e-8)
    assert (marginal >= variance * (1 - 1e-8)).all()


def test_momentum_ranks_by_the_year_without_its_last_month(prices: Prices) -> None:
    close = prices.close
    long_only, both = b.momentum(prices, START), b.momentum(prices, START, long_short=True)
    t = close.index.get_loc(long_only.index[0])
    growth = close.iloc[t - 21] / close.iloc[t - 252]
    top = set(growth.nlargest(2).index)
    assert set(long_only.columns[long_only.iloc[0] > 0]) == top
    assert long_only.iloc[0].max() == pytest.approx(0.5)
    assert set(both.columns[both.iloc[0] > 0]) == top
    assert set(both.columns[both.iloc[0] < 0]) == set(growth.nsmallest(2).index)
    assert both.iloc[0].sum() == pytest.approx(0)
    assert both.iloc[0].abs().sum() == pytest.approx(1)


def test_risk_parity_shares_the_variance_equally(prices: Prices) -> None:
    targets = b.BASELINES["risk-parity"](prices, START).dropna()
    returns = prices.close.pct_change().loc[: targets.index[3]].tail(252)
    weights, covariance = targets.iloc[3].to_numpy(), LedoitWolf().fit(returns).covariance_
    shares = weights * (covariance @ weights) / (weights @ covariance @ weights)
    assert shares == pytest.approx(1 / 6, abs=2e-3)


def test_hierarchical_risk_parity_gives_less_to_what_moves_more(prices: Prices) -> None:
    weights = b.BASELINES["hierarchical-risk-parity"](prices, START).iloc[0]
    assert weights["S0"] > weights["S2"] > weights["S5"] > 0


def test_mean_variance_is_that_of_skfolio(prices: Prices) -> None:
    targets = b.BASELINES["mean-variance"](prices, START).dropna()
    prior = EmpiricalPrior(
        covariance_estimator=LedoitWolf(), mu_estimator=ShrunkMu(covariance_estimator=LedoitWolf())
    )
    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY, risk_aversion=2.5, prior_estimator=prior
    )
    returns = prices.close.pct_change().loc[: targets.index[5]].tail(252)
    assert targets.iloc[5].to_numpy() == pytest.approx(model.fit(returns).weights_, abs=1e-4)


def test_trend_holds_what_rose_in_a_year(prices: Prices) -> None:
    targets = b.BASELINES["trend"](prices, START).dropna()
    date = targets.index[10]
    closes = prices.close.loc[:date].tail(253)
    volatility = closes.pct_change().std()
    expected = (1 / volatility) / (1 / volatility).sum() * (closes.iloc[-1] > closes.iloc[0])
    assert targets.loc[date].to_numpy() == pytest.approx(expected.to_numpy())


def test_weights_are_restored_between_the_dates_on_which_they_are_fitted(prices: Prices) -> None:
    weekly = b.BASELINES["hierarchical-risk-parity"](prices, START, rebalance="weekly").dropna()
    monthly = b.BASELINES["hierarchical-risk-parity"](prices, START).dropna()
    inside = weekly.index[(weekly.index > "2012-09-03") & (weekly.index < "2012-09-28")]
    assert len(inside) == 3
    for day in inside:
        assert weekly.loc[day].to_numpy() == pytest.approx(monthly.loc["2012-09-03"].to_numpy())


@pytest.mark.parametrize("name", ["equal-weight", "buy-and-hold", "min-variance"])
def test_limits_of_the_terms_hold_on_every_day(name: str, prices: Prices) -> None:
    limits = Limits(max_weight=0.2, turnover=0.05)
    terms = b.Terms(market=MarketConfig(actions="tilt", limits=limits), costs=CostModel())
    targets = b.BASELINES[name](prices, START, terms=terms)
    result = backtest(prices, {name: targets}, start=START, partial_orders=True).strategy(name)
    traded = targets.notna().to_numpy()
    assert (targets.to_numpy()[traded] <= 0.2 + 1e-9).all()
    assert result.turnover.max() <= 0.05 + 5e-3  # the price moves between decision and fill
