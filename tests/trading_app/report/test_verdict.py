"""Sentences of the verdict, each supported by its test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import equal_weight
from trading_app.backtesting.summary import evidence
from trading_app.market.panel import trading_panel
from trading_app.report.verdict import p_value, percent_chance, sizing_sentence, verdict


def comparison(low: float | None, high: float | None, **changes: Any) -> dict[str, Any]:
    known = low is not None and high is not None
    finding = "better" if known and low > 0 else "worse" if known and high < 0 else "indistinguishable"
    return {
        "baseline": "equal-weight", "sharpe_difference": 0.1, "sharpe_low": low, "sharpe_high": high,
        "excess_return": 0.02, "excess_low": -0.01, "excess_high": 0.05, "probability_ahead": 0.9,
        "level": 0.95, "verdict": finding, **changes,
    }  # fmt: skip


def document(low: float | None, high: float | None, p: float, **changes: Any) -> dict[str, Any]:
    test = {
        "benchmark": "equal-weight",
        "candidates": ["agent", "seed-0", "seed-1"],
        "consistent": p,
        "reps": 1000,
    }
    return {
        "reference": "equal-weight", "comparisons": [comparison(low, high)], "spa": [test],
        "spa_reverse": {**test, "benchmark": "agent", "best": "momentum", "consistent": 0.6},
        "deflated_sharpe": 0.7, "trials": 1, "seeds": {}, "strategies": {}, "costs": {}, **changes,
    }  # fmt: skip


def test_verdict_claims_no_more_than_the_tests() -> None:
    open_case = verdict(document(-0.3, 0.4, 0.5))
    assert open_case.tone == "open"
    assert open_case.sentence == (
        "Mean return not distinguishable from equal weight after costs: 2.0\u202f% a year (\u22121.0\u202f% to "
        "5.0\u202f%); Sharpe ratio not distinguishable (difference \u22120.30 to 0.40, 95\u202f% intervals)."
    )
    assert verdict(document(0.1, 0.6, 0.01)).tone == "better"
    assert "Sharpe ratio higher" in verdict(document(0.1, 0.6, 0.01)).sentence
    assert verdict(document(-0.6, -0.1, 0.9)).tone == "worse"
    less = document(-0.3, 0.4, 0.5)
    less["comparisons"][0] |= {"excess_return": -0.01, "excess_low": -0.017, "excess_high": -0.004}
    assert verdict(less).tone == "worse"
    assert verdict(less).sentence.startswith(
        "Earned less than equal weight after costs: \u22121.0\u202f% a year (\u22121.7\u202f% to \u22120.4\u202f%); "
        "Sharpe ratio not distinguishable"
    )
    luck = verdict(document(0.1, 0.6, 0.2))
    assert luck.tone == "open"
    assert "with all 3 strategies compared" in luck.sentence
    assert verdict(document(None, None, 1.0)).sentence.startswith("No Sharpe ratio to compare")


def test_verdict_counts_trials_and_better_baselines() -> None:
    many = " ".join(verdict(document(-0.3, 0.4, 0.5, trials=40)).details)
    assert "40 settings were tried" in many
    assert "70\u202f%" in many
    assert "Neither the agent nor any of its 2 seeds has a demonstrably higher mean return" in many
    beaten = document(-0.3, 0.4, 0.5)
    beaten["spa_reverse"]["consistent"] = 0.01
    assert "At least one baseline, momentum, has a higher mean return" in " ".join(verdict(beaten).details)


def test_probabilities_never_claim_certainty() -> None:
    assert percent_chance(1.0) == "over 99\u202f%"
    assert percent_chance(0.0) == "under 1\u202f%"
    assert percent_chance(0.5) == "50\u202f%"
    assert percent_chance(None) == "–"
    assert p_value({"consistent": 0.0, "reps": 1000}) == "p < 0.001"
    assert p_value({"consistent": 0.123, "reps": 1000}) == "p = 0.12"
    assert p_value({"consistent": 0.0123, "reps": 1000}) == "p = 0.012"


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), gaps=st.booleans())
def test_one_nth_every_day_is_never_told_apart_from_daily_equal_weight(seed: int, gaps: bool) -> None:
    """On random calendars, with lost rows, a late listing and a symbol that ends, over seeds that differ by nothing."""
    generator = np.random.default_rng(seed)
    dates = pd.bdate_range("2018-01-01", periods=160)
    close = pd.DataFrame(
        100 * np.exp(np.cumsum(generator.normal(0, 0.02, (160, 4)), axis=0)), dates, list("ABCD")
    )
    if gaps:
        close = close.mask(generator.random(close.shape) < 0.05)
        close.iloc[:40, 1] = np.nan
        close.iloc[100:, 2] = np.nan
    prices = Prices.from_frames("made", close=close)
    start = dates[30]
    status = trading_panel(prices).status.available[30:]
    shares = pd.DataFrame(status / np.maximum(status.sum(1, keepdims=True), 1), dates[30:], list("ABCD"))
    strategies = {
        "agent": shares,
        "seed-0": shares,
        "seed-1": shares,
        "equal-weight-daily": equal_weight(prices, start, rebalance="daily"),
    }
    results = backtest(prices, strategies, start=start)
    document = evidence(results, reference="equal-weight-daily", reps=50)
    found = verdict(document)
    assert found.tone == "open"
    assert "Mean return not distinguishable" in found.sentence
    assert document["comparisons"][0]["excess_return"] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("sizes", "correlations", "sentence"),
    [
        ([], [0.9], ""),
        (
            [2.0],
            [0.9],
            "earned more than the base, by 4.0 standard errors, at size 2 and speed 0.5; the agent trades so.",
        ),
        ([2.0], [0.1], "earned more than the base, by 4.0 standard errors, at size 2 and speed 0.5."),
        (
            [0.0],
            [0.9],
            "no size of their active weights earned clearly more than the base, so the agent holds it.",
        ),
        ([0.0], [0.1], "no size of their active weights earned clearly more than the base."),
        ([0.0, 1.0], [0.9, 0.9], "than the base in 1 of 2 trainings, so the agent holds it, there."),
    ],
)
def test_sizing_is_said_with_what_the_agent_does(
    sizes: list[float], correlations: list[float], sentence: str
) -> None:
    base = {
        "low": None,
        "high": None,
        "level": 0.95,
        "seeds": 2,
        "sessions": 9,
        "needed": 0.5,
        "base": "equal-weight",
    }
    record = {
        "agreement": [{**base, "correlation": value} for value in correlations],
        "sizing": [
            {"size": size, "speed": 0.5, "gain": 4.0, "error": 1.0, "sessions": 9, "by_asset": None}
            for size in sizes
        ],
    }
    assert sizing_sentence(record).endswith(sentence)
    assert bool(sizing_sentence(record)) == bool(sizes)
