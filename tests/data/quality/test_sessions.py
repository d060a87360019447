"""Tests of the check of trading days."""

from __future__ import annotations

from typing import Any

import pandas as pd

from data import Prices
from data.quality.checks import validate
from tests.data.quality.tables import closes, kinds, walk


def test_missing_sessions_of_all_symbols_and_of_one(sessions: Any, make_prices: Any) -> None:
    prices: Prices = make_prices(0, 250, 3)
    long = prices.to_long()
    gone = prices.dates[[10, 11, 12, 40]]
    long = long[~long["date"].isin(gone)]
    hole = (long["symbol"] == "S1") & (long["date"] == prices.dates[100])
    late = (long["symbol"] == "S2") & (long["date"] < prices.dates[60])
    report = validate(Prices.from_long(long[~hole & ~late], "x"))
    assert kinds(report) == {"missing-session": 3}
    lines = [str(finding) for finding in report.findings]
    assert lines[0].startswith(f"{gone[0].date()}: no symbol has a row, XNYS was open, for 3 sessions")
    assert lines[1] == f"{gone[3].date()}: no symbol has a row, XNYS was open"
    # Before its first row a symbol misses nothing: it may not have been listed.
    assert lines[2] == f"S1 {prices.dates[100].date()}: no row, other symbols have one"


def test_rows_on_closed_days(sessions: Any) -> None:
    days = sessions("2023-01-03", "2023-12-29").union(pd.DatetimeIndex(["2023-07-04", "2023-12-23"]))
    report = validate(closes(days, walk(len(days))))
    assert [str(finding) for finding in report.findings] == [
        "2023-07-04: XNYS was closed on this Tuesday",
        "2023-12-23: XNYS was closed on this Saturday",
    ]


def test_dates_that_match_no_exchange() -> None:
    days = pd.date_range("2020-01-01", periods=120, freq="W")
    report = validate(closes(days, walk(120)))
    assert kinds(report) == {"no-calendar": 1}
    assert kinds(validate(closes(days, walk(120)), calendar="none")) == {}
