"""Sessions of exchanges: trading days, the calendar that dates follow, and the next session."""

from __future__ import annotations

import functools
import logging
from datetime import date, timedelta

import pandas as pd

from data.errors import DataError
from data.frequency import periods_per_year

logger = logging.getLogger(__name__)

_CANDIDATES = (
    *("XNYS", "XLON", "XETR", "XPAR", "XSWX", "XTKS", "XHKG", "XTSE", "XASX", "XBOM", "XSHG", "BVMF"),
    "24/7",
)
# Scores of a match with a few odd days, and of the worst match that is accepted.
_CLEAR, _PLAUSIBLE = 0.995, 0.9
# Last sessions of a market in which a weekend day shows that it never closes.
_LOOK_BACK = 10
# No exchange has been closed for so long.
_LONGEST_CLOSURE = timedelta(days=31)


def sessions_of(calendar: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DatetimeIndex:
    """Return the sessions of an exchange from `start` to `end`, both included.

    Raises `DataError` if exchange_calendars has no such calendar, or not for these dates.
    """
    # Whole years, so that checks of one range after another build a calendar once.
    sessions = _sessions_of_years(calendar, start.year, end.year)
    return sessions[(sessions >= start) & (sessions <= end)]


@functools.lru_cache(maxsize=32)
def _sessions_of_years(calendar: str, first: int, last: int) -> pd.DatetimeIndex:
    import exchange_calendars

    if calendar not in exchange_calendars.get_calendar_names():
        raise DataError(f"no exchange calendar '{calendar}' (examples: {', '.join(_CANDIDATES)})")
    try:
        built = exchange_calendars.get_calendar(calendar, start=f"{first}-01-01", end=f"{last}-12-31")
    except ValueError as error:
        raise DataError(f"calendar {calendar}: {' '.join(str(error).split())}") from error
    return pd.DatetimeIndex(built.sessions.to_numpy().astype("datetime64[ns]"))


def detect_calendar(dates: pd.DatetimeIndex) -> str | None:
    """Return the calendar that the dates match best, or None if they match none well."""
    if periods_per_year(dates) < 252:  # weekly or slower: no sessions of an exchange
        return None
    best, best_score = None, _PLAUSIBLE
    for calendar in _CANDIDATES:
        try:
            sessions = sessions_of(calendar, dates[0], dates[-1])
        except DataError:
            continue
        common = len(sessions.intersection(dates))
        score = 2 * common / (len(sessions) + len(dates))
        if score > best_score:
            best, best_score = calendar, score
        if score >= _CLEAR:
            break
    return best


def resolve_calendar(calendar: str, dates: pd.DatetimeIndex) -> str | None:
    """Return the calendar to check against for ``auto``, ``none`` or a code; None for no check."""
    if calendar == "none":
        return None
    return detect_calendar(dates) if calendar == "auto" else calendar


def next_session(dates: pd.DatetimeIndex, session: pd.Timestamp, calendar: str) -> date:
    """Return the session after one of the prices' sessions: the next of `dates`, or after the last that of a calendar.

    Prices with a weekend day among their last sessions trade every day, whatever the calendar.
    """
    position = int(dates.searchsorted(session, side="right"))
    if position < len(dates):
        return dates[position].date()
    if (dates[-_LOOK_BACK:].day_of_week >= 5).any():
        return session.date() + timedelta(days=1)
    return _session_after(session.date(), calendar)


@functools.lru_cache(maxsize=1024)
def _session_after(day: date, calendar: str) -> date:
    start = day + timedelta(days=1)
    try:
        return sessions_of(calendar, pd.Timestamp(start), pd.Timestamp(day + _LONGEST_CLOSURE))[0].date()
    except (DataError, IndexError, OverflowError):
        logger.warning("calendar %s does not reach %s: the next weekday is used", calendar, start)
        return day + timedelta(days={4: 3, 5: 2}.get(day.weekday(), 1))
