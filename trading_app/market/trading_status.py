"""Sessions in which a symbol trades, is available to decisions, or ends.

A symbol trades in a session with a price and, where its volume is known, a volume above 0. It is available to a
decision while its latest trade is less than `delist_after` sessions old. It ends after its last row, or after
`delist_after` sessions without a trade: a position in it is then closed at its last price times (1 + delisting return).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

__all__ = ["DELIST_AFTER", "TradingStatus", "trading_status"]

DELIST_AFTER = 10


@dataclass(frozen=True, eq=False)
class TradingStatus:
    """Flags [T, N] of each session and symbol.

    ``traded``: the symbol trades. ``available``: a decision at the close may give it weight, known from this and
    earlier sessions alone. ``closing``: a position in it is closed in this session because the symbol has ended.
    """

    traded: Flags
    available: Flags
    closing: Flags


def trading_status(
    close: Floats,
    volume: Floats | None,
    delist_after: int = DELIST_AFTER,
    members: Flags | None = None,
) -> TradingStatus:
    """Return the status of each symbol in each session.

    Parameters
    ----------
    close
        Closes, NaN where there is none [T, N].
    volume
        Volumes, NaN where unknown [T, N]; None without volumes. The volume of a symbol for which it is never above 0
        (an index, an exchange rate) is taken as unknown.
    delist_after
        Sessions without a trade after which a symbol has ended. A symbol whose last row is fewer sessions before the
        last session may trade again and has not ended.
    members
        Whether each symbol belongs to the universe [T, N]; one that does not is not available.
    """
    traded = np.isfinite(close)
    if volume is not None:
        traded &= ~((volume == 0) & (volume > 0).any(axis=0))
    sessions = np.arange(len(close))[:, None]
    latest = np.maximum.accumulate(np.where(traded, sessions, -1), axis=0)
    idle = sessions - latest
    started = latest >= 0
    closing = started & (idle == delist_after)
    # A symbol that never trades again ends right after its last row.
    last = latest[-1]
    ended = (last >= 0) & (idle[-1] >= delist_after)
    closing &= ~(ended & (sessions > last))
    closing[last[ended] + 1, np.flatnonzero(ended)] = True
    available = started & (idle < delist_after)
    return TradingStatus(traded, available if members is None else available & members, closing)
