"""Answering: request in, audited bytes out; and the same again from the audit."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from data import Prices
from service.audit import AuditTrail, Entry, Recorded, entry
from service.inference import FROM_REQUEST, allocation, decide, panel_from_request, signals, situate
from service.registry import Promoted, Registry
from service.schemas.decisions import AllocationRequest, DecisionRequest, SignalRequest
from service.sessions import Calendar
from service.snapshots import Snapshots


@dataclass(frozen=True)
class Given:
    """An answer, its bytes, and the row that must be committed before it is sent."""

    content: bytes
    values: dict[str, Any]
    entry: Entry


class Answers:
    """Computes allocations and signals.

    Parameters
    ----------
    registry, snapshots, calendar
        Where models, prices and sessions come from.
    max_age_days : int
        Age of prices that is still accepted.
    clock : callable
        Gives the time, UTC.
    """

    def __init__(
        self,
        registry: Registry,
        snapshots: Snapshots,
        calendar: Calendar,
        *,
        max_age_days: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._snapshots = snapshots
        self._calendar = calendar
        self._max_age_days = max_age_days
        self._clock = clock

    def give(self, request: DecisionRequest, *, key_id: str, request_id: str) -> Given:
        """Answer a request with the version that is served now.

        Raises
        ------
        Problem
            If there is no answer.
        """
        promoted = self._registry.current(request.model)
        prices, source = self._prices(request, promoted)
        now, limit = self._clock(), self._max_age_days
        content, values = self._compute(promoted, prices, source, request, now.date(), limit, new_id())
        kind = "allocation" if isinstance(request, AllocationRequest) else "signal"
        row = entry(request, content, values, now=now, kind=kind, key_id=key_id, request_id=request_id)
        return Given(content, values, row)

    def again(self, trail: AuditTrail, record: Recorded) -> bytes:
        """Compute a recorded answer anew, from the version and the prices that it was given from.

        Raises
        ------
        Problem
            If the model's files or the prices are no longer there.
        """
        kind = AllocationRequest if record.kind == "allocation" else SignalRequest
        request = kind.model_validate(trail.request(record))
        promoted = self._registry.version(record.model_id, record.version)
        before = json.loads(record.answer)
        if request.prices is not None:
            prices, source = panel_from_request(request.prices), FROM_REQUEST
        else:
            source = request.data or promoted.evidence.data
            prices = self._snapshots.by_hash(source, record.data_hash)
        day, limit = record.created_at.date(), before["max_age_days"]
        return self._compute(promoted, prices, source, request, day, limit, record.id)[0]

    def _prices(self, request: DecisionRequest, promoted: Promoted) -> tuple[Prices, str]:
        if request.prices is not None:
            return panel_from_request(request.prices), FROM_REQUEST
        name = request.data or promoted.evidence.data
        return self._snapshots.get(name), name

    def _compute(
        self,
        promoted: Promoted,
        prices: Prices,
        source: str,
        request: DecisionRequest,
        today: date,
        max_age_days: int,
        answer_id: str,
    ) -> tuple[bytes, dict[str, Any]]:
        policy = self._registry.policy(promoted.id, promoted.version)
        situation = situate(
            promoted,
            policy,
            prices,
            request,
            source=source,
            today=today,
            max_age_days=max_age_days,
        )
        decision = decide(policy, situation)
        if isinstance(request, AllocationRequest):
            values = allocation(situation, decision, request, self._calendar, answer_id)
        else:
            values = signals(situation, decision, self._calendar, answer_id)
        return json.dumps(values, allow_nan=False).encode(), values


def new_id() -> str:
    """Give a random id that sorts by time, as a UUID of version 7 does."""
    stamp = int(time.time() * 1e3).to_bytes(6, "big")
    return (stamp + os.urandom(10)).hex()


def same_answer(record: Recorded, again: bytes) -> bool:
    """Tell whether an answer computed anew is the recorded one, byte for byte."""
    return record.answer.encode() == again
