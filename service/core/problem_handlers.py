"""Handlers that answer every exception of a route with a problem document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from data.errors import DataError
from service.core.database import DatabaseError
from service.core.problems import Problem

_MOST_ERRORS = 10
_BY_MEMBER = {"prices": "invalid-prices", "holdings": "invalid-holdings", "sizing": "invalid-holdings"}
_BY_STATUS = {
    400: "malformed-json",
    413: "body-too-large",
    404: "not-found",
    405: "method-not-allowed",
    415: "unsupported-media-type",
}


def add_handlers(app: FastAPI) -> None:
    """Register the handlers."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def _answer_problem(request: Request, error: Exception) -> Response:
    problem = error if isinstance(error, Problem) else Problem("invalid-request", str(error))
    return _respond(request, problem)


async def _answer_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return _respond(request, Problem("malformed-json", "the body is not valid JSON"))
    if any(item["loc"][:1] == ("body",) for item in found) and not is_json(request):
        detail = "send the body as JSON, with the header 'Content-Type: application/json'"
        return _respond(request, Problem("unsupported-media-type", detail))
    return _respond(request, _validation_problem(found))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code, "not-found")
    if kind == "malformed-json" and not is_json(request):
        return _respond(request, Problem("invalid-request", f"the body cannot be read: {error.detail}"))
    detail = {
        "not-found": f"{request.url.path[:200]} does not exist",
        "method-not-allowed": f"{request.url.path[:200]} does not support {request.method[:20]}",
        "malformed-json": "the body cannot be read as JSON",
    }.get(kind, str(error.detail))
    return _respond(request, Problem(kind, detail, headers=dict(error.headers or {})))


async def _answer_database(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatabaseError)
    headers = {"Retry-After": str(error.retry_after)}
    detail = f"the database cannot be used: {error.reason}"
    return _respond(request, Problem("not-ready", detail, headers=headers))


_HANDLERS: dict[type, Callable[[Request, Exception], Awaitable[Response]]] = {
    DataError: _answer_problem,
    RequestValidationError: _answer_validation,
    HTTPException: _answer_http,
    DatabaseError: _answer_database,
}


def _respond(request: Request, problem: Problem) -> Response:
    state: dict[str, Any] = request.scope["state"]
    state.setdefault("log", {})["problem"] = problem.kind
    request.app.state.equitrade.telemetry.problems.labels(problem.kind).inc()
    return problem.response(state.get("request_id"))


def _validation_problem(found: Sequence[dict[str, Any]]) -> Problem:
    errors = [
        {"at": ".".join(str(part) for part in item["loc"])[:200], "message": _message(item)}
        for item in found[:_MOST_ERRORS]
    ]
    place = found[0]["loc"]
    member = str(place[1]) if len(place) > 1 and place[0] == "body" else ""
    kind = _BY_MEMBER.get(member, "invalid-request")
    return Problem(kind, f"{errors[0]['at']}: {errors[0]['message']}", errors=errors)


def _message(item: dict[str, Any]) -> str:
    return str(item["msg"]).removeprefix("Value error, ")[:300]


def is_json(request: Request) -> bool:
    """Return whether the ``Content-Type`` header names JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
