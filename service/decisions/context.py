"""Decision context: model, price history and session.

It depends on its arguments alone, the day included, so that an answer can be computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from data import Prices
from data.calendars import next_session
from data.errors import DataError
from service.core.problems import Problem
from service.models.registry import Promoted
from service.models.serving import Flags, Floats, Policy
from service.schemas.decisions import DecisionRequest, PricePanel
from trading_app.market.decisions import DayRows, day_tables, rows_of
from trading_app.market.panel import trading_panel
from trading_app.market.trading_status import trading_status

FROM_REQUEST = "request"
_FIELDS = ("open", "high", "low", "close", "adj_close", "volume")


@dataclass(frozen=True)
class DecisionContext:
    """Model, price history and session whose close is decided on.

    Attributes
    ----------
    promoted, policy
        The model, and its policy on the symbols decided on.
    prices : Prices
        Prices of the policy's symbols, in its order.
    session : Timestamp
        The session.
    closes : array [N]
        Closes of the last session in which each symbol traded, as quoted; NaN before its first trade.
    idle : array [N]
        Whether a symbol did not trade in that session and may trade again: its orders must wait.
    rows : DayRows or None
        Rows of the model's schedule, no-trade band and limits; None where it has none.
    warnings : tuple of str
        Warnings for the user of the answer.
    common : dict
        Members of every answer, JSON-ready.
    """

    promoted: Promoted
    policy: Policy
    prices: Prices
    session: pd.Timestamp
    closes: Floats
    idle: Flags
    rows: DayRows | None
    warnings: tuple[str, ...]
    common: Mapping[str, Any]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Assets, in the order of the weights [N]."""
        return tuple(self.policy.symbols)

    def target_weights(self, held: Floats) -> Floats:
        """Return target weights of each seed [S, B, N] for accounts that hold weights [B, N]."""
        return self.policy.decide(self.prices, self.session, held)

    def base_weights(self, held: Floats) -> Floats | None:
        """Return target weights [B, N] where the model holds its base, for weights held [B, N]; else None."""
        return self.policy.decide_base(self.prices, self.session, held)


class PriceAgePolicy(NamedTuple):
    """Day to decide on, day of the request (UTC), and the largest accepted age of prices at the first.

    With `allow_stale` older prices are accepted with a warning.
    """

    as_of: date
    today: date
    max_age_days: int
    allow_stale: bool

    @classmethod
    def of(cls, request: DecisionRequest, today: date, max_age_days: int) -> PriceAgePolicy:
        """Return the policy of a request."""
        return cls(request.as_of or today, today, max_age_days, request.allow_stale)


def panel_from_request(panel: PricePanel) -> Prices:
    """Return the prices in a request as a validated panel.

    Raises `Problem` ``invalid-prices``, naming field, symbol and row.
    """
    index = pd.DatetimeIndex(panel.dates)
    frames: dict[str, pd.DataFrame] = {}
    for name in _FIELDS:
        columns: Mapping[str, list[float | None]] | None = getattr(panel, name)
        if columns is None:
            continue
        for symbol, values in columns.items():
            if len(values) != len(index):
                detail = f"{name} of {symbol} has {len(values)} values for {len(index)} dates"
                raise Problem("invalid-prices", detail, field=name, symbol=symbol)
        arrays = {symbol: np.array(values, dtype=float) for symbol, values in columns.items()}
        frames[name] = pd.DataFrame(arrays, index)
    try:
        return Prices(FROM_REQUEST, index, tuple(frames["close"].columns), frames)
    except DataError as error:
        raise Problem("invalid-prices", str(error)) from None


def build_context(
    promoted: Promoted,
    policy: Policy,
    prices: Prices,
    age: PriceAgePolicy,
    *,
    source: str,
    calendar: str,
) -> DecisionContext:
    """Return the context of a decision, after checking that it can be made.

    `prices` are of at least the policy's symbols, `source` is the name of their snapshot or `FROM_REQUEST`, `calendar`
    that of the session in which the decision can be traded.

    Raises `Problem` ``missing-symbol``, ``insufficient-history``, ``stale-data`` or ``stale-signals``.
    """
    prices = _selected(prices, tuple(policy.symbols))
    position = _sessions_until(prices.dates, age.as_of)
    if position < policy.history:
        raise Problem(
            "insufficient-history",
            f"{position} sessions of prices up to {age.as_of}; the model needs {policy.history}",
            needed=policy.history,
            given=position,
        )
    session = prices.dates[position - 1]
    try:
        prices.check_signals(position - 1, position - 1)
    except DataError as error:
        raise Problem("stale-signals", str(error)) from None
    staleness = (age.as_of - session.date()).days
    warnings = _warnings(prices, session.date(), staleness, age)
    if promoted.evidence.holds_base:
        warnings.append(f"seeds: {promoted.evidence.agreement}")
    trade = next_session(prices.dates, session, calendar)
    common: dict[str, Any] = {
        "model": promoted.id,
        "version": promoted.version,
        "as_of": str(session.date()),
        "trade_at": {
            "session": str(trade),
            "price": "open" if promoted.evidence.fill == "next_open" else "close",
        },
        "data": source,
        "data_hash": prices.hash,
        "staleness_days": staleness,
        "max_age_days": age.max_age_days,
    }
    if prices.signals:
        common["own_signals"] = [
            {"name": s.name, "version": s.source.version, "hash": s.source.hash} for s in prices.signals
        ]
    untrained = [symbol for symbol in prices.symbols if symbol not in promoted.evidence.symbols]
    if untrained:
        common["untrained"] = untrained
        warnings.append(f"untrained: the model has not seen {', '.join(untrained)}")
    closes, idle, ended = _trading(prices, position, policy.config.delist_after)
    untraded = [symbol for symbol, waits in zip(prices.symbols, idle | ended, strict=True) if waits]
    if untraded:
        common["untraded"] = untraded
        warnings += _untraded_warnings(prices.symbols, idle, ended, session.date())
    rows = _day_rows(policy, prices, session)
    return DecisionContext(promoted, policy, prices, session, closes, idle, rows, tuple(warnings), common)


def _day_rows(policy: Policy, prices: Prices, session: pd.Timestamp) -> DayRows | None:
    """Return the rows of a session; DataError if a limit does not fit the prices."""
    config = policy.config
    if config.orders_everything and not config.limits.names:
        return None
    known = config.universe(prices.between(None, session))
    panel = trading_panel(known, delist_after=config.delist_after)
    tables = day_tables(panel, config, None, policy.costs.capital)
    return rows_of(tables, np.int64(len(known.dates) - 1))


def _sessions_until(dates: pd.DatetimeIndex, day: date) -> int:
    """Return the number of sessions up to a day, which may lie beyond the range of timestamps."""
    if day >= dates[-1].date():
        return len(dates)
    if day < dates[0].date():
        return 0
    return int(dates.searchsorted(pd.Timestamp(day), side="right"))


def _selected(prices: Prices, symbols: tuple[str, ...]) -> Prices:
    if prices.symbols == symbols:
        return prices
    for symbol in symbols:
        if symbol not in prices.symbols:
            raise Problem(
                "missing-symbol", f"the prices lack {symbol}, which the decision needs", symbol=symbol
            )
    return prices.select(symbols)


def _trading(prices: Prices, sessions: int, delist_after: int) -> tuple[Floats, Flags, Flags]:
    """Return the last close of each symbol, whether it is idle, and whether it has ended, after so many sessions."""
    closes: Floats = prices.fields["close"].to_numpy()[:sessions]
    volume = prices.fields["volume"].to_numpy()[:sessions] if "volume" in prices.fields else None
    status = trading_status(closes, volume, delist_after)
    # The row of the last trade; of a symbol that has not traded yet, the last row.
    row = sessions - 1 - status.traded[::-1].argmax(axis=0)
    started = status.traded.any(axis=0)
    last = np.where(started, closes[row, np.arange(closes.shape[1])], np.nan)
    ended = started & ~status.available[-1]
    return last, ~status.traded[-1] & ~ended, ended


def _untraded_warnings(symbols: tuple[str, ...], idle: Flags, ended: Flags, session: date) -> list[str]:
    def named(which: Flags) -> str:
        return ", ".join(np.array(symbols)[which])

    warnings = []
    if idle.any():
        warnings.append(f"untraded: no trade in {named(idle)} on {session}: last price used, no order")
    if ended.any():
        warnings.append(f"ended: {named(ended)} traded too long ago: positions are closed at the last price")
    return warnings


def _warnings(prices: Prices, session: date, staleness: int, age: PriceAgePolicy) -> list[str]:
    warnings = list(prices.notes)
    limit = age.max_age_days
    if staleness > limit:
        if not age.allow_stale:
            raise Problem(
                "stale-data",
                f"prices end {session}, {staleness} days before {age.as_of}; at most {limit} are allowed, "
                "unless allow_stale is true",
                staleness_days=staleness,
                max_age_days=limit,
            )
        warnings.append(f"stale: the prices are {staleness} days old")
    days = (age.today - session).days
    if days > limit and staleness <= limit:
        warnings.append(f"historical: decided on {session}, {days} days ago")
    return warnings
