"""Blocks of sessions that fit a core's cache, for the fast form of the ledger in `trading_app.backtesting.engine`.

Arrays [rows, N] lie in column order, without gaps, and begin on a cache line; a block has whole cache lines of
rows. So a factor of each session multiplies contiguous memory, a sum over assets adds whole columns, and NumPy
runs over an array in one sweep of aligned vectors, which takes about half the time of any other layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trading_app.market.panel import ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trading_app.market.costs import CostModel
    from trading_app.market.panel import TradingPanel

    Floats = NDArray[np.float64]

# Cells of a block: few enough for a cache of 2 MB, many enough that threads seldom wait for each other.
BLOCK_CELLS = 56_000
# Bytes of a cache line, and numbers in one.
_LINE = 64
_PER_LINE = _LINE // 8


@dataclass(frozen=True)
class Block:
    """Price ratios and impact of some sessions; rows beyond the last session are padding.

    Attributes
    ----------
    rows
        Positions among the D sessions with a fill.
    height
        Rows with the padding.
    overnight
        Next fill price / close, 1 after the last session [height, N].
    intraday
        Close / fill price [height, N]; None where fills are at the close.
    impact
        Impact coefficients [height, N]; None where none is charged.
    """

    rows: slice
    height: int
    overnight: Floats
    intraday: Floats | None
    impact: Floats | None


def blocks(panel: TradingPanel, costs: CostModel) -> list[Block]:
    """Cut sessions 1 … T − 1 of a panel into blocks."""
    impact = panel.impact(costs)
    overnight: Floats = np.ones(panel.close[1:].shape)
    np.divide(panel.price[2:], panel.close[1:-1], out=overnight[:-1])
    intraday = None if panel.at_close else ratio(panel.close[1:], panel.price[1:])
    return [
        Block(
            rows,
            height,
            _filled(overnight[rows], height, 1.0),
            None if intraday is None else _filled(intraday[rows], height, 1.0),
            None if impact is None else _filled(impact[1:][rows], height, 0.0),
        )
        for rows, height in _cuts(len(overnight), overnight.shape[1])
    ]


class Workspace:
    """Reused memory for one block of sessions at a time.

    Parameters
    ----------
    height, assets
        Rows of the tallest block, and N.
    """

    def __init__(self, height: int, assets: int) -> None:
        self._assets = assets
        self._memory = [_aligned(height * assets + _PER_LINE) for _ in range(5)]

    def target(self, targets: Floats, block: Block) -> Floats:
        """Return the target weights of a block from those of all sessions [D or more, N]."""
        count = block.rows.stop - block.rows.start
        target = self._columns(0, block.height)
        target[:count] = targets[block.rows]
        target[count:] = 0.0
        return target

    def values(self, height: int) -> tuple[Floats, Floats]:
        """Return arrays for values at the close and before the next fill [height, N] each."""
        return self._columns(1, height), self._columns(2, height)

    def scratch(self, height: int) -> Floats:
        """Return an array for intermediate results [height, N]."""
        return self._columns(3, height)

    def pre_trade(self, first: Floats, leaving: Floats, account: Floats) -> Floats:
        """Return the weights before each fill of a block: the first ones, then positions over the account.

        Parameters
        ----------
        first
            Weights before the first fill [N].
        leaving, account
            Values of the positions before the fill that follows each one [n, N], and of the account [n].
        """
        # Written with an offset of one row, so that one contiguous write serves all columns; the last row of a column
        # falls on the first row of the next one, which is set afterwards. Divisions are slow: one for each session.
        after = self._columns(4, len(leaving), offset=1)
        np.multiply(leaving, (1.0 / account)[:, None], out=after)
        held = self._columns(4, len(leaving))
        held[0] = first
        return held

    def _columns(self, which: int, height: int, offset: int = 0) -> Floats:
        memory = self._memory[which][offset : offset + height * self._assets]
        return memory.reshape(self._assets, height).T


def _cuts(sessions: int, assets: int) -> Iterator[tuple[slice, int]]:
    """Blocks of about equal size, each with its rows padded to whole cache lines."""
    count = max(1, round(sessions * assets / BLOCK_CELLS))
    size = _padded(-(-sessions // count))
    for start in range(0, sessions, size):
        stop = min(start + size, sessions)
        yield slice(start, stop), _padded(stop - start)


def _padded(rows: int) -> int:
    return -(-rows // _PER_LINE) * _PER_LINE


def _filled(values: Floats, height: int, padding: float) -> Floats:
    """Copy an array [rows, N] into the layout of a block, with rows of padding below."""
    assets = values.shape[1]
    copy = _aligned(height * assets).reshape(assets, height).T
    copy[: len(values)] = values
    copy[len(values) :] = padding
    return copy


def _aligned(size: int) -> Floats:
    memory = np.empty(size + _PER_LINE)
    start = -memory.ctypes.data % _LINE // memory.itemsize
    return memory[start : start + size]
