"""Middleware of every request: id, limits of size and time, headers, one log line, metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.core.logging import event
from service.core.problems import Problem, time_limit
from service.core.settings import ServiceSettings
from service.core.telemetry import Telemetry

logger = logging.getLogger("equitrade.requests")

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_TOO_LARGE = "the body is larger than {} bytes"
_DEFAULTS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
_STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000")


class RequestMiddleware:
    """Plain ASGI middleware around the whole application, with the limits of the settings."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, telemetry: Telemetry) -> None:
        self._app = app
        self._max_body = settings.max_body_bytes
        self._seconds = settings.request_seconds
        self._telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._max_body)
        started = time.perf_counter()
        try:
            exchange.check_length()
            async with asyncio.timeout(self._seconds):
                await self._app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            await exchange.fail(time_limit(self._seconds))
        except Problem as problem:
            await exchange.fail(problem)
        except ClientDisconnect:
            pass  # before its body was complete: there is nobody to answer
        except Exception:
            # Written down here, where the request's id is known; the answer says no more than that id.
            logger.exception("unhandled error in request %s", exchange.id)
            detail = "unexpected error; the log has the cause under this request's id"
            await exchange.fail(Problem("internal-error", detail))
        finally:
            seconds, fields = time.perf_counter() - started, scope["state"].get("log", {})
            account(self._telemetry, scope, exchange.id, _route(scope), exchange.status, seconds, fields)


def account(
    telemetry: Telemetry,
    scope: Scope,
    request_id: str,
    route: str,
    status: int,
    seconds: float,
    fields: Mapping[str, str],
) -> None:
    """Count a finished request and log its line."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    telemetry.answered(method, route, status, seconds)
    event(
        logger,
        logging.INFO,
        "request",
        request_id=request_id,
        method=method,
        path=scope["path"][:200],
        route=route,
        status=status,
        milliseconds=round(seconds * 1e3, 3),
        client=(scope.get("client") or ("-",))[0],
        **fields,
    )


def request_id(headers: Mapping[bytes, bytes]) -> str:
    """Return the client's id of a request, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def answer_headers(own: Iterable[tuple[bytes, bytes]], scheme: str | None) -> list[tuple[bytes, bytes]]:
    """Return the headers that every answer has in addition to its own."""
    present = {name.lower() for name, _ in own}
    headers = [*_HEADERS, *(pair for pair in _DEFAULTS if pair[0] not in present)]
    return [*headers, _STRICT_TRANSPORT] if scheme == "https" else headers


def refusal(problem: Problem, request_id: str, scheme: str | None) -> tuple[bytes, bytes]:
    """Return the header lines and the body of an answer that is sent without the framework."""
    response = problem.response(request_id)
    own = [*response.raw_headers, (b"x-request-id", request_id.encode())]
    lines = (b"%b: %b\r\n" % pair for pair in [*own, *answer_headers(own, scheme)])
    return b"".join(lines), bytes(response.body)


class Exchange:
    """One request and its answer: limits the bytes received, adds headers to the answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body: int) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._max_body = max_body
        self._received = 0
        self.started = False
        self.status = 499  # stays when the client goes away before an answer
        headers = dict(scope["headers"])
        self.id = request_id(headers)
        self._length = headers.get(b"content-length", b"")
        scope.setdefault("state", {})["request_id"] = self.id

    def check_length(self) -> None:
        """Refuse a body whose announced length is too large, before reading it."""
        if self._length.isdigit() and int(self._length) > self._max_body:
            detail = _TOO_LARGE.format(self._max_body)
            raise Problem("body-too-large", detail, headers={"Connection": "close"})

    async def receive(self) -> Message:
        """Receive the next part of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._max_body:
                # FastAPI answers other exceptions with status 400.
                raise HTTPException(413, _TOO_LARGE.format(self._max_body), {"Connection": "close"})
        return message

    async def send(self, message: Message) -> None:
        """Send the next part of the answer."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            given = message["headers"]
            more = answer_headers(given, self._scope.get("scheme"))
            message = {**message, "headers": [*given, (b"x-request-id", self.id.encode()), *more]}
        await self._send(message)

    async def fail(self, problem: Problem) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.started:
            return
        await problem.response(self.id)(self._scope, self._receive, self.send)


def _route(scope: Scope) -> str:
    # The template, not the path: a metric's labels must stay few whatever is asked for.
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"
