"""Baselines: what they hold, when they decide, and that the future cannot reach them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from skfolio.moments import LedoitWolf
from skfolio.optimization import MeanRisk
from skfolio.prior import EmpiricalPrior

from data import Prices
from data.errors import DataError
from trading_app.backtesting import baselines as b

START = "2012-06-15"


def panel(seed: int = 0, symbols: int = 6, periods: int = 900) -> Prices:
    generator = np.random.default_rng(seed)
    common = generator.normal(0.0003, 0.008, (periods, 1))
    own = generator.normal(0, 1, (periods, symbols)) * np.linspace(0.005, 0.02, symbols)
    frame = pd.DataFrame(
        50 * np.exp(np.cumsum(common + own, axis=0)),
        index=pd.bdate_range("2011-01-03", periods=periods),
        columns=[f"S{i}" for i in range(symbols)],
    )
    return Prices.from_frames("made", close=frame)


def altered(prices: Prices, change: dict[str, object] | None = None, after: str | None = None) -> Prices:
    """Prices with some closes made missing, or all closes after a date replaced by others."""
    close = prices.close.copy()
    for symbol, dates in (change or {}).items():
        close.loc[dates, symbol] = np.nan
    if after is not None:
        late = close.index > after
        close.loc[late] = close.loc[late].to_numpy()[::-1] * 3.7
    return Prices.from_frames(prices.name, close=close)


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
    assert decided.sum(axis=1).to_numpy() == pytest.approx(1.0)
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
    targets = b.BASELINES[name](gappy, START).dropna(how="all")
    assert targets.notna().all(axis=None)
    assert (targets["S1"][:"2012-12-31"] == 0).all()
    # It is available until it has not traded for ten sessions.
    assert (targets["S2"]["2013-03-21":] == 0).all()
    assert (targets["S3"] == 0).all()
    assert targets.sum(axis=1).to_numpy() == pytest.approx(1.0)
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
