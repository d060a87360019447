"""Which sessions lack which symbols, as a table and as plain facts that can be kept beside the prices."""

from __future__ import annotations

import pandas as pd

from data.prices import Prices
from data.sessions import sessions_of

#: Stands for every symbol where no symbol has a row.
EVERY = "*"


def missing_sessions(prices: Prices, calendar: str | None) -> pd.DataFrame:
    """Sessions without a close, a row each, by date.

    Parameters
    ----------
    prices
        A panel.
    calendar
        Exchange whose sessions count, as `data.findings.Report.calendar` has it; None: the panel's own dates.

    Returns
    -------
    DataFrame
        Columns ``date`` and ``symbol``: sessions between the first and the last row of a symbol on which it has none,
        and, with symbol ``*``, sessions of the exchange on which no symbol has one.
    """
    there = prices.close.notna()
    own = there.cummax() & there[::-1].cummax()[::-1] & ~there
    rows = [
        pd.DataFrame({"date": prices.dates[own[symbol].to_numpy()], "symbol": symbol})
        for symbol in prices.symbols
        if own[symbol].any()
    ]
    if calendar is not None:
        sessions = sessions_of(calendar, prices.dates[0], prices.dates[-1])
        closed = sessions[~sessions.isin(prices.dates)]
        rows.append(pd.DataFrame({"date": closed, "symbol": EVERY}))
    if not rows:
        return pd.DataFrame({"date": pd.DatetimeIndex([]), "symbol": pd.Series([], dtype=object)})
    return pd.concat(rows).sort_values(["date", "symbol"], kind="stable").reset_index(drop=True)


def listed(prices: Prices) -> pd.DataFrame:
    """First and last session with a close of each symbol; columns ``symbol``, ``first``, ``last``, ``sessions``."""
    there = prices.close.notna().to_numpy()
    rows = []
    for number, symbol in enumerate(prices.symbols):
        held = prices.dates[there[:, number]]
        rows.append((symbol, held[0] if len(held) else pd.NaT, held[-1] if len(held) else pd.NaT, len(held)))
    return pd.DataFrame(rows, columns=["symbol", "first", "last", "sessions"])
