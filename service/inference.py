"""Decisions: from a request and prices to an answer, through the policy that the backtest runs.

Everything here is a function of its arguments, the day included, so that an answer can be computed again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from data import Prices
from data.errors import DataError
from service.policies import Decision, Floats, Policy
from service.problems import Problem
from service.registry import Promoted
from service.schemas.decisions import AllocationRequest, DecisionRequest, Holdings, PricePanel
from service.sessions import Calendar
from service.sizing import size_orders

FROM_REQUEST = "request"
MAX_GROSS = 100.0
_FIELDS = ("open", "high", "low", "close", "adj_close", "volume")
_FLAT = 1e-9


@dataclass(frozen=True)
class Situation:
    """What is decided on: a model, its prices, the session and what is held at its close."""

    promoted: Promoted
    prices: Prices
    source: str
    session: pd.Timestamp
    staleness_days: int
    max_age_days: int
    closes: Floats
    held: Floats
    warnings: tuple[str, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Assets in the order of the weights [N]."""
        return self.promoted.evidence.symbols


def panel_from_request(panel: PricePanel) -> Prices:
    """Make a validated panel of the prices in a request.

    Raises
    ------
    Problem
        ``invalid-prices``, naming field, symbol and row.
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
        frames[name] = pd.DataFrame(
            {symbol: np.array(values, dtype=float) for symbol, values in columns.items()}, index
        )
    try:
        return Prices(FROM_REQUEST, index, tuple(frames["close"].columns), frames)
    except DataError as error:
        raise Problem("invalid-prices", str(error)) from None


def situate(
    promoted: Promoted,
    policy: Policy,
    prices: Prices,
    request: DecisionRequest,
    *,
    source: str,
    today: date,
    max_age_days: int,
) -> Situation:
    """Check that a decision can be made, and gather what it needs.

    Parameters
    ----------
    promoted, policy
        The model.
    prices
        Prices of at least the model's symbols.
    request
        The request.
    source
        Name of the snapshot, or `FROM_REQUEST`.
    today
        The day of the request, UTC.
    max_age_days
        Age of prices that is still accepted.

    Raises
    ------
    Problem
        ``missing-symbol``, ``insufficient-history``, ``stale-data``, ``invalid-prices``, ``invalid-holdings``
        or ``unknown-symbol``.
    """
    symbols = promoted.evidence.symbols
    prices = _selected(prices, symbols)
    asked = request.as_of or today
    position = int(prices.dates.searchsorted(pd.Timestamp(asked), side="right")) - 1
    if position + 1 < policy.history:
        raise Problem(
            "insufficient-history",
            f"{max(position + 1, 0)} sessions of prices up to {asked}; the model needs {policy.history}",
            needed=policy.history,
            given=max(position + 1, 0),
        )
    session = prices.dates[position]
    staleness = (asked - session.date()).days
    warnings = _warnings(prices, session, staleness, request, today, max_age_days)
    closes = prices.fields["close"].to_numpy()[position]
    if not np.isfinite(closes).all():
        symbol = symbols[int(np.flatnonzero(~np.isfinite(closes))[0])]
        detail = f"close of {symbol} is missing on {session.date()}; it cannot be decided on"
        raise Problem("invalid-prices", detail, symbol=symbol, date=str(session.date()))
    held = _held_weights(request.holdings, symbols, closes)
    return Situation(
        promoted, prices, source, session, staleness, max_age_days, closes, held, tuple(warnings)
    )


def decide(policy: Policy, situation: Situation) -> Decision:
    """Ask the policy, and refuse an answer that is not finite."""
    decision = policy.decide(situation.prices, situation.session, situation.held)
    if not np.isfinite(decision.weights).all():
        name = situation.promoted.id
        raise Problem("model-unavailable", f"model {name!r} gives weights that are not finite")
    return decision


def allocation(
    situation: Situation, decision: Decision, request: AllocationRequest, calendar: Calendar, answer_id: str
) -> dict[str, Any]:
    """Put an allocation into words: JSON-ready, the same for the same arguments."""
    target = [float(value) for value in decision.weights]
    cash = 1.0 - sum(target)
    orders, cash_after = _orders(situation, np.array(target), request)
    return {
        **_common(situation, calendar, answer_id),
        "weights": dict(zip(situation.symbols, target, strict=True)),
        "cash": cash,
        "per_seed_spread": dict(zip(situation.symbols, map(float, decision.spread), strict=True)),
        "orders": orders,
        "cash_after": cash_after,
    }


def signals(situation: Situation, decision: Decision, calendar: Calendar, answer_id: str) -> dict[str, Any]:
    """Put the scores behind an allocation into words, highest first."""
    weights = np.asarray(decision.weights, dtype=float)
    scores = weights / max(float(np.abs(weights).max()), _FLAT)
    order = np.argsort(-scores, kind="stable")
    sides = _sides(weights)
    agreement = (_sides(np.asarray(decision.per_seed)) == sides).mean(axis=0)
    names = {1: "long", -1: "short", 0: "flat"}
    rows = [
        {
            "symbol": situation.symbols[i],
            "score": float(scores[i]),
            "side": names[int(sides[i])],
            "rank": rank,
            "weight": float(weights[i]),
            "agreement": float(agreement[i]),
        }
        for rank, i in enumerate(order, start=1)
    ]
    return {**_common(situation, calendar, answer_id), "signals": rows}


def _sides(weights: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.where(np.abs(weights) < _FLAT, 0, np.sign(weights)).astype(np.int64)


def _selected(prices: Prices, symbols: tuple[str, ...]) -> Prices:
    if prices.symbols == symbols:
        return prices
    for symbol in symbols:
        if symbol not in prices.symbols:
            raise Problem("missing-symbol", f"the prices lack {symbol}, which the model needs", symbol=symbol)
    return prices.select(symbols)


def _warnings(
    prices: Prices, session: pd.Timestamp, staleness: int, request: DecisionRequest, today: date, limit: int
) -> list[str]:
    warnings = list(prices.notes)
    if staleness > limit:
        detail = (
            f"prices end {session.date()}, {staleness} days before {request.as_of or today}; "
            f"at most {limit} are allowed, unless allow_stale is true"
        )
        if not request.allow_stale:
            raise Problem("stale-data", detail, staleness_days=staleness, max_age_days=limit)
        warnings.append(f"stale: the prices are {staleness} days old")
    age = (today - session.date()).days
    if age > limit and staleness <= limit:
        warnings.append(f"historical: decided on {session.date()}, {age} days ago")
    if request.holdings is None:
        warnings.append("no holdings given: the account is taken to be all cash")
    return warnings


def _held_weights(holdings: Holdings | None, symbols: tuple[str, ...], closes: Floats) -> Floats:
    if holdings is None:
        return np.zeros(len(symbols))
    given = holdings.weights if holdings.weights is not None else holdings.shares
    held = _aligned(given or {}, symbols)
    if holdings.weights is None:
        nav = holdings.cash or 0.0
        nav += float(held @ closes)
        if nav <= 0:
            detail = f"shares and cash are worth {nav:g}; the account must be worth more than nothing"
            raise Problem("invalid-holdings", detail)
        held = held * closes / nav
    gross = float(np.abs(held).sum())
    if gross > MAX_GROSS:
        raise Problem("invalid-holdings", f"holdings of {gross:g} times the account; at most {MAX_GROSS:g}")
    return held


def _aligned(given: Mapping[str, float], symbols: tuple[str, ...], default: float = 0.0) -> Floats:
    for symbol in given:
        if symbol not in symbols:
            raise Problem("unknown-symbol", f"{symbol} is not among the model's symbols", symbol=symbol)
    return np.array([given.get(symbol, default) for symbol in symbols], dtype=float)


def _orders(
    situation: Situation, target: Floats, request: AllocationRequest
) -> tuple[list[dict[str, Any]], float | None]:
    change = target - situation.held
    orders: list[dict[str, Any]] = [
        {
            "symbol": symbol,
            "target_weight": float(target[i]),
            "held_weight": float(situation.held[i]),
            "weight_change": float(change[i]),
            "shares": None,
            "price": None,
            "value": None,
        }
        for i, symbol in enumerate(situation.symbols)
    ]
    sizing = request.sizing
    if sizing is None:
        return orders, None
    held, cash = _positions(situation, request)
    lots = _aligned(sizing.lot_sizes, situation.symbols, sizing.lot_size)
    rate = situation.promoted.evidence.cost_rate
    sized = size_orders(target, held, cash, situation.closes, lots, cost_rate=rate)
    for order, shares, price in zip(orders, sized.shares, situation.closes, strict=True):
        order |= {"shares": float(shares), "price": float(price), "value": float(shares * price)}
    return orders, sized.cash


def _positions(situation: Situation, request: AllocationRequest) -> tuple[Floats, float]:
    holdings, sizing = request.holdings, request.sizing
    nav = sizing.nav if sizing else None
    if holdings is not None and holdings.shares is not None:
        if nav is not None:
            raise Problem(
                "invalid-holdings", "sizing.nav follows from holdings.shares and cash; leave it out"
            )
        return _aligned(holdings.shares, situation.symbols), holdings.cash or 0.0
    if nav is None:
        raise Problem("invalid-holdings", "orders in shares need sizing.nav, or holdings.shares and cash")
    return situation.held * nav / situation.closes, nav * (1.0 - float(situation.held.sum()))


def _common(situation: Situation, calendar: Calendar, answer_id: str) -> dict[str, Any]:
    session = calendar.next_session(situation.prices.dates, situation.session)
    price = "open" if situation.promoted.evidence.fill == "next_open" else "close"
    return {
        "id": answer_id,
        "model": situation.promoted.id,
        "version": situation.promoted.version,
        "as_of": str(situation.session.date()),
        "trade_at": {"session": str(session), "price": price},
        "data": situation.source,
        "data_hash": situation.prices.hash,
        "staleness_days": situation.staleness_days,
        "max_age_days": situation.max_age_days,
        "warnings": list(situation.warnings),
    }
