"""Tests of exchange calendars: detection from dates and the next session."""

from __future__ import annotations

import logging
from datetime import date

import pandas as pd
import pytest

from data.calendars import detect_calendar, next_session, sessions_of

WEEK = pd.bdate_range("2024-03-11", "2024-03-28")


@pytest.mark.parametrize("code", ["XNYS", "XLON", "XTKS", "24/7"])
def test_exchange_is_detected_from_its_days(code: str) -> None:
    days = sessions_of(code, pd.Timestamp("2019-01-01"), pd.Timestamp("2022-12-31"))
    # Frankfurt and Zurich never differ for long, London and Paris hardly: the sessions must fit, not the name.
    found = detect_calendar(days)
    assert found is not None
    assert len(sessions_of(found, days[0], days[-1]).symmetric_difference(days)) <= 3


def test_next_session_is_the_next_date_of_the_prices() -> None:
    assert next_session(WEEK, WEEK[2], "XNYS") == WEEK[3].date()


def test_next_session_after_the_last_price_skips_holidays() -> None:
    # 29 March 2024 is Good Friday, 1 April a Monday.
    assert next_session(WEEK, WEEK[-1], "XNYS") == date(2024, 4, 1)
    assert next_session(WEEK, WEEK[-1], "XLON") == date(2024, 4, 2)


def test_next_session_of_prices_that_trade_every_day_is_tomorrow() -> None:
    days = pd.date_range("2024-03-11", "2024-03-28")
    assert next_session(days, days[-1], "XNYS") == date(2024, 3, 29)


def test_next_session_without_a_calendar_is_the_next_weekday(caplog: pytest.LogCaptureFixture) -> None:
    friday = pd.bdate_range("2024-03-11", "2024-03-22")
    with caplog.at_level(logging.WARNING):
        assert next_session(friday, friday[-1], "NONE") == date(2024, 3, 25)
    assert "calendar NONE does not reach" in caplog.text
