"""Placebo markets: what today's defaults hold and trade over what the former ones did."""

from __future__ import annotations

from benchmarks.learning.placebo import against_former


def markets(gross: float, turnover: float) -> list[dict[str, dict[str, float]]]:
    return [
        {
            "gross": {"agent": 9.0, "seed-0": gross - 0.1, "seed-1": gross + 0.1},
            "turnover": {"agent": 9.0, "seed-0": turnover, "seed-1": turnover},
        }
        for _ in range(3)
    ]


def test_ratio_is_that_of_the_seeds_means() -> None:
    found = against_former({"random": markets(0.2, 5.0), "former": markets(0.8, 50.0)})
    assert round(found["gross"]["ratio"], 6) == 0.25
    assert round(found["turnover"]["ratio"], 6) == 0.1
    assert round(found["gross"]["low"], 6) == round(found["gross"]["high"], 6) == 0.25
