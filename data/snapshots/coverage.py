"""Tables of missing sessions, and of the first and last session of each symbol."""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.calendars import sessions_of
from data.prices import Prices

#: Symbol of a session on which no symbol has a row.
EVERY = "*"


def missing_sessions(prices: Prices, calendar: str | None) -> pd.DataFrame:
    """Return the sessions without a close, one row each with columns ``date`` and ``symbol``, ordered by date.

    They lie between the first and the last row of a symbol; sessions of the calendar (None: the dates of the panel) on
    which no symbol has a close have the symbol ``*``.
    """
    there = np.isfinite(prices.close.to_numpy())
    begun = np.logical_or.accumulate(there)
    goes_on = np.logical_or.accumulate(there[::-1])[::-1]
    rows, columns = np.nonzero(begun & goes_on & ~there)
    found = pd.DataFrame(
        {"date": prices.dates[rows], "symbol": np.array(prices.symbols, dtype=object)[columns]}
    )
    if calendar is not None:
        sessions = sessions_of(calendar, prices.dates[0], prices.dates[-1])
        closed = pd.DataFrame({"date": sessions[~sessions.isin(prices.dates)], "symbol": EVERY})
        found = pd.concat([found, closed])
    return found.sort_values(["date", "symbol"], kind="stable").reset_index(drop=True)


def symbol_dates(prices: Prices) -> pd.DataFrame:
    """Return the first and last session of each symbol; columns ``symbol``, ``first``, ``last``, ``sessions``."""
    there = np.isfinite(prices.close.to_numpy())
    count = there.sum(axis=0)
    ends = {"first": there.argmax(axis=0), "last": len(there) - 1 - there[::-1].argmax(axis=0)}
    dates = {
        name: prices.dates.to_series().iloc[row].where(count > 0).to_numpy() for name, row in ends.items()
    }
    return pd.DataFrame({"symbol": list(prices.symbols), **dates, "sessions": count})
