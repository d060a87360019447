"""Tests of the search for unadjusted splits and stale closes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices
from data.quality.checks import validate
from data.quality.pipeline import CheckOptions, check_and_build
from data.readers.files import read_prices
from tests.data.quality.tables import closes, kinds, table, walk


@pytest.mark.parametrize(("ratio", "text"), [(2, "2:1"), (1.5, "3:2"), (20, "20:1"), (0.1, "1:10")])
def test_unadjusted_splits_are_suspected(sessions: Any, ratio: float, text: str) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150:] /= ratio
    report = validate(closes(days, values))
    assert kinds(report) == {"split-jump": 1}
    assert report.findings[0].date == str(days[150].date())
    assert f"like an unadjusted {text} split" in report.findings[0].message


def test_other_large_moves_are_no_splits(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    crash = walk(len(days))
    crash[150:] *= 0.58
    assert kinds(validate(closes(days, crash))) == {"large-move": 1}
    # Halved at the close, but the open was where it had been: a crash within the day.
    half = walk(len(days))
    half[150:] /= 2
    opened = np.r_[half[0], half[:-1]]
    assert kinds(validate(closes(days, half, open=opened))) == {"large-move": 1}
    # Adjusted closes show no jump.
    adjusted = walk(len(days))
    assert kinds(validate(closes(days, half, adj_close=adjusted))) == {}
    # A wild asset moves by a third on many days.
    wild = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.3, len(days))))
    assert kinds(validate(closes(days, wild))) == {}


@pytest.mark.parametrize("factor", [37, 1000, 0.001, 60, 12.5, 1.45, 0.65, 2, 100])
@pytest.mark.parametrize("length", [1, 3])
def test_spikes_are_found_and_blanked(sessions: Any, factor: float, length: int) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150 : 150 + length] *= factor
    report = validate(closes(days, values))
    assert kinds(report) == {"spike": 1}
    assert report.findings[0].date == str(days[150].date())
    rows = [(day, "A", value) for day, value in zip(days, values, strict=True)]
    options = CheckOptions("XNYS", repair=("blank-spikes", "adjust-splits"))
    prices = check_and_build(table(rows, "date symbol close"), "x", {}, options).prices
    expected = walk(len(days))
    expected[150 : 150 + length] = np.nan
    np.testing.assert_array_equal(prices.close["A"], expected)


@pytest.mark.parametrize("factor", [60, 12.5, 0.22, 2.4, 1000])
def test_level_shifts_beyond_any_split_are_large_moves(sessions: Any, factor: float) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150:] *= factor
    assert kinds(validate(closes(days, values))) == {"large-move": 1}


def test_spikes_of_opens_highs_and_lows(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    close = walk(len(days))
    high, low = close * 1.01, close * 0.99
    high[40] *= 10
    low[70] /= 100
    report = validate(closes(days, close, high=high, low=low))
    assert [(item.kind, item.date) for item in report.findings] == [
        ("spike", str(days[40].date())),
        ("spike", str(days[70].date())),
    ]
    assert "high is" in report.findings[0].message


def test_case_of_a_spike(cases: Path) -> None:
    result = read_prices([cases / "price-spike.csv"], checks=CheckOptions(repair=("blank-spikes",)))
    assert result.repairs[0]["changes"] == ["price-spike.csv line 11: A 2024-03-15: close → missing"]
    assert kinds(result.report) == {"missing-value": 1}


def test_crash_without_a_split_stays_a_crash(cases: Path) -> None:
    options = CheckOptions(repair=("adjust-splits",))
    result = read_prices([cases / "true-crash.csv"], checks=options)
    assert kinds(result.report) == {"large-move": 1}
    assert result.repairs[0]["count"] == 0
    assert result.prices.adjusted()["X"].min() == 47.23


def test_closes_are_checked_for_symbols_without_adjusted_closes(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    half = walk(len(days))
    half[150:] /= 2
    frame = pd.DataFrame({"with": half, "without": half}, index=days)
    adjusted = pd.DataFrame({"with": walk(len(days)), "without": np.nan}, index=days)
    report = validate(Prices.from_frames("two", close=frame, adj_close=adjusted))
    jumps = [finding for finding in report.findings if finding.kind == "split-jump"]
    assert [(jump.symbol, jump.date) for jump in jumps] == [("without", str(days[150].date()))]


def test_stale_runs(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[50:65] = values[50]
    values[100:108] = values[100]
    report = validate(closes(days, values))
    assert kinds(report) == {"stale-run": 1}
    assert "for 15 sessions" in report.findings[0].message
    assert kinds(validate(closes(days, values), stale_sessions=8)) == {"stale-run": 2}
