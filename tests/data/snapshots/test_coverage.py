"""Which sessions lack which symbols; and the facts of the bundled datasets, which are those of their prices."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from data.calendars import sessions_of
from data.errors import DataError
from data.prices import Prices
from data.providers.bundled import bundled_names
from data.providers.bundled_facts import bundled_facts, measure_facts
from data.snapshots.coverage import EVERY, listed, missing_sessions


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
    spans = listed(panel()).set_index("symbol")
    assert str(spans.loc["BBB", "first"].date()) == "2024-01-08"
    assert spans.loc["AAA", "sessions"] == len(panel().dates) - 2


def test_whole_panel_has_no_gaps() -> None:
    days = sessions_of("XNYS", pd.Timestamp("2024-01-02"), pd.Timestamp("2024-01-31"))
    prices = Prices.from_frames("toy", close=pd.DataFrame(10.0, days, ["AAA"]))
    assert missing_sessions(prices, "XNYS").empty


@pytest.mark.parametrize("name", bundled_names())
def test_facts_of_bundled_data_are_those_of_their_prices(name: str) -> None:
    """Where this fails after a dataset changed: ``python -m data.providers.bundled_facts`` writes the facts anew."""
    assert bundled_facts(name) == measure_facts(name)


def test_unknown_bundled_dataset_names_those_there_are() -> None:
    with pytest.raises(DataError, match="sp500-20"):
        bundled_facts("nothing")
