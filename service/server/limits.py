"""Limits on the head of a request, which uvicorn has no settings for.

uvicorn bounds neither size nor time of a head with its httptools protocol; with h11 it bounds the size, but spends
tens of microseconds on each chunk of a body. This module and its test are the only ones that know uvicorn's internals.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.core.middleware import account, refusal
from service.core.problems import Problem, time_limit
from service.core.telemetry import Telemetry

MAX_HEAD_BYTES = 64 * 2**10


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Beyond `HttpToolsProtocol`: a head is limited in size and time, trailers are not taken for headers, a request that
    offers another protocol keeps its body, and what cannot be read is answered with problem JSON.

    `head_seconds` is the longest time from the first byte of a request to the end of its head.
    """

    def __init__(self, *args: Any, telemetry: Telemetry, head_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ws_protocol_class = None
        self._telemetry = telemetry
        self._head_seconds = head_seconds
        self._head_bytes: int | None = None  # None while no head is being read
        self._last_read = 0  # bytes in the last read
        self._ended = False  # a request ended in the last read
        self._head_timer: asyncio.TimerHandle | None = None
        self._without_offer = b""
        self._refused: Problem | None = None
        self._headers_only = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first head."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Parse bytes, unless the connection was refused."""
        self._unset_keepalive_if_required()
        if self._refused is not None:
            return
        self._ended, self._last_read = False, len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            known = error.__context__
            invalid = Problem("malformed-request", "the request is not valid HTTP/1.1")
            self._refuse(known if isinstance(known, Problem) else invalid)
            return
        if self._head_bytes is not None and not self._ended:
            self._head_bytes += len(data)
        if self._head_bytes is not None and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_too_large())
        elif self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                # The parser stops for the other protocol. The offer is ignored (RFC 9110, 7.8): the request is parsed
                # again without it.
                head, self._without_offer = self._without_offer, b""
                data = head + data[stop.args[0] :]
            else:
                return

    def on_message_begin(self) -> None:
        """Begin to count the bytes of a head."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Pass the request on, once its head is within the limit."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Problem("malformed-request", "CONNECT is not supported: this is not a proxy")
            self._without_offer = self._head_without_offer()
            return
        if (self._head_bytes or 0) + self._last_read > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            raise _too_large()
        self._head_bytes = None
        if self._head_timer is not None:
            self._stop_timer()
        super().on_headers_complete()
        # The parser reports trailers as headers; the request keeps the list of those before its body.
        self.headers = []

    def on_message_complete(self) -> None:
        """End a request, unless it is parsed again."""
        if not self._without_offer:
            self._ended = True
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with pipelined requests; a refusal comes last."""
        others = bool(self.pipeline)
        super().on_response_complete()
        if self._refused is not None and not others:
            self._send(self._refused)

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _head_without_offer(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b\r\n" % (method, self.url, version)]
        lines += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        return b"".join([*lines, b"\r\n"])

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(time_limit(self._head_seconds))

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: Problem) -> None:
        """Stop reading; answer the complete requests, then the incomplete one with this problem."""
        self._refused = problem
        self._stop_timer()
        cycle, waits = self.cycle, bool(self.pipeline)
        if cycle is not None and cycle.more_body and not cycle.response_complete:
            self._headers_only = cycle.scope["method"] == "HEAD"
            if waits:
                self.pipeline.popleft()
                cycle.response_complete = True
            elif cycle.response_started:
                self.transport.close()
                return
            else:
                cycle.disconnected = True  # the application no longer answers it
                cycle.message_event.set()
        elif cycle is not None:
            waits = not cycle.response_complete
        if waits:
            self.flow.pause_reading()
        else:
            self._send(problem)

    def _send(self, problem: Problem) -> None:
        if self.transport.is_closing():
            return
        request_id = secrets.token_hex(8)
        lines, body = refusal(problem, request_id, self.scheme)
        default = [b"%b: %b\r\n" % pair for pair in self.server_state.default_headers]
        head = b"".join([STATUS_LINE[problem.status], *default, lines, b"connection: close\r\n\r\n"])
        self.transport.write(head if self._headers_only else head + body)
        self.transport.close()
        self._telemetry.problems.labels(problem.kind).inc()
        scope = {"method": "-", "path": "-", "client": self.client}
        fields = {"problem": problem.kind}
        account(self._telemetry, scope, request_id, "unmatched", problem.status, 0.0, fields)


def _too_large() -> Problem:
    detail = f"request line and headers are larger than {MAX_HEAD_BYTES} bytes"
    return Problem("head-too-large", detail)
