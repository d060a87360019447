"""Notes on the assumptions of a backtest, in sentences for a report."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trading_app.backtesting.ledger import Ledger
from trading_app.market.costs import CostModel
from trading_app.market.panel import TradingPanel

_NAMED = 5
_RATE_LASTS = pd.Timedelta(days=45)


def backtest_notes(
    panel: TradingPanel,
    costs: CostModel,
    book: Ledger,
    nav: NDArray[np.float64],
) -> tuple[str, ...]:
    """Return the notes of the backtest of one strategy, with its ledger and net asset values [T]."""
    alive = nav[:-1] > 0
    filled = book.filled & alive
    notes = list(panel.notes)
    if not panel.always_traded:
        notes += _gaps(panel, book, alive)
    if panel.open_missing is not None:
        traded = filled[:, None] & ((book.target != 0) | (book.before != 0))
        used = int((traded & panel.open_missing[1:]).sum())
        if used:
            notes.append(f"{used} fills used the close of the session because its open is missing.")
    notes += _rates(panel, costs)
    if costs.impact_coefficient > 0:
        notes += _without_impact(panel, book, filled)
    if (nav <= 0).any():
        day = panel.dates[int(np.argmax(nav <= 0))].date()
        notes.append(f"The account lost everything on {day}; it stays at 0 from there on.")
    return tuple(notes)


def _rates(panel: TradingPanel, costs: CostModel) -> list[str]:
    """Notes on sessions without a dated risk-free rate of their own time."""
    record = costs.rates_record()
    if record is None:
        return []
    notes = []
    if pd.Timestamp(record["first"]) > panel.dates[0]:
        notes.append(
            f"Risk-free rates begin on {record['first']}; before, cash earns {costs.risk_free:.2%} a year."
        )
    if panel.dates[-1] - pd.Timestamp(record["last"]) > _RATE_LASTS:
        notes.append(f"The last risk-free rate is of {record['last']}; it is used until the end.")
    return notes


def _gaps(panel: TradingPanel, book: Ledger, alive: NDArray[np.bool_]) -> list[str]:
    """Notes on positions held through sessions without a trade, and on those closed because a symbol ended."""
    had = (book.before != 0) & alive[:, None]
    closed = panel.status.closing[1:] & had
    held = ~panel.status.traded[1:] & ~panel.status.closing[1:] & had
    notes = []
    if held.any():
        count, symbols = int(held.sum()), int(held.any(axis=0).sum())
        notes.append(
            f"{count} times a symbol did not trade while it was held ({symbols} symbol{_s(symbols)}): its units were "
            "kept and valued at the last price."
        )
    rows, columns = np.nonzero(closed)
    if len(rows):
        named = [
            f"{panel.symbols[column]} on {panel.dates[row + 1].date()}"
            for row, column in zip(rows[:_NAMED], columns[:_NAMED], strict=True)
        ]
        more = "" if len(rows) <= _NAMED else f" and {len(rows) - _NAMED} more"
        notes.append(
            f"{len(rows)} position{_s(len(rows))} closed because the symbol has no later prices, at the last price and "
            f"the delisting return of the settings: {', '.join(named)}{more}."
        )
    return notes


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _without_impact(panel: TradingPanel, book: Ledger, filled: NDArray[np.bool_]) -> list[str]:
    if panel.volume is None:
        return ["No market impact was charged: the prices come without volume."]
    known = np.isfinite(panel.volume[1:]) & (panel.volume[1:] > 0)
    traded = filled[:, None] & (book.target != book.before)
    unknown = int((traded & ~known).sum())
    return [f"No market impact was charged on {unknown} trades: the volume is unknown."] if unknown else []
