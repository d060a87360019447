"""What a backtest had to assume, in sentences for a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trading_app.backtesting.ledger import Ledger
from trading_app.market.costs import CostModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trading_app.market.panel import TradingPanel

_NAMED = 5


def backtest_notes(
    panel: TradingPanel,
    costs: CostModel,
    book: Ledger,
    targets: NDArray[np.float64],
    nav: NDArray[np.float64],
) -> tuple[str, ...]:
    """Return the notes of one strategy's backtest.

    Parameters
    ----------
    panel
        The prices as traded on.
    costs
        The cost model.
    book
        The strategy's movements.
    targets
        Its target weights as given [T, N].
    nav
        Its net asset values [T].
    """
    alive = nav[:-1] > 0
    filled = book.filled & alive
    notes = list(panel.notes)
    if not panel.all_tradable:
        notes += _untradable(panel, book, targets, filled, alive)
    if panel.open_missing is not None:
        traded = filled[:, None] & ((book.target != 0) | (book.before != 0))
        used = int((traded & panel.open_missing[1:]).sum())
        if used:
            notes.append(f"{used} fills used the close of the session because its open is missing.")
    if costs.impact_coefficient > 0:
        notes += _without_impact(panel, book, filled)
    if (nav <= 0).any():
        day = panel.dates[int(np.argmax(nav <= 0))].date()
        notes.append(f"The account lost everything on {day}; it stays at 0 from there on.")
    return tuple(notes)


def _untradable(
    panel: TradingPanel,
    book: Ledger,
    targets: NDArray[np.float64],
    filled: NDArray[np.bool_],
    alive: NDArray[np.bool_],
) -> list[str]:
    gone = ~panel.tradable[1:]
    closed = gone & filled[:, None] & (book.before != 0)
    closed |= (book.closed != 0) & alive[:, None]
    notes = []
    rows, columns = np.nonzero(closed)
    if len(rows):
        named = [
            f"{panel.symbols[column]} on {panel.dates[row + 1].date()}"
            for row, column in zip(rows[:_NAMED], columns[:_NAMED], strict=True)
        ]
        more = "" if len(rows) <= _NAMED else f" and {len(rows) - _NAMED} more"
        plural = "s were" if len(rows) > 1 else " was"
        notes.append(
            f"{len(rows)} position{plural} closed at the last price for want of one: "
            f"{', '.join(named)}{more}."
        )
    refused = int((gone & filled[:, None] & (np.nan_to_num(targets[:-1]) != 0)).sum())
    if refused:
        notes.append(
            f"{refused} targets named a symbol without a price on the day of the fill; they stayed in cash."
        )
    return notes


def _without_impact(panel: TradingPanel, book: Ledger, filled: NDArray[np.bool_]) -> list[str]:
    if panel.volume is None:
        return ["No market impact was charged: the prices come without volume."]
    known = np.isfinite(panel.volume[1:]) & (panel.volume[1:] > 0)
    traded = filled[:, None] & (book.target != book.before)
    unknown = int((traded & ~known).sum())
    return [f"No market impact was charged on {unknown} trades for want of volume."] if unknown else []
