"""Tests of the tables of missing sessions and of the dates of each symbol."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.calendars import sessions_of
from data.prices import Prices
from data.snapshots.coverage import EVERY, missing_sessions, symbol_dates


def panel() -> Prices:
    """New York in January 2024 without the 10th, AAA without the 4th and 5th, BBB listed from the 8th on."""
    days = sessions_of("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-31"))
    days = days[days != pd.Timestamp("2024-01-10")]
    close = pd.DataFrame(10.0, days, ["AAA", "BBB"])
    close.loc["2024-01-04":"2024-01-05", "AAA"] = np.nan
    close.loc[:"2024-01-05", "BBB"] = np.nan
    return Prices.from_frames("toy", close=close)


def test_gaps_name_session_and_symbol() -> None:
    found = missing_sessions(panel(), "XNYS")
    rows = [(str(row.date.date()), row.symbol) for row in found.itertuples()]
    assert rows == [("2024-01-04", "AAA"), ("2024-01-05", "AAA"), ("2024-01-10", EVERY)]


def test_without_a_calendar_symbols_are_held_against_each_other() -> None:
    assert set(missing_sessions(panel(), None)["symbol"]) == {"AAA"}


def test_listing_is_no_gap() -> None:
    spans = symbol_dates(panel()).set_index("symbol")
    assert str(spans.loc["BBB", "first"].date()) == "2024-01-08"
    assert spans.loc["AAA", "sessions"] == len(panel().dates) - 2


def test_whole_panel_has_no_gaps() -> None:
    days = sessions_of("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-31"))
    prices = Prices.from_frames("toy", close=pd.DataFrame(10.0, days, ["AAA"]))
    assert missing_sessions(prices, "XNYS").empty
