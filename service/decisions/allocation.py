"""Answers from target weights: allocations with orders, and signals; the same for the same arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.core.problems import Problem
from service.decisions.context import DecisionContext
from service.decisions.order_sizing import size_orders
from service.models.serving import Floats
from service.schemas.decisions import AllocationRequest, DecisionRequest, Holdings, Sizing
from trading_app.market.decisions import Decision, decision_of
from trading_app.market.limits import TOLERANCE, LimitConflict, check_limits, excesses
from trading_app.market.partial_fills import executed_weights

MAX_GROSS = 100.0
_FLAT = 1e-9
_SIDES = {1: "long", -1: "short", 0: "flat"}


def held_weights(context: DecisionContext, request: DecisionRequest) -> Floats:
    """Return the weights held at the close decided on [N].

    Raises
    ------
    Problem
        ``unknown-symbol`` or ``invalid-holdings``.
    """
    holdings = request.holdings
    if holdings is None:
        return np.zeros(len(context.symbols))
    given = holdings.weights if holdings.weights is not None else holdings.shares
    held = _by_symbol(given or {}, context)
    unpriced = np.flatnonzero((held != 0) & np.isnan(context.closes))
    if len(unpriced):
        symbol = context.symbols[unpriced[0]]
        raise Problem("invalid-holdings", f"{symbol} has no price yet; it cannot be held", symbol=symbol)
    if holdings.weights is None:
        closes = np.nan_to_num(context.closes)
        nav = (holdings.cash or 0.0) + float(held @ closes)
        if nav <= 0:
            detail = f"shares and cash are worth {nav:g}; the value of the account must be positive"
            raise Problem("invalid-holdings", detail)
        held = held * closes / nav
    gross = sum(map(abs, held.tolist()))
    if gross > MAX_GROSS:
        raise Problem("invalid-holdings", f"holdings of {gross:g} times the account; at most {MAX_GROSS:g}")
    return held


def answer_members(
    context: DecisionContext,
    request: DecisionRequest,
    per_seed: Floats,
    base: Floats | None,
    held: Floats,
    answer_id: str,
) -> dict[str, Any]:
    """Return the members of an answer, JSON-ready.

    Parameters
    ----------
    context
        Model, prices and session.
    request
        The request.
    per_seed
        Target weights of each seed [S, N].
    base
        Target weights [N] where the model holds its base, else None.
    held
        Weights held [N].
    answer_id
        Id in the audit.

    Raises
    ------
    Problem
        ``unknown-symbol`` or ``invalid-holdings``; ``model-unavailable`` if a target weight is not finite.
    """
    if not np.isfinite(per_seed).all():
        model = context.promoted.id
        raise Problem("model-unavailable", f"model {model!r} returned weights that are not finite")
    warnings = list(context.warnings)
    if request.holdings is None:
        warnings.append("no holdings given: the account is taken to be all cash")
    elif not _scheduled(context) and held.any():
        rebalance, day = context.policy.config.rebalance, context.common["as_of"]
        warnings.append(f"schedule: {day} is no day of the model's schedule ({rebalance}); no orders")
    members = {"id": answer_id, **context.common, "warnings": warnings}
    if isinstance(request, AllocationRequest):
        return members | _allocation(context, per_seed, base, held, request, warnings)
    return members | {"signals": _signals(context, per_seed, base)}


def _scheduled(context: DecisionContext) -> bool:
    return context.rows is None or context.rows.scheduled is None or bool(context.rows.scheduled.all())


def _allocation(
    context: DecisionContext,
    per_seed: Floats,
    base: Floats | None,
    held: Floats,
    request: AllocationRequest,
    warnings: list[str],
) -> dict[str, Any]:
    mean = _mean_over_seeds(per_seed)
    spread = np.sqrt(_mean_over_seeds(np.square(per_seed - mean)))
    target = mean if base is None else base
    reachable = _reachable(context, _decided(context, target, held, warnings), held)
    orders = _orders(context.symbols, reachable, held)
    cash_after = None
    if request.sizing is not None:
        cash_after = _size(context, reachable, held, orders, request.holdings, request.sizing)
    weights = (target if context.rows is None else reachable).tolist()
    return {
        "weights": dict(zip(context.symbols, weights, strict=True)),
        "cash": 1.0 - sum(weights),
        "per_seed_spread": dict(zip(context.symbols, spread.tolist(), strict=True)),
        "orders": orders,
        "cash_after": cash_after,
    }


def _mean_over_seeds(values: Floats) -> Floats:
    # Seed after seed: the order of additions in NumPy's sum depends on the shape, and so would the last bit.
    total = values[0].copy()
    for seed in values[1:]:
        total += seed
    mean: Floats = total / len(values)
    return mean


def _decided(context: DecisionContext, target: Floats, held: Floats, warnings: list[str]) -> Decision:
    """Return what the model's schedule, no-trade band and limits make of a target; name limits that bind.

    Raises
    ------
    Problem
        ``limits-conflict``.
    """
    config, rows = context.policy.config, context.rows
    if rows is None:
        return Decision(target, None)
    decision = decision_of(target, held, rows, config)
    if config.limits.names:
        try:
            wanted = decision.wanted
            check_limits(decision.target, held, wanted, rows.limits, config.limits, context.common["as_of"])
        except LimitConflict as error:
            raise Problem("limits-conflict", str(error)) from None
        found = excesses(wanted, held, rows.limits, config.limits)
        warnings += [f"limit: {name} binds" for name, excess in found.items() if excess > TOLERANCE]
    return decision


def _reachable(context: DecisionContext, decision: Decision, held: Floats) -> Floats:
    """Return the weights that orders lead to [N]: those of symbols without one stay, as in a backtest's fill."""
    trades = ~context.idle if decision.orders is None else (decision.orders > 0) & ~context.idle
    target: Floats = decision.target
    if trades.all():
        return target
    reachable: Floats = executed_weights(target, held, trades, 0.0, context.policy.config.gross_bound)
    return reachable


def _orders(symbols: tuple[str, ...], target: Floats, held: Floats) -> list[dict[str, Any]]:
    rows = zip(symbols, target.tolist(), held.tolist(), (target - held).tolist(), strict=True)
    return [
        {
            "symbol": symbol,
            "target_weight": target_weight,
            "held_weight": held_weight,
            "weight_change": change,
            "shares": None,
            "price": None,
            "value": None,
        }
        for symbol, target_weight, held_weight, change in rows
    ]


def _size(
    context: DecisionContext,
    target: Floats,
    held: Floats,
    orders: list[dict[str, Any]],
    holdings: Holdings | None,
    sizing: Sizing,
) -> float:
    """Add shares to the orders; return the cash that remains."""
    shares, cash = _positions(context, held, holdings, sizing.nav)
    lots = _by_symbol(sizing.lot_sizes, context, sizing.lot_size)
    rate = context.promoted.evidence.cost_rate
    # What has no price yet is neither held nor ordered.
    prices = np.where(np.isnan(context.closes), 1.0, context.closes)
    sized = size_orders(target, shares, cash, prices, lots, cost_rate=rate)
    rows = zip(orders, sized.shares.tolist(), prices.tolist(), context.closes.tolist(), strict=True)
    for order, number, price, close in rows:
        order |= {"shares": number, "price": close, "value": number * price}
    return sized.cash


def _positions(
    context: DecisionContext, held: Floats, holdings: Holdings | None, nav: float | None
) -> tuple[Floats, float]:
    if holdings is not None and holdings.shares is not None:
        if nav is not None:
            raise Problem(
                "invalid-holdings", "sizing.nav follows from holdings.shares and cash; leave it out"
            )
        return _by_symbol(holdings.shares, context), holdings.cash or 0.0
    if nav is None:
        raise Problem("invalid-holdings", "orders in shares need sizing.nav, or holdings.shares and cash")
    return np.where(held == 0, 0.0, held * nav / context.closes), nav * (1.0 - float(held.sum()))


def _signals(context: DecisionContext, per_seed: Floats, base: Floats | None) -> list[dict[str, Any]]:
    weights = per_seed.mean(axis=0) if base is None else base
    scores = weights / max(float(np.abs(weights).max()), _FLAT)
    sides = _sides(weights)
    agreement = (_sides(per_seed) == sides).mean(axis=0)
    return [
        {
            "symbol": context.symbols[i],
            "score": float(scores[i]),
            "side": _SIDES[int(sides[i])],
            "rank": rank,
            "weight": float(weights[i]),
            "agreement": float(agreement[i]),
        }
        for rank, i in enumerate(np.argsort(-scores, kind="stable"), start=1)
    ]


def _sides(weights: Floats) -> NDArray[np.int64]:
    return np.where(np.abs(weights) < _FLAT, 0, np.sign(weights)).astype(np.int64)


def _by_symbol(given: Mapping[str, float], context: DecisionContext, default: float = 0.0) -> Floats:
    """Return values in the order of the symbols decided on [N]."""
    known = frozenset(context.symbols)
    symbol = next((name for name in given if name not in known), None)
    if symbol is not None:
        raise Problem("unknown-symbol", f"{symbol} is not a symbol of this decision", symbol=symbol)
    return np.array([given.get(symbol, default) for symbol in context.symbols], dtype=float)
