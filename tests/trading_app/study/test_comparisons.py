"""Comparisons of a study where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from trading_app.evaluation.metrics import sharpe
from trading_app.evaluation.sharpe_difference import (
    Pair,
    mean_sharpe_difference,
    sharpe_difference,
    two_sided_p,
)
from trading_app.study.comparisons import compare_datasets


def pair(
    ahead: float, *, seed: int = 0, count: int = 1500, noise: float = 0.002, start: str = "2015-01-01"
) -> Pair:
    """Two strategies on the same market: one is `ahead` of the other in mean return a year, but for noise."""
    generator = np.random.default_rng(seed)
    dates = pd.bdate_range(start, periods=count)
    market = pd.Series(generator.normal(0.0004, 0.01, count), dates)
    own = market + ahead / 252 + generator.normal(0, noise, count)
    return Pair(own, market, periods=252)


def test_the_difference_is_that_of_the_sharpe_ratios() -> None:
    known = pair(0.05)
    rates = {"periods": 252, "risk_free": 0.02}
    with_rate = Pair(known.own, known.other, **rates)
    wanted = sharpe(known.own, **rates) - sharpe(known.other, **rates)
    assert sharpe_difference(with_rate).value == pytest.approx(float(wanted), rel=1e-12)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """True Sharpe ratios: mean over standard deviation of each series' own distribution."""
    truth = np.sqrt(252) * ((0.0004 + 0.1 / 252) / np.hypot(0.01, 0.002) - 0.04)
    found = [sharpe_difference(pair(0.1, seed=seed, count=750)) for seed in range(200)]
    covered = np.mean([estimate.low <= truth <= estimate.high for estimate in found])
    assert 0.90 <= covered <= 0.985


def test_answers_are_those_of_the_series() -> None:
    pairs = {
        "weak": {"a": pair(0.15), "b": pair(0.15, seed=1)},
        "strong": {"a": pair(-0.15), "b": pair(-0.15, seed=1)},
        "like": {"a": pair(0.0, seed=2), "b": pair(0.0, seed=3)},
        "same": {"a": pair(0.0, noise=0.0), "b": pair(0.0, noise=0.0)},
    }
    single, overall = compare_datasets(pairs, "relaxed", reps=100)
    verdicts = {"weak": "better", "strong": "worse", "like": "undecided", "same": "equal"}
    assert {record["other"]: record["verdict"] for record in overall} == verdicts
    assert [record["verdict"] for record in single] == [verdicts[record["other"]] for record in single]
    text = {record["other"]: record["sentence"] for record in overall}
    assert text["weak"].startswith(
        "Over 2 datasets of real prices, relaxed is better than weak: difference of net Sharpe"
    )
    assert "it is undecided whether relaxed is better than like" in text["like"]
    assert text["same"] == "Over 2 datasets of real prices, relaxed and same have equal returns."
    one = single[0]
    weak = pairs["weak"]["a"]
    assert one["return_difference"]["value"] == pytest.approx(252 * (weak.own - weak.other).mean())
    assert one["return_difference"]["error"] == pytest.approx(252 * 0.002 / np.sqrt(1500), rel=0.2)
    resampled = one["bootstrap"]
    assert resampled["sharpe_difference"] == pytest.approx(one["sharpe_difference"]["value"], abs=1e-9)
    assert resampled["sharpe_low"] == pytest.approx(one["sharpe_difference"]["low"], abs=0.25)


def test_p_values_are_corrected_for_their_number_by_holm() -> None:
    pairs = {f"other-{seed}": {"a": pair(0.05, seed=seed)} for seed in range(4)}
    single, overall = compare_datasets(pairs, "relaxed", reps=50)
    assert overall == []
    ordered = sorted(single, key=lambda record: record["p"])
    largest = 0.0
    for place, record in enumerate(ordered):
        largest = max(largest, min(record["p"] * (4 - place), 1.0))
        assert record["p_holm"] == pytest.approx(largest)


def test_a_difference_that_the_correction_removes_is_undecided_and_says_so() -> None:
    barely = next(
        p for seed in range(100) if 0.02 < two_sided_p(sharpe_difference(p := pair(0.03, seed=seed))) < 0.04
    )
    pairs = {"one": {"a": barely}, **{f"like-{s}": {"a": pair(0.0, seed=s)} for s in range(4)}}
    record = compare_datasets(pairs, "relaxed", reps=50)[0][0]
    assert record["verdict"] == "undecided"
    assert not record["sharpe_difference"]["low"] <= 0 <= record["sharpe_difference"]["high"]
    assert "5 comparisons may show by chance" in record["sentence"]


def test_the_mean_over_datasets_allows_for_those_that_move_together() -> None:
    once = mean_sharpe_difference([pair(0.1)])
    twice = mean_sharpe_difference([pair(0.1), pair(0.1)])
    assert twice.value == pytest.approx(once.value)
    assert twice.error == pytest.approx(once.error)
    independent = mean_sharpe_difference([pair(0.1, seed=seed) for seed in range(16)])
    assert independent.error == pytest.approx(once.error / 4, rel=0.25)
    apart = mean_sharpe_difference([pair(0.1, seed=s, start=f"{1950 + 7 * s}-01-02") for s in range(4)])
    assert apart.error == pytest.approx(once.error / 2, rel=0.25)
    alone = sharpe_difference(pair(0.1))
    assert (once.value, once.error) == pytest.approx((alone.value, alone.error), rel=1e-9)


def test_real_and_simulated_prices_have_answers_of_their_own() -> None:
    ahead = {"a": 0.0, "b": 0.0, "c": 0.2, "d": 0.2}
    found = {label: pair(value, seed=seed) for seed, (label, value) in enumerate(ahead.items())}
    pairs = {"exact": found, "plug-in": {label: found[label] for label in "cd"}}
    _, overall = compare_datasets(pairs, "relaxed", simulated=("c", "d"), reps=50)
    assert [(r["other"], r["group"], "".join(r["datasets"]), r["verdict"]) for r in overall] == [
        ("exact", "real", "ab", "undecided"),
        ("exact", "simulated", "cd", "better"),
        ("plug-in", "simulated", "cd", "better"),
        ("exact", "all", "abcd", "better"),
    ]
    assert overall[-1]["sentence"].startswith("Over 4 datasets, relaxed is better than exact")
    assert overall[1]["sentence"].startswith("Over 2 simulated panels, relaxed is better than exact")


def test_returns_without_variation_have_no_answer() -> None:
    flat = pair(0.1)
    cash = Pair(flat.own, flat.other * 0.0, periods=252)
    (record,), _ = compare_datasets({"cash": {"a": cash}}, "relaxed", reps=50)
    assert record["verdict"] == "undecided"
    assert "cannot be compared" in record["sentence"]
