"""The decision service: from a request to an answer and its audit entry, and the same again from the audit."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pydantic_core
from cachetools import LRUCache

from data import Prices
from service.core.clock import Clock
from service.core.ids import new_id
from service.decisions.allocation import answer_members, held_weights
from service.decisions.audit import AuditEntry, AuditRow, AuditTrail, make_entry
from service.decisions.context import (
    FROM_REQUEST,
    DecisionContext,
    PriceAgePolicy,
    build_context,
    panel_from_request,
)
from service.decisions.snapshots import Snapshots
from service.models.registry import Promoted, Registry
from service.models.serving import Floats
from service.schemas.decisions import AllocationRequest, DecisionRequest, SignalRequest

# A context is small; its prices and its market are in caches of their own.
_CONTEXTS = 32
_Key = tuple[str, str, str, str, tuple[str, ...], PriceAgePolicy]


class PreparedDecision(NamedTuple):
    """A request that can be decided: with the answer's id, weights held [N], and the API key or user."""

    id: str
    request: DecisionRequest
    context: DecisionContext
    held: Floats
    now: datetime
    key_id: str
    request_id: str


class DecisionResult(NamedTuple):
    """An answer: JSON as sent, and the same as Python values."""

    content: bytes
    members: dict[str, Any]


class DecisionService:
    """Computes allocations and signals for the REST interface, the dashboards and the audit.

    `calendar` is the exchange calendar of the sessions to trade in, `max_age_days` the largest accepted age of prices.
    """

    def __init__(
        self,
        registry: Registry,
        snapshots: Snapshots,
        calendar: str,
        audit: AuditTrail,
        *,
        max_age_days: int,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._snapshots = snapshots
        self._calendar = calendar
        self._audit = audit
        self._max_age_days = max_age_days
        self._clock = clock
        self._contexts: LRUCache[_Key, DecisionContext] = LRUCache(_CONTEXTS)
        self._lock = threading.Lock()

    def decide(self, request: DecisionRequest, *, key_id: str, request_id: str) -> DecisionResult:
        """Decide on one request; return once the answer is in the audit.

        Raises `Problem` if the request cannot be decided.
        """
        prepared = self.prepare(request, key_id=key_id, request_id=request_id)
        return _only(self.decide_together([prepared]))

    def warm(self, model: str) -> None:
        """Decide once without a record, so that the model and its encoded prices are in memory.

        Raises `Problem` if the model cannot decide on its newest prices.
        """
        request = AllocationRequest.model_validate({"model": model, "allow_stale": True})
        _only(_compute([self.prepare(request, key_id="", request_id="")]))

    def prepare(self, request: DecisionRequest, *, key_id: str, request_id: str) -> PreparedDecision:
        """Find model and prices of a request, and check that it can be decided.

        Raises `Problem` if the request cannot be decided.
        """
        now = self._clock()
        promoted = self._registry.current(request.model)
        if request.prices is not None:
            prices, source = panel_from_request(request.prices), FROM_REQUEST
        else:
            source = request.data or promoted.evidence.data
            prices = self._snapshots.get(source)
        symbols = _symbols(promoted, request)
        prices = self._snapshots.joined(prices, symbols, promoted.evidence.signals)
        age = PriceAgePolicy.of(request, now.date(), self._max_age_days)
        context = self._context(promoted, prices, symbols, age, source)
        return _prepared(request, context, now, key_id, request_id)

    def prepare_from_memory(
        self, request: DecisionRequest, *, key_id: str, request_id: str
    ) -> PreparedDecision | None:
        """Prepare a request if model, prices and context are in memory, else return None; for the event loop.

        Raises `Problem` if the request cannot be decided.
        """
        promoted = self._registry.current_from_memory(request.model)
        if promoted is None or request.prices is not None:
            return None
        source, symbols = request.data or promoted.evidence.data, _symbols(promoted, request)
        prices = self._snapshots.from_memory(source)
        if prices is not None:
            prices = self._snapshots.joined_from_memory(prices, symbols, promoted.evidence.signals)
        if prices is None:
            return None
        now = self._clock()
        age = PriceAgePolicy.of(request, now.date(), self._max_age_days)
        _, context = self._known(promoted, prices, symbols, age, source)
        return None if context is None else _prepared(request, context, now, key_id, request_id)

    def decide_together(self, prepared: Sequence[PreparedDecision]) -> list[DecisionResult | Exception]:
        """Decide on several requests of one context; return once the answers are in the audit.

        Each answer is the same to the bit as if it were alone. An error of one request takes the place of its result.
        """
        results = _compute(prepared)
        pairs = zip(prepared, results, strict=True)
        entries = [_entry(item, result) for item, result in pairs if isinstance(result, DecisionResult)]
        if entries:
            self._audit.record(entries)
        return results

    def recompute(self, row: AuditRow) -> bytes:
        """Compute a recorded answer anew, with the model version, prices and signals of that time.

        Raises `Problem` if the model's files or the prices no longer exist.
        """
        kind = AllocationRequest if row.kind == "allocation" else SignalRequest
        request = kind.model_validate(self._audit.request(row))
        promoted = self._registry.version(row.model_id, row.version)
        symbols = _symbols(promoted, request)
        if request.prices is not None:
            prices, source = panel_from_request(request.prices), FROM_REQUEST
        else:
            source = request.data or promoted.evidence.data
            prices = self._snapshots.by_hash(source, row.data_hash, symbols)
        answer = json.loads(row.answer)
        signals = answer.get("own_signals", ())
        prices = self._snapshots.joined_by_hash(prices, symbols, signals)
        limit = answer["max_age_days"]
        age = PriceAgePolicy.of(request, row.created_at.date(), limit)
        context = self._context(promoted, prices, symbols, age, source)
        held = held_weights(context, request)
        prepared = PreparedDecision(
            row.id, request, context, held, row.created_at, row.key_id, row.request_id
        )
        return _only(_compute([prepared])).content

    def _known(
        self, promoted: Promoted, prices: Prices, symbols: tuple[str, ...], age: PriceAgePolicy, source: str
    ) -> tuple[_Key, DecisionContext | None]:
        """Return the key of a context and, if it is in memory, the context."""
        key = (promoted.id, promoted.version, prices.inputs_hash, source, symbols, age)
        with self._lock:
            return key, self._contexts.get(key)

    def _context(
        self, promoted: Promoted, prices: Prices, symbols: tuple[str, ...], age: PriceAgePolicy, source: str
    ) -> DecisionContext:
        key, context = self._known(promoted, prices, symbols, age, source)
        if context is None:
            policy = self._registry.policy(promoted.id, promoted.version, symbols)
            context = build_context(promoted, policy, prices, age, source=source, calendar=self._calendar)
            if source != FROM_REQUEST:
                with self._lock:
                    # Requests that are decided together must share one object.
                    context = self._contexts.setdefault(key, context)
        return context


def _symbols(promoted: Promoted, request: DecisionRequest) -> tuple[str, ...]:
    return promoted.evidence.symbols if request.symbols is None else tuple(request.symbols)


def _prepared(
    request: DecisionRequest, context: DecisionContext, now: datetime, key_id: str, request_id: str
) -> PreparedDecision:
    held = held_weights(context, request)
    return PreparedDecision(new_id(), request, context, held, now, key_id, request_id)


def same_answer(row: AuditRow, recomputed: bytes) -> bool:
    """Return whether a recomputed answer equals the recorded one byte for byte."""
    return row.answer.encode() == recomputed


def _compute(prepared: Sequence[PreparedDecision]) -> list[DecisionResult | Exception]:
    context = prepared[0].context
    held = np.stack([item.held for item in prepared])
    try:
        per_seed, base = context.target_weights(held), context.base_weights(held)
    except Exception as error:
        return [error] * len(prepared)
    return [
        _answer(item, per_seed[:, place], None if base is None else base[place])
        for place, item in enumerate(prepared)
    ]


def _answer(prepared: PreparedDecision, per_seed: Floats, base: Floats | None) -> DecisionResult | Exception:
    request = prepared.request
    try:
        members = answer_members(prepared.context, request, per_seed, base, prepared.held, prepared.id)
        # Every float reads back to the same bits.
        content = pydantic_core.to_json(members, inf_nan_mode="null")
    except Exception as error:
        return error
    return DecisionResult(content, members)


def _entry(prepared: PreparedDecision, result: DecisionResult) -> AuditEntry:
    return make_entry(
        prepared.request,
        result.content,
        result.members,
        now=prepared.now,
        key_id=prepared.key_id,
        request_id=prepared.request_id,
    )


def _only(results: Sequence[DecisionResult | Exception]) -> DecisionResult:
    (result,) = results
    if isinstance(result, Exception):
        raise result
    return result
