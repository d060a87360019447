"""Comparisons, the SPA test and the Sharpe ratio's probabilities."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import skfolio.measures as skfolio
from arch.bootstrap import SPA

from data.errors import DataError
from trading_app.evaluation import significance as s
from trading_app.evaluation.bootstrap import block_length, resample
from trading_app.evaluation.metrics import sharpe


def noise(seed: int, periods: int = 1000, columns: int = 3) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    values = generator.normal(0.0003, 0.01, (periods, columns))
    return pd.DataFrame(
        values, index=pd.bdate_range("2010-01-01", periods=periods), columns=list("abcdefgh")[:columns]
    )


def test_equal_strategies_are_rarely_told_apart() -> None:
    results = [s.compare(noise(seed, periods=300), "a", ["b"], reps=100)[0] for seed in range(40)]
    told_apart = sum(result.verdict != "indistinguishable" for result in results)
    assert told_apart <= 6  # 2 expected; 6 is beyond the 99.5 % quantile of the binomial
    assert all(result.sharpe_low < result.sharpe_difference < result.sharpe_high for result in results)
    ahead = np.array([result.probability_ahead for result in results])
    assert 0.35 < ahead.mean() < 0.65


def test_pairing_finds_a_small_steady_advantage() -> None:
    returns = noise(10)
    returns["better"] = returns["a"] + 0.0002 + 0.0005 * noise(9, columns=1)["a"] / 0.01
    better, unrelated = s.compare(returns, "better", ["a", "b"], reps=300)
    assert better.verdict == "better"
    assert better.probability_ahead > 0.99
    assert better.excess_return == pytest.approx(252 * float((returns["better"] - returns["a"]).mean()))
    assert unrelated.verdict == "indistinguishable"
    [worse] = s.compare(returns, "a", ["better"], reps=300)
    assert worse.verdict == "worse"
    assert worse.to_dict()["verdict"] == "worse"


def test_comparison_is_reproducible_and_names_what_is_missing() -> None:
    returns = noise(1)
    assert s.compare(returns, "a", ["b", "c"], reps=50) == s.compare(returns, "a", ["b", "c"], reps=50)
    with pytest.raises(DataError, match=r"strategy 'x' not found.*available: a, b, c"):
        s.compare(returns, "a", ["x"])


def test_sharpe_interval_covers_the_truth() -> None:
    """An AR(1) series has wider intervals than its marginal law suggests; blocks account for that."""
    generator = np.random.default_rng(5)
    covered = 0
    runs, periods, phi, mean = 40, 500, 0.3, 0.0005
    truth = mean / (0.01 / np.sqrt(1 - phi**2)) * np.sqrt(252)
    for run in range(runs):
        shocks = generator.normal(0, 0.01, periods + 50)
        series = np.zeros(periods + 50)
        for t in range(1, periods + 50):
            series[t] = phi * series[t - 1] + shocks[t]
        draws = resample(lambda x: sharpe(x), series[50:] + mean, reps=100, seed=run)
        low, high = np.quantile(draws, [0.025, 0.975])
        covered += low <= truth <= high
    assert covered / runs > 0.85


def test_block_length_grows_with_dependence() -> None:
    generator = np.random.default_rng(2)
    shocks = generator.normal(size=3000)
    smooth = np.convolve(shocks, np.ones(20) / 20, mode="same")
    clustered = shocks * np.repeat(np.exp(generator.normal(0, 0.7, 60)), 50)
    assert block_length(shocks) < 10
    assert block_length(smooth) > 2 * block_length(shocks)
    assert block_length(clustered) > 2 * block_length(shocks)  # uncorrelated, but its volatility is not
    assert block_length(np.column_stack([shocks, smooth])) == block_length(smooth)
    assert block_length(np.full(100, 0.01)) == 1
    with pytest.raises(DataError, match="too few"):
        block_length(np.ones(5))


def test_spa_sees_skill_and_not_luck() -> None:
    returns = noise(3, columns=8)
    luck = s.spa(returns, "a", list("bcdefgh"), reps=300)
    assert luck.lower <= luck.consistent <= luck.upper
    assert luck.consistent > 0.05
    returns["skilled"] = returns["a"] + 0.0008 + 0.2 * (returns["b"] - returns["b"].mean())
    skill = s.spa(returns, "a", [*"bcdefgh", "skilled"], reps=300)
    assert skill.best == "skilled"
    assert skill.consistent < 0.01
    assert skill.to_dict()["candidates"] == [*"bcdefgh", "skilled"]


def test_spa_size_is_near_nominal() -> None:
    rejected = sum(
        s.spa(noise(100 + seed, periods=300, columns=4), "a", list("bcd"), reps=100).consistent < 0.1
        for seed in range(40)
    )
    assert rejected <= 10  # 4 expected; 10 is beyond the 99.5 % quantile of the binomial


def test_spa_is_studentised() -> None:
    """The scale of a candidate's noise must not decide the test, as it does for a plain maximum of means."""
    returns = noise(4, columns=3)
    steady = returns["a"] + 0.0003 + 0.1 * (returns["b"] - returns["b"].mean())
    wild = returns["a"] + 6 * returns["c"]
    frame = pd.DataFrame({"a": returns["a"], "steady": steady, "wild": wild})
    ours = s.spa(frame, "a", ["steady", "wild"], reps=500)
    excess = frame[["steady", "wild"]].to_numpy() - frame[["a"]].to_numpy()
    plain = SPA(np.zeros(len(frame)), -excess, block_size=ours.block, reps=500, seed=0)
    plain.compute()
    assert ours.best == "steady"
    assert ours.consistent < 0.01 < plain.pvalues["consistent"]


def test_long_run_deviation_is_that_of_arch() -> None:
    excess = noise(6).to_numpy()
    test = SPA(np.zeros(len(excess)), -excess, block_size=7, reps=2, seed=0)
    test.compute()
    assert s._long_run_deviation(excess, 7) == pytest.approx(np.sqrt(test._loss_diff_var), rel=1e-9)


def test_spa_of_a_copy_of_the_benchmark() -> None:
    returns = noise(10)
    returns["copy"] = returns["a"]
    assert s.spa(returns, "a", ["copy"]).consistent == 1.0
    with pytest.raises(DataError, match="at least one"):
        s.spa(returns, "a", [])


def test_probabilistic_sharpe_agrees_with_skfolio() -> None:
    returns = noise(8)["a"].to_numpy() ** 3 * 1e4 + 0.0004
    ours = s.probabilistic_sharpe(returns, benchmark=0.5, risk_free=0.01)
    theirs = skfolio.probabilistic_sharpe_ratio(
        returns, benchmark_sharpe_ratio=0.5 / np.sqrt(252), risk_free_rate=0.01 / 252
    )
    assert ours == pytest.approx(theirs, rel=1e-10)


def test_deflated_sharpe_agrees_with_skfolio() -> None:
    returns = noise(8)["a"].to_numpy()
    trials = np.random.default_rng(0).normal(0.2, 0.5, 40)
    ours = s.deflated_sharpe(returns, trial_sharpes=trials)
    theirs = skfolio.deflated_sharpe_ratio(returns, trials / np.sqrt(252))
    assert ours == pytest.approx(theirs, rel=1e-10)
    assert s.expected_maximum_sharpe(40, 0.5) == pytest.approx(skfolio.expected_max_sharpe_ratio(40, 0.5))


def test_more_trials_deflate_more() -> None:
    returns = noise(8)["a"].to_numpy() + 0.0003
    by_trials = [s.deflated_sharpe(returns, trials=n) for n in (1, 2, 10, 100)]
    assert by_trials == sorted(by_trials, reverse=True)
    assert by_trials[0] == pytest.approx(s.probabilistic_sharpe(returns))
    with pytest.raises(DataError, match="trials is 0"):
        s.deflated_sharpe(returns, trials=0)


def test_no_spread_no_probability() -> None:
    assert np.isnan(s.probabilistic_sharpe(np.full(50, 0.001)))
