"""The benchmark of the test for look-ahead, on few signals."""

from __future__ import annotations

from benchmarks.lookahead import causal_and_shifted, forecasts, noise, panels, rows


def test_counts_of_few_signals_reach_the_marks() -> None:
    name, prices = list(panels().items())[1]
    counts = {"noise": noise(prices, 1, 0), "forecasts": forecasts(1, 0, days=600)}
    counts["causal"], counts["shifted"] = causal_and_shifted(prices)
    assert counts == {"noise": (0, 20), "forecasts": (0, 24), "causal": (0, 11), "shifted": (33, 33)}
    document = {
        "rows": [
            {"kind": kind, "what": kind, "prices": name, "found": found, "signals": total}
            for kind, (found, total) in counts.items()
        ]
    }
    assert all(reached for *_, reached in rows(document))
