"""Estimates of the return above a reference: known truths, statsmodels as the oracle, coverage of the intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from trading_app.evaluation.active import active_estimates, market_regimes, regime_estimates
from trading_app.evaluation.hac import default_lags, function_of_means, mean_estimate
from trading_app.evaluation.metrics import break_even_bps, sharpe

ALPHA, BETA = 0.05, 0.8


def series(seed: int, sessions: int = 2500, phi: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Returns with a known alpha (a year) and beta, and residuals that follow an AR(1) with this phi."""
    rng = np.random.default_rng(seed)
    reference = rng.standard_t(5, sessions) * 0.008 + 0.0004
    shocks = rng.standard_normal(sessions) * 0.003
    residual = np.zeros(sessions)
    for t in range(1, sessions):
        residual[t] = phi * residual[t - 1] + shocks[t]
    return ALPHA / 252 + BETA * reference + residual, reference


def estimates(returns: np.ndarray, reference: np.ndarray, **options: object) -> dict:
    settings = {
        "turnover": np.full(len(returns), 0.02),
        "trading_costs": np.zeros(len(returns)),
        "periods": 252,
    }
    return active_estimates(returns, reference, **{**settings, **options})


def test_alpha_and_beta_are_those_of_statsmodels() -> None:
    returns, reference = series(0, phi=0.2)
    found = estimates(returns, reference, risk_free=0.02)
    nightly = 0.02 / 252
    fit = sm.OLS(returns - nightly, sm.add_constant(reference - nightly)).fit(
        cov_type="HAC", cov_kwds={"maxlags": int(4 * 25 ** (2 / 9)), "use_correction": True}
    )
    assert found["alpha"].value == pytest.approx(252 * fit.params[0])
    assert found["alpha"].error == pytest.approx(252 * fit.bse[0])
    assert (found["beta"].low, found["beta"].high) == pytest.approx(tuple(fit.conf_int()[1]))


def test_a_mean_has_the_error_of_a_regression_on_a_constant() -> None:
    returns, _ = series(1, phi=0.3)
    fit = sm.OLS(returns, np.ones_like(returns)).fit(
        cov_type="HAC", cov_kwds={"maxlags": default_lags(len(returns)), "use_correction": True}
    )
    found = mean_estimate(returns, level=0.95, unit="ratio")
    assert (found.value, found.error) == pytest.approx((fit.params[0], fit.bse[0]))


def test_point_values_are_those_of_the_other_measures() -> None:
    returns, reference = series(2)
    paid = np.full(len(returns), 1e-5)
    found = estimates(returns, reference, trading_costs=paid)
    active = returns - reference
    assert found["active_return"].value == pytest.approx(252 * active.mean())
    assert found["tracking_error"].value == pytest.approx(np.sqrt(252) * active.std(ddof=1))
    assert found["information_ratio"].value == pytest.approx(float(sharpe(active)))
    even = break_even_bps(active, np.full(len(returns), 0.02), paid)
    assert found["break_even_bps"].value == pytest.approx(float(even))
    assert np.isnan(estimates(returns, reference, turnover=np.zeros(len(returns)))["break_even_bps"].value)


@pytest.mark.parametrize("phi", [0.0, 0.3])
def test_intervals_cover_the_truth(phi: float) -> None:
    truth = {"alpha": ALPHA, "beta": BETA, "active_return": ALPHA + (BETA - 1) * 0.0004 * 252}
    covered = dict.fromkeys(truth, 0)
    for seed in range(100):
        found = estimates(*series(seed, sessions=1000, phi=phi))
        for name, value in truth.items():
            covered[name] += found[name].low < value < found[name].high
    assert min(covered.values()) >= 86  # of 95 expected; four standard deviations


def test_tracking_error_and_information_ratio_cover_the_truth() -> None:
    covered = np.zeros(2)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        active = rng.standard_normal(1000) * 0.004 + 0.0002
        found = estimates(active, np.zeros(1000))
        for k, (name, truth) in enumerate(
            {"tracking_error": 0.004 * np.sqrt(252), "information_ratio": 0.05 * np.sqrt(252)}.items()
        ):
            covered[k] += found[name].low < truth < found[name].high
    assert covered.min() >= 86


def test_equal_returns_have_no_ratio_and_a_constant_reference_no_beta() -> None:
    returns, reference = series(3)
    same = estimates(reference, reference)
    assert same["beta"].value == pytest.approx(1.0)
    assert same["active_return"].value == same["active_return"].error == 0.0
    assert np.isnan(same["information_ratio"].value)
    assert np.isnan(estimates(returns, np.zeros_like(returns))["beta"].value)


def test_a_ratio_of_means_has_the_error_of_the_delta_method() -> None:
    rng = np.random.default_rng(4)
    moments = rng.normal([1.0, 2.0], 0.1, (4000, 2))
    found = function_of_means(lambda means: means[0] / means[1], moments, level=0.9, unit="ratio")
    assert found.value == pytest.approx(0.5, abs=0.01)
    assert found.error == pytest.approx(0.1 * np.sqrt(1 / 4 + 1 / 16) / np.sqrt(4000), rel=0.1)


def test_regimes_split_all_months_and_find_a_gain_in_falling_ones() -> None:
    dates = pd.bdate_range("2015-01-01", periods=1500)
    rng = np.random.default_rng(6)
    volatility = np.where(np.arange(1500) < 750, 0.005, 0.02)
    reference = pd.Series(rng.standard_normal(1500) * volatility, dates)
    days = market_regimes(reference, periods=252)
    assert (days["up"] ^ days["down"]).all()
    months = reference.groupby(dates.to_period("M"))
    assert set(months.apply(lambda month: bool((1 + month).prod() > 1)).items()) == set(
        pd.Series(days["up"], dates).groupby(dates.to_period("M")).first().items()
    )
    assert days["calm"][100:740].mean() > 0.95
    assert days["turbulent"][900:].mean() > 0.95
    assert not (days["calm"] | days["turbulent"])[:63].any()
    found = regime_estimates(reference + 0.002 * days["down"], reference, periods=252)
    assert found["down"].active_return.value == pytest.approx(0.504)
    assert found["up"].active_return.value == 0.0
    assert sum(found[name].sessions for name in ("up", "down")) == 1500
