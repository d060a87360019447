"""Decisions in a scene: what is held goes in, an answer in plain values comes out, the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.policies import Floats
from service.problems import Problem
from service.scenes import Scene
from service.schemas.decisions import AllocationRequest, DecisionRequest, Holdings, Sizing
from service.sizing import size_orders

MAX_GROSS = 100.0
_FLAT = 1e-9
_SIDES = {1: "long", -1: "short", 0: "flat"}


def held_weights(scene: Scene, request: DecisionRequest) -> Floats:
    """What is held at the close decided on, as weights [N].

    Raises
    ------
    Problem
        ``unknown-symbol`` or ``invalid-holdings``.
    """
    return _held_weights(request.holdings, scene.symbols, scene.closes)


def answer(
    scene: Scene, request: DecisionRequest, held: Floats, per_seed: Floats, answer_id: str
) -> dict[str, Any]:
    """Put a decision into words, JSON-ready.

    Parameters
    ----------
    scene
        What was decided on.
    request
        The request.
    held
        From `held_weights` [N].
    per_seed
        What each seed would hold [S, N].
    answer_id
        Id in the audit.

    Raises
    ------
    Problem
        ``unknown-symbol`` or ``invalid-holdings``; ``model-unavailable`` for weights that are not finite.
    """
    if not np.isfinite(per_seed).all():
        raise Problem("model-unavailable", f"model {scene.promoted.id!r} gives weights that are not finite")
    warnings = list(scene.warnings)
    if request.holdings is None:
        warnings.append("no holdings given: the account is taken to be all cash")
    values = {"id": answer_id, **scene.common, "warnings": warnings}
    if isinstance(request, AllocationRequest):
        return values | _allocation(scene, per_seed, held, request)
    return values | {"signals": _signals(scene, per_seed)}


def _allocation(scene: Scene, per_seed: Floats, held: Floats, request: AllocationRequest) -> dict[str, Any]:
    target = per_seed.mean(axis=0)
    weights = target.tolist()
    orders = _orders(scene.symbols, weights, held.tolist())
    cash_after = None
    if request.sizing is not None:
        cash_after = _size(scene, target, held, orders, request.holdings, request.sizing)
    return {
        "weights": dict(zip(scene.symbols, weights, strict=True)),
        "cash": 1.0 - sum(weights),
        "per_seed_spread": dict(zip(scene.symbols, per_seed.std(axis=0).tolist(), strict=True)),
        "orders": orders,
        "cash_after": cash_after,
    }


def _orders(symbols: tuple[str, ...], target: list[float], held: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "target_weight": goal,
            "held_weight": now,
            "weight_change": goal - now,
            "shares": None,
            "price": None,
            "value": None,
        }
        for symbol, goal, now in zip(symbols, target, held, strict=True)
    ]


def _size(
    scene: Scene,
    target: Floats,
    held: Floats,
    orders: list[dict[str, Any]],
    holdings: Holdings | None,
    sizing: Sizing,
) -> float:
    """Add shares to the orders; give the cash that is left."""
    shares, cash = _positions(scene, held, holdings, sizing.nav)
    lots = _aligned(sizing.lot_sizes, scene.symbols, sizing.lot_size)
    rate = scene.promoted.evidence.cost_rate
    sized = size_orders(target, shares, cash, scene.closes, lots, cost_rate=rate)
    for order, number, price in zip(orders, sized.shares.tolist(), scene.closes.tolist(), strict=True):
        order |= {"shares": number, "price": price, "value": number * price}
    return sized.cash


def _positions(
    scene: Scene, held: Floats, holdings: Holdings | None, nav: float | None
) -> tuple[Floats, float]:
    if holdings is not None and holdings.shares is not None:
        if nav is not None:
            raise Problem(
                "invalid-holdings", "sizing.nav follows from holdings.shares and cash; leave it out"
            )
        return _aligned(holdings.shares, scene.symbols), holdings.cash or 0.0
    if nav is None:
        raise Problem("invalid-holdings", "orders in shares need sizing.nav, or holdings.shares and cash")
    return held * nav / scene.closes, nav * (1.0 - float(held.sum()))


def _signals(scene: Scene, per_seed: Floats) -> list[dict[str, Any]]:
    weights = per_seed.mean(axis=0)
    scores = weights / max(float(np.abs(weights).max()), _FLAT)
    sides = _sides(weights)
    agreement = (_sides(per_seed) == sides).mean(axis=0)
    return [
        {
            "symbol": scene.symbols[i],
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


def _held_weights(holdings: Holdings | None, symbols: tuple[str, ...], closes: Floats) -> Floats:
    if holdings is None:
        return np.zeros(len(symbols))
    given = holdings.weights if holdings.weights is not None else holdings.shares
    held = _aligned(given or {}, symbols)
    if holdings.weights is None:
        nav = (holdings.cash or 0.0) + float(held @ closes)
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
