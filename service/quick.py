"""Whole requests for decisions, answered without a task, a framework or a wait of their own.

What programs send all day arrives in one piece, with a good key, for a model and prices that are in memory. Such a
request is put straight to the batcher. Anything else about it (a wrong key, a body that is not understood, prices of
its own, a limit reached) is left to the application, which meets the same thing again and answers it in full: there
is one place that makes errors, and it is not here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from starlette.types import Scope
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from service.api.direct import DirectRoute, is_json
from service.api.schemas.decisions import DecisionRequest
from service.auth.keys import bearer_token
from service.auth.scopes import Principal
from service.core.middleware import account, answer_headers, refusal, request_id
from service.core.problems import Problem
from service.decisions.service import Given, Question
from service.state import State

logger = logging.getLogger("equitrade.requests")

Answer = Callable[[int, bytes, bytes], None]
_TYPE = (b"content-type", b"application/json")
_FORWARDED = frozenset({b"x-forwarded-for", b"x-forwarded-proto"})


@dataclass(slots=True)
class _Taken:
    """A request on its way."""

    scope: Scope
    began: float
    id: str
    key_id: str
    request: DecisionRequest
    answer: Answer
    leave: Callable[[], None]


class Quick:
    """Takes requests that can be answered at once.

    Parameters
    ----------
    state : State
        The process's.
    routes : iterable of DirectRoute
        What is answered here.
    """

    def __init__(self, state: State, routes: Iterable[DirectRoute]) -> None:
        self._state = state
        self._models = {route.path: cast(type[DecisionRequest], route.model) for route in routes}
        self._max_body = state.settings.service.max_body_bytes
        trusted = state.settings.service.forwarded_allow_ips
        self._proxies: Any = ProxyHeadersMiddleware(cast(Any, _no_more), trusted_hosts=trusted)
        self._fixed = {scheme: _lines(scheme) for scheme in ("http", "https")}

    def fits(self, scope: Scope) -> bool:
        """Whether a request, as far as its head tells, may be answered here."""
        return scope["method"] == "POST" and scope["path"] in self._models and not scope["root_path"]

    def take(self, scope: Scope, body: bytes, answer: Answer, leave: Callable[[], None]) -> bool:
        """Take a request that fits, or leave it to the application.

        Parameters
        ----------
        scope, body
            The request.
        answer
            Called later with the status, the lines of the head, and the body of an answer.
        leave
            Called later, instead, where the application has to answer after all: something unforeseen happened.

        Returns
        -------
        bool
            False if it is not taken; nothing was spent or written then.
        """
        began = time.perf_counter()
        headers = dict(scope["headers"])
        if len(headers) < len(scope["headers"]) or len(body) > self._max_body:
            return False
        connection = scope.get("client")
        if not _FORWARDED.isdisjoint(headers):
            _run(self._proxies(scope, _no_more, _no_more))
        try:
            found = self._admitted(scope["path"], headers, body)
        except Exception:
            return False  # the application meets it again, and tells it
        if found is None:
            return False
        question, principal = found
        taken = _Taken(scope, began, request_id(headers), principal.id, question.request, answer, leave)
        self._state.batcher.ask(
            question,
            lambda given: self._told(taken, given),
            key_id=principal.id,
            request_id=taken.id,
            client=connection,
        )
        return True

    def _admitted(
        self, path: str, headers: Mapping[bytes, bytes], body: bytes
    ) -> tuple[Question, Principal] | None:
        state = self._state
        if not state.database.sqlite or not is_json(headers.get(b"content-type", b"").decode("latin-1")):
            return None
        principal = state.keys.authenticate(
            bearer_token(headers.get(b"authorization", b"").decode("latin-1"))
        )
        if not principal.may("read"):
            return None
        question = state.answers.begin(self._models[path].model_validate_json(body), at_once=True)
        if question is not None:
            # The last thing that can refuse: what is left to the application is spent there.
            state.rates.spend("requests", principal.id)
            return question, principal
        return None

    def _told(self, taken: _Taken, given: Given | Exception) -> None:
        try:
            self._finish(taken, given)
        except Exception:
            # Others are told theirs after this one, by the same loop.
            logger.exception("unhandled error in request %s", taken.id)
            taken.leave()

    def _finish(self, taken: _Taken, given: Given | Exception) -> None:
        if isinstance(given, Problem):
            self._refuse(taken, given)
            return
        if isinstance(given, Exception):
            taken.leave()
            return
        scope, state = taken.scope, self._state
        # A proxy may name any scheme.
        fixed = self._fixed["https" if scope["scheme"] == "https" else "http"]
        taken.answer(200, fixed % (len(given.content), taken.id.encode()), given.content)
        state.telemetry.decided(taken.request.model, given.entry.row["kind"], given.values["staleness_days"])
        fields = {"key": taken.key_id, "model": taken.request.model, "answer": given.values["id"]}
        self._account(taken, 200, fields)

    def _refuse(self, taken: _Taken, problem: Problem) -> None:
        taken.answer(problem.status, *refusal(problem, taken.id, taken.scope["scheme"]))
        self._state.telemetry.problems.labels(problem.kind).inc()
        fields = {"key": taken.key_id, "model": taken.request.model, "problem": problem.kind}
        self._account(taken, problem.status, fields)

    def _account(self, taken: _Taken, status: int, fields: Mapping[str, str]) -> None:
        scope, seconds = taken.scope, time.perf_counter() - taken.began
        account(self._state.telemetry, scope, taken.id, scope["path"], status, seconds, fields)


async def _no_more(*_: Any) -> None:
    """Where uvicorn's middleware goes on to an application."""


def _run(step: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing."""
    with suppress(StopIteration):
        step.send(None)


def _lines(scheme: str) -> bytes:
    """The lines of an answer's head, with gaps for its length and the request's id."""
    own: list[tuple[bytes, Any]] = [(b"content-length", b"%d"), _TYPE, (b"x-request-id", b"%b")]
    rest = ((name, value.replace(b"%", b"%%")) for name, value in answer_headers(own, scheme))
    return b"".join(b"%b: %b\r\n" % pair for pair in [*own, *rest])
