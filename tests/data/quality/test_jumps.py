"""Tests of the search for unadjusted splits and stale closes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices
from data.quality.checks import validate
from tests.data.quality.tables import closes, kinds, walk


@pytest.mark.parametrize(("ratio", "text"), [(2, "2:1"), (1.5, "3:2"), (20, "20:1"), (0.1, "1:10")])
def test_unadjusted_splits_are_suspected(sessions: Any, ratio: float, text: str) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    values = walk(len(days))
    values[150:] /= ratio
    report = validate(closes(days, values))
    assert kinds(report) == {"split-jump": 1}
    assert report.findings[0].date == str(days[150].date())
    assert f"like a {text} split" in report.findings[0].message


def test_other_large_moves_are_not_suspected(sessions: Any) -> None:
    days = sessions("2022-01-03", "2022-12-30")
    crash = walk(len(days))
    crash[150:] *= 0.58
    assert kinds(validate(closes(days, crash))) == {}
    # Halved at the close, but the open was where it had been: a crash within the day.
    half = walk(len(days))
    half[150:] /= 2
    opened = np.r_[half[0], half[:-1]]
    assert kinds(validate(closes(days, half, open=opened))) == {}
    # Adjusted closes know of the split.
    adjusted = walk(len(days))
    assert kinds(validate(closes(days, half, adj_close=adjusted))) == {}
    # A wild asset moves by a third on many days.
    wild = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.3, len(days))))
    assert kinds(validate(closes(days, wild))) == {}


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
