"""Answering: request in, audited bytes out; and the same again from the audit."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from data import Prices
from service.api.schemas.decisions import AllocationRequest, DecisionRequest, SignalRequest
from service.decisions.allocation import Decision, decisions, held_weights
from service.decisions.audit import AuditTrail, Entry, Recorded, entry
from service.decisions.calendar import Calendar
from service.decisions.context import FROM_REQUEST, Scene, Terms, panel_from_request, set_scene
from service.decisions.snapshots import Snapshots
from service.models.registry import Promoted, Registry
from service.models.serving import Floats
from service.wording import filled_in, in_full

# A scene is small; its panel and market are kept, and bounded, elsewhere.
_SCENES = 32
_Key = tuple[str, str, str, str, Terms]


class Question(NamedTuple):
    """A request that can be decided on: the scene, and the weights held in it [N]."""

    request: DecisionRequest
    scene: Scene
    held: Floats
    now: datetime


class Given(NamedTuple):
    """An answer's bytes, the members that every answer has, and the row to commit before it is sent."""

    content: bytes
    values: Mapping[str, Any]
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
        self._scenes: OrderedDict[_Key, Scene] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, request: DecisionRequest, *, at_once: bool = False) -> Question | None:
        """Gather what a decision needs, by the version that is served now.

        Parameters
        ----------
        request
            The request.
        at_once
            Give None, rather than take long, when something has to be loaded or computed first.

        Raises
        ------
        Problem
            If there is no answer.
        """
        if at_once and request.prices is not None:
            return None
        now = self._clock()
        promoted = self._registry.current(request.model)
        if at_once and not self._snapshots.has(request.data or promoted.evidence.data):
            return None
        prices, source = self._prices(request, promoted)
        terms = Terms.of(request, now.date(), self._max_age_days)
        key = self._key(promoted, prices, terms, source)
        scene = self._scenes.get(key)
        if scene is None:
            if at_once:
                return None
            scene = self._scene(promoted, prices, terms, source)
        return Question(request, scene, held_weights(scene, request), now)

    def end(self, question: Question, decision: Decision, *, key_id: str, request_id: str) -> Given:
        """Put a decision into words and make its row for the audit."""
        request, scene = question.request, question.scene
        values = {"id": new_id(), **scene.common}
        content = filled_in(scene, request, decision, values["id"])
        kind = "allocation" if isinstance(request, AllocationRequest) else "signal"
        row = entry(
            request, content, values, now=question.now, kind=kind, key_id=key_id, request_id=request_id
        )
        return Given(content, values, row)

    def give(self, request: DecisionRequest, *, key_id: str, request_id: str) -> Given:
        """Answer a request in one go.

        Raises
        ------
        Problem
            If there is no answer.
        """
        question = self.begin(request)
        assert question is not None
        return self.end(question, _decide(question), key_id=key_id, request_id=request_id)

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
        if request.prices is not None:
            prices, source = panel_from_request(request.prices), FROM_REQUEST
        else:
            source = request.data or promoted.evidence.data
            prices = self._snapshots.by_hash(source, record.data_hash)
        limit = json.loads(record.answer)["max_age_days"]
        terms = Terms.of(request, record.created_at.date(), limit)
        scene = self._scene(promoted, prices, terms, source)
        question = Question(request, scene, held_weights(scene, request), record.created_at)
        return in_full(scene, request, _decide(question), record.id)

    def _prices(self, request: DecisionRequest, promoted: Promoted) -> tuple[Prices, str]:
        if request.prices is not None:
            return panel_from_request(request.prices), FROM_REQUEST
        name = request.data or promoted.evidence.data
        return self._snapshots.get(name), name

    def _scene(self, promoted: Promoted, prices: Prices, terms: Terms, source: str) -> Scene:
        key = self._key(promoted, prices, terms, source)
        scene = self._scenes.get(key)
        if scene is None:
            policy = self._registry.policy(promoted.id, promoted.version)
            scene = set_scene(promoted, policy, prices, terms, source=source, calendar=self._calendar)
            if source != FROM_REQUEST:
                self._keep(key, scene)
        return scene

    def _keep(self, key: _Key, scene: Scene) -> None:
        with self._lock:
            self._scenes[key] = scene
            if len(self._scenes) > _SCENES:
                self._scenes.popitem(last=False)

    @staticmethod
    def _key(promoted: Promoted, prices: Prices, terms: Terms, source: str) -> _Key:
        return (promoted.id, promoted.version, prices.hash, source, terms)


def _decide(question: Question) -> Decision:
    return decide(question.scene, question.held[None])[0]


def decide(scene: Scene, held: Floats) -> list[Decision]:
    """Decide in a scene for several accounts, holding weights [B, N]."""
    return decisions(scene.policy.targets(scene.prices, scene.session, held), held)


def new_id() -> str:
    """Give a random id that sorts by time, as a UUID of version 7 does."""
    stamp = int(time.time() * 1e3).to_bytes(6, "big")
    return (stamp + os.urandom(10)).hex()


def same_answer(record: Recorded, again: bytes) -> bool:
    """Tell whether an answer computed anew is the recorded one, byte for byte."""
    return record.answer.encode() == again
