"""Prices as arrays to trade on: adjusted fill prices and closes, and what is tradable when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import pandas as pd

from data.errors import DataError
from trading_app.market.accounting import impact_coefficients
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices

Fill = Literal["next_open", "next_close"]
FILLS: tuple[str, ...] = get_args(Fill)


@dataclass(frozen=True, eq=False)
class TradingPanel:
    """Arrays [T, N] that a simulation trades on; all float64 and finite.

    A close is missing where a symbol is not listed yet, not any more, or has a gap. There the symbol is not
    `tradable`: a position is closed at the last price and a target counts as 0.

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
        Adjusted closes, the last known one carried forward; 1 before the first.
    price
        Adjusted fill price of each session: its open (its close where the open is missing) or its close.
    tradable
        Whether there is a close that session (bool).
    all_tradable
        Whether that is so everywhere.
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
    tradable: NDArray[np.bool_]
    all_tradable: bool
    volume: NDArray[np.float64] | None
    open_missing: NDArray[np.bool_] | None
    notes: tuple[str, ...]

    @property
    def at_close(self) -> bool:
        """Whether fills are at the close."""
        return self.fill == "next_close"

    def impact(self, costs: CostModel) -> NDArray[np.float64] | None:
        """Impact coefficients [T, N] of a cost model, None where there is no impact to charge."""
        if costs.impact_coefficient == 0.0 or self.volume is None:
            return None
        return impact_coefficients(self.volume, costs)

    def decision_rows(self, costs: CostModel) -> dict[str, NDArray[np.float64]]:
        """What a target decided on each day meets at its fill and until the next one [T, N] each.

        ``intraday``: close / fill price of the session of the fill (absent where fills are at the close);
        ``overnight``: the next fill price / that close; ``tradable`` (absent where all is) and ``impact``
        (absent where none is charged) of the session of the fill. Rows that would lie beyond the last session
        repeat the last price.
        """
        after = np.minimum(np.arange(len(self.close)) + 1, len(self.close) - 1)
        later = np.minimum(after + 1, len(self.close) - 1)
        rows = {} if self.at_close else {"intraday": self.close[after] / self.price[after]}
        rows["overnight"] = self.price[later] / self.close[after]
        if not self.all_tradable:
            rows["tradable"] = self.tradable[after].astype(np.float64)
        impact = self.impact(costs)
        if impact is not None:
            rows["impact"] = impact[after]
        return rows

    def slice(self, first: int, stop: int) -> TradingPanel:
        """Return sessions first … stop − 1 (prices carried into the range stay carried)."""
        cut = slice(first, stop)
        tradable = self.tradable[cut]
        return TradingPanel(
            self.name,
            self.dates[cut],
            self.symbols,
            self.fill,
            self.close[cut],
            self.price[cut],
            tradable,
            self.all_tradable or bool(tradable.all()),
            None if self.volume is None else self.volume[cut],
            None if self.open_missing is None else self.open_missing[cut],
            self.notes,
        )


def trading_panel(prices: Prices, fill: str | None = None) -> TradingPanel:
    """Turn prices into a `TradingPanel`.

    Parameters
    ----------
    prices
        The prices.
    fill
        ``next_open``, ``next_close``, or None: the open where there are opens.

    Raises
    ------
    DataError
        If the rule is unknown, or is ``next_open`` without opens.
    """
    rule = resolve_fill(prices, fill)
    raw = prices.adjusted("close").to_numpy(dtype=np.float64)
    tradable = np.isfinite(raw)
    all_tradable = bool(tradable.all())
    close = raw if all_tradable else _carried(raw, tradable)
    price, missing = close, None
    if rule == "next_open":
        opens = prices.adjusted("open").to_numpy(dtype=np.float64)
        known = np.isfinite(opens) & tradable
        if not known.all():
            missing = tradable & ~known
            # Where nothing trades, the last close is the price at which a position is closed.
            opens = np.where(known, opens, close)
        price = opens
    return TradingPanel(
        prices.name,
        prices.dates,
        prices.symbols,
        rule,
        close,
        price,
        tradable,
        all_tradable,
        _dollar_volume(prices),
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
            f"{prices.name}: fill 'next_open' needs open prices and there are none; use 'next_close'"
        )
    return "next_open" if fill == "next_open" else "next_close"


def session_range(
    dates: pd.DatetimeIndex, name: str, start: object = None, end: object = None
) -> tuple[int, int]:
    """Return positions [first, stop) of the sessions from `start` to `end`, both included.

    Raises
    ------
    DataError
        If a bound is no date or fewer than two sessions lie between them.
    """
    from data.prices import parse_date

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
    """First and last day (positions) on which an episode may decide.

    The first has the history that its window of features needs; the last still has its fill and the next one
    inside the range.

    Raises
    ------
    DataError
        If there is none.
    """
    low, stop = session_range(prices.dates, prices.name, start, end)
    first, last = max(low, config.history - 1), stop - 3
    if first > last:
        raise DataError(
            f"{prices.name}: no episode fits from {prices.dates[low].date()} to {prices.dates[stop - 1].date()}: "
            f"a decision needs {config.history} sessions of history and 2 after it; "
            "take more prices or a shorter window"
        )
    return first, last


def _carried(raw: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    rows = np.where(known, np.arange(len(raw))[:, None], 0)
    last = np.maximum.accumulate(rows, axis=0)
    carried = np.take_along_axis(raw, last, axis=0)
    return np.where(np.isfinite(carried), carried, 1.0)


def _dollar_volume(prices: Prices) -> NDArray[np.float64] | None:
    if "volume" not in prices.fields:
        return None
    close = prices.field("close").to_numpy(dtype=np.float64)
    volume = prices.field("volume").to_numpy(dtype=np.float64)
    traded: NDArray[np.float64] = close * volume
    return traded
