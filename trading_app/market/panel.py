"""Prices as arrays: adjusted fill prices and closes, and flags of trading."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from data.errors import DataError
from trading_app.market.accounting import impact_coefficients
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.trading_status import DELIST_AFTER, TradingStatus, trading_status

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices

Fill = Literal["next_open", "next_close"]
FILLS: tuple[str, ...] = get_args(Fill)


@dataclass(frozen=True, eq=False)
class TradingPanel:
    """Arrays [T, N] that a simulation trades on; all float64 and finite.

    In a session in which a symbol does not trade, its units are held and valued at its last price, and nothing of it
    fills. A symbol that has ended is closed; see `trading_app.market.trading_status`.

    Attributes
    ----------
    name
        Name of the prices.
    dates
        Sessions [T].
    symbols
        Symbols [N].
    fill
        ``next_open`` or ``next_close``.
    close
        Adjusted closes, the last one of a session with a trade carried forward; 1 before the first.
    price
        Adjusted fill price of each session: its open (its close where the open is missing) or its close. Where a symbol
        is closed because it has ended: its last price times (1 + delisting return).
    status
        Sessions in which each symbol trades, is available to decisions, or ends.
    always_traded
        Whether every symbol trades in every session.
    volume
        Value traded in the market, close × volume in currency, NaN where unknown; None without volumes.
    open_missing
        Where a close stood in for a missing open (bool), None where none is missing.
    notes
        What the prices' own notes say.
    """

    name: str
    dates: pd.DatetimeIndex
    symbols: tuple[str, ...]
    fill: Fill
    close: NDArray[np.float64]
    price: NDArray[np.float64]
    status: TradingStatus
    always_traded: bool
    volume: NDArray[np.float64] | None
    open_missing: NDArray[np.bool_] | None
    notes: tuple[str, ...]

    @property
    def at_close(self) -> bool:
        """Whether fills are at the close."""
        return self.fill == "next_close"

    def impact(self, costs: CostModel) -> NDArray[np.float64] | None:
        """Return the impact coefficients [T, N] of a cost model; None without impact."""
        if costs.impact_coefficient == 0.0 or self.volume is None:
            return None
        return impact_coefficients(self.volume, costs)

    def decision_rows(self, costs: CostModel) -> dict[str, NDArray[np.float64]]:
        """Price factors and flags of the session in which a target decided on each day fills [T, N] each.

        ``intraday``: close / fill price of that session (absent where fills are at the close). ``overnight``: the next
        fill price / that close. ``trades`` and ``closing`` (absent where every symbol always trades): 1 where the
        symbol trades or is closed, and 1 where it is closed because it has ended. ``available`` (absent likewise):
        1 where the decision of the day may give the symbol weight. ``impact`` (absent without impact).
        Rows that would lie beyond the last session repeat the last price.
        """
        after = np.minimum(np.arange(len(self.close)) + 1, len(self.close) - 1)
        later = np.minimum(after + 1, len(self.close) - 1)
        rows = {} if self.at_close else {"intraday": ratio(self.close[after], self.price[after])}
        rows["overnight"] = self.price[later] / self.close[after]
        if not self.always_traded:
            closing = self.status.closing[after]
            rows["available"] = self.status.available.astype(np.float64)
            rows["trades"] = (self.status.traded[after] | closing).astype(np.float64)
            rows["closing"] = closing.astype(np.float64)
        impact = self.impact(costs)
        if impact is not None:
            rows["impact"] = impact[after]
        return rows

    def slice(self, first: int, stop: int) -> TradingPanel:
        """Return sessions first … stop − 1 (prices carried into the range stay carried)."""
        cut = slice(first, stop)
        status = TradingStatus(self.status.traded[cut], self.status.available[cut], self.status.closing[cut])
        return replace(
            self,
            dates=self.dates[cut],
            close=self.close[cut],
            price=self.price[cut],
            status=status,
            always_traded=self.always_traded or bool(status.traded.all()),
            volume=None if self.volume is None else self.volume[cut],
            open_missing=None if self.open_missing is None else self.open_missing[cut],
        )


def trading_panel(
    prices: Prices,
    fill: str | None = None,
    *,
    delist_after: int = DELIST_AFTER,
    delisting_return: float = 0.0,
) -> TradingPanel:
    """Turn prices into a `TradingPanel`; the options are those of `trading_app.backtesting.backtest.backtest`.

    Raises
    ------
    DataError
        If the fill rule is unknown, or is ``next_open`` without opens.
    """
    rule = resolve_fill(prices, fill)
    raw = prices.adjusted("close").to_numpy(dtype=np.float64)
    volume = dollar_volume = None
    if "volume" in prices.fields:
        volume = prices.field("volume").to_numpy(dtype=np.float64)
        dollar_volume = prices.field("close").to_numpy(dtype=np.float64) * volume
    status = trading_status(raw, volume, delist_after, prices.members)
    always_traded = bool(status.traded.all())
    close = raw if always_traded else _carried(raw, status.traded)
    price, missing = close, None
    if rule == "next_open":
        opens = prices.adjusted("open").to_numpy(dtype=np.float64)
        known = np.isfinite(opens) & status.traded
        if not known.all():
            missing = status.traded & ~known
            opens = np.where(known, opens, close)
        price = opens
    if delisting_return != 0.0 and status.closing.any():
        price = np.where(status.closing, close * (1.0 + delisting_return), price)
    return TradingPanel(
        prices.name,
        prices.dates,
        prices.symbols,
        rule,
        close,
        price,
        status,
        always_traded,
        dollar_volume,
        missing,
        prices.notes,
    )


def resolve_fill(prices: Prices, fill: str | None) -> Fill:
    """Return the fill rule to use: the asked one if possible, else the open where there are opens."""
    if fill is None:
        return "next_open" if prices.has_opens else "next_close"
    if fill not in FILLS:
        raise DataError(f"fill is {fill!r}: it must be one of {', '.join(FILLS)}")
    if fill == "next_open" and not prices.has_opens:
        raise DataError(
            f"{prices.name}: fill 'next_open' needs open prices, which these data lack; use 'next_close'"
        )
    return "next_open" if fill == "next_open" else "next_close"


def session_range(
    dates: pd.DatetimeIndex, name: str, start: object = None, end: object = None
) -> tuple[int, int]:
    """Return positions [first, stop) of the sessions from `start` to `end`, both included.

    DataError if a bound is no date or fewer than two sessions lie between them.
    """
    from data.fields import parse_date

    first = dates[0] if start is None else parse_date(start, "start")  # type: ignore[arg-type]
    last = dates[-1] if end is None else parse_date(end, "end")  # type: ignore[arg-type]
    low = int(dates.searchsorted(first, side="left"))
    stop = int(dates.searchsorted(last, side="right"))
    if stop - low < 2:
        count = max(0, stop - low)
        raise DataError(
            f"{name}: {count} session{'' if count == 1 else 's'} from {first.date()} to {last.date()}, "
            f"at least 2 are needed (prices run from {dates[0].date()} to {dates[-1].date()})"
        )
    return low, stop


def decision_range(
    prices: Prices, config: MarketConfig, start: object = None, end: object = None
) -> tuple[int, int]:
    """First and last day (positions) on which an episode may decide; DataError if there is none.

    The first has the history that its window of features needs; the last still has its fill and the next one
    inside the range.
    """
    low, stop = session_range(prices.dates, prices.name, start, end)
    first, last = max(low, config.history - 1), stop - 3
    if first > last:
        raise DataError(
            f"{prices.name}: no episode fits from {prices.dates[low].date()} to {prices.dates[stop - 1].date()}: "
            f"a decision needs {config.history} sessions of history and 2 after it; "
            "use more prices or a shorter window"
        )
    return first, last


def _carried(raw: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = np.where(known, np.arange(len(raw))[:, None], 0)
    last = np.maximum.accumulate(rows, axis=0)
    carried = np.take_along_axis(raw, last, axis=0)
    return np.where(np.isfinite(carried), carried, 1.0)


def ratio(value: NDArray[np.float64], price: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return value / price, 0 where a symbol was closed at a price of 0 and no position is left."""
    return np.divide(value, price, out=np.zeros_like(value), where=price > 0)
