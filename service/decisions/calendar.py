"""When a decision can be traded: the session after the one it was made at."""

from __future__ import annotations

import logging
import threading
from datetime import date, timedelta
from typing import Any

import pandas as pd

logger = logging.getLogger(__name__)

_LOOK_BACK = 10


class Calendar:
    """The sessions of an exchange, and of markets that never close.

    Parameters
    ----------
    name : str
        Exchange calendar, such as ``XNYS``.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._next: dict[date, date] = {}
        self._lock = threading.Lock()
        self._exchange: Any = None

    def next_session(self, dates: pd.DatetimeIndex, session: pd.Timestamp) -> date:
        """Give the session after `session`: from the prices where they go on, else from the calendar."""
        position = int(dates.searchsorted(session, side="right"))
        if position < len(dates):
            return dates[position].date()
        if (dates[-_LOOK_BACK:].day_of_week >= 5).any():
            return session.date() + timedelta(days=1)
        return self._following(session.date())

    def _following(self, day: date) -> date:
        with self._lock:
            if day not in self._next:
                self._next[day] = self._ask(day)
            return self._next[day]

    def _ask(self, day: date) -> date:
        import exchange_calendars

        try:
            if self._exchange is None:
                self._exchange = exchange_calendars.get_calendar(self._name)
            following: pd.Timestamp = self._exchange.date_to_session(
                pd.Timestamp(day + timedelta(days=1)), direction="next"
            )
            return following.date()
        except (ValueError, exchange_calendars.errors.CalendarError):
            # Outside the calendar's years: the next weekday is the best there is to say.
            logger.warning("calendar %s does not reach %s; the next weekday is given", self._name, day)
            step = {4: 3, 5: 2}.get(day.weekday(), 1)
            return day + timedelta(days=step)
