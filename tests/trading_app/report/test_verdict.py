"""Sentences of the verdict, each supported by its test."""

from __future__ import annotations

from typing import Any

from trading_app.report.verdict import p_value, percent_chance, verdict


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
