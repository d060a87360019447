"""Decisions in a scene: what is held goes in, an answer in plain values comes out, the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.api.schemas.decisions import AllocationRequest, DecisionRequest, Holdings, Sizing
from service.core.problems import Problem
from service.decisions.context import Scene
from service.decisions.order_sizing import size_orders
from service.models.serving import Floats

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
    return _held_weights(request.holdings, scene)


class Decision(NamedTuple):
    """What was decided for one account.

    Attributes
    ----------
    per_seed : array [S, N]
        What each seed would hold.
    held : array [N]
        What is held.
    weights, spread : list of float
        Mean and standard deviation over the seeds, asset by asset.
    cash : float
        What the weights leave.
    orders : list of float
        Asset by asset the target, what is held, and the difference.
    finite : bool
        Whether every weight is a number.
    """

    per_seed: Floats
    held: Floats
    weights: list[float]
    cash: float
    spread: list[float]
    orders: list[float]
    finite: bool


def decisions(per_seed: Floats, held: Floats) -> list[Decision]:
    """Sum up what was decided for several accounts, each to the same bits as if it were alone.

    Parameters
    ----------
    per_seed
        What each seed would hold [S, B, N].
    held
        What the accounts hold [B, N].
    """
    mean = _over_seeds(per_seed)
    spread = np.sqrt(_over_seeds(np.square(per_seed - mean)))
    orders = np.stack([mean, held, mean - held], axis=-1).reshape(len(held), -1)
    finite: list[bool] = np.isfinite(per_seed).all(axis=(0, 2)).tolist()  # type: ignore[assignment]
    found = zip(mean.tolist(), spread.tolist(), orders.tolist(), finite, strict=True)
    return [
        Decision(per_seed[:, place], held[place], weights, 1.0 - sum(weights), *others)
        for place, (weights, *others) in enumerate(found)
    ]


def _over_seeds(values: Floats) -> Floats:
    # Added one after the other: the order in which NumPy's own sum adds depends on the number of accounts.
    total = values[0].copy()
    for seed in values[1:]:
        total += seed
    mean: Floats = total / len(values)
    return mean


def check_finite(scene: Scene, decision: Decision) -> None:
    """Refuse weights that are no numbers.

    Raises
    ------
    Problem
        ``model-unavailable``.
    """
    if not decision.finite:
        raise Problem("model-unavailable", f"model {scene.promoted.id!r} gives weights that are not finite")


def answer(scene: Scene, request: DecisionRequest, decision: Decision, answer_id: str) -> dict[str, Any]:
    """Put a decision into words, JSON-ready.

    Parameters
    ----------
    scene
        What was decided on.
    request
        The request.
    decision
        From `decisions`.
    answer_id
        Id in the audit.

    Raises
    ------
    Problem
        ``unknown-symbol`` or ``invalid-holdings``; ``model-unavailable`` for weights that are not finite.
    """
    check_finite(scene, decision)
    warnings = list(scene.warnings)
    if request.holdings is None:
        warnings.append("no holdings given: the account is taken to be all cash")
    values = {"id": answer_id, **scene.common, "warnings": warnings}
    if isinstance(request, AllocationRequest):
        return values | _allocation(scene, decision, request)
    return values | {"signals": _signals(scene, decision.per_seed)}


def _allocation(scene: Scene, decision: Decision, request: AllocationRequest) -> dict[str, Any]:
    orders = _orders(scene.symbols, decision.orders)
    cash_after = None
    if request.sizing is not None:
        target = np.array(decision.weights)
        cash_after = _size(scene, target, decision.held, orders, request.holdings, request.sizing)
    return {
        "weights": dict(zip(scene.symbols, decision.weights, strict=True)),
        "cash": decision.cash,
        "per_seed_spread": dict(zip(scene.symbols, decision.spread, strict=True)),
        "orders": orders,
        "cash_after": cash_after,
    }


def _orders(symbols: tuple[str, ...], numbers: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "symbol": symbol,
            "target_weight": numbers[place],
            "held_weight": numbers[place + 1],
            "weight_change": numbers[place + 2],
            "shares": None,
            "price": None,
            "value": None,
        }
        for place, symbol in zip(range(0, len(numbers), 3), symbols, strict=True)
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
    lots = _aligned(sizing.lot_sizes, scene, sizing.lot_size)
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
        return _aligned(holdings.shares, scene), holdings.cash or 0.0
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


def _held_weights(holdings: Holdings | None, scene: Scene) -> Floats:
    if holdings is None:
        return np.zeros(len(scene.symbols))
    given = holdings.weights if holdings.weights is not None else holdings.shares
    held = _aligned(given or {}, scene)
    if holdings.weights is None:
        nav = (holdings.cash or 0.0) + float(held @ scene.closes)
        if nav <= 0:
            detail = f"shares and cash are worth {nav:g}; the account must be worth more than nothing"
            raise Problem("invalid-holdings", detail)
        held = held * scene.closes / nav
    gross = sum(map(abs, held.tolist()))
    if gross > MAX_GROSS:
        raise Problem("invalid-holdings", f"holdings of {gross:g} times the account; at most {MAX_GROSS:g}")
    return held


def _aligned(given: Mapping[str, float], scene: Scene, default: float = 0.0) -> Floats:
    if not given.keys() <= scene.places.keys():
        symbol = next(symbol for symbol in given if symbol not in scene.places)
        raise Problem("unknown-symbol", f"{symbol} is not among the model's symbols", symbol=symbol)
    return np.array([given.get(symbol, default) for symbol in scene.places], dtype=float)
