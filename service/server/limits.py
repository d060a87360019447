"""uvicorn's protocol with bounds on what precedes a body, and with refusals in the service's own form."""

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


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    uvicorn waits for the head of a request as long as the client likes, keeps as much of one as it is sent, takes
    trailers for headers, and loses the body of a request that offers another protocol. None of that happens here.

    Parameters
    ----------
    telemetry : Telemetry
        Where refusals are counted.
    head_seconds : float
        Longest time from the first byte of a request to the end of its head.
    """

    def __init__(self, *args: Any, telemetry: Telemetry, head_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ws_protocol_class = None
        self._telemetry = telemetry
        self._head_seconds = head_seconds
        self._head_bytes: int | None = None  # None while no head is being read
        self._in_hand = 0  # bytes read last
        self._ended = False  # whether a request ended in what was read last
        self._head_timer: asyncio.TimerHandle | None = None
        self._without_offer = b""
        self._refused: Problem | None = None
        self._headers_only = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Greet a client that may never say anything."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        super().connection_lost(exc)
        self._stop_timer()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._unset_keepalive_if_required()
        if self._refused is not None:
            return
        self._ended, self._in_hand = False, len(data)
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            known = error.__context__
            detail = "the request is not valid HTTP/1.1"
            self._refuse(known if isinstance(known, Problem) else Problem("malformed-request", detail))
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
                # The parser takes what follows for the other protocol's. That is not spoken here (RFC 9110, 7.8), so
                # the same request is read again without the offer.
                head, self._without_offer = self._without_offer, b""
                data = head + data[stop.args[0] :]
            else:
                return

    def on_message_begin(self) -> None:
        """Begin to read a head."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Start what answers, once the head is known to be within bounds."""
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise Problem("malformed-request", "this is no proxy: it does not answer CONNECT")
            self._without_offer = self._head_without_offer()
            return
        # Added up only where it can be too much.
        if (self._head_bytes or 0) + self._in_hand > MAX_HEAD_BYTES and self._head_size() > MAX_HEAD_BYTES:
            raise _too_large()
        self._head_bytes = None
        if self._head_timer is not None:
            self._stop_timer()
        super().on_headers_complete()
        # Trailers come as headers do; what reads the scope has checked those that came before the body.
        self.headers = []

    def on_message_complete(self) -> None:
        """End a request, unless it is to be read again."""
        if not self._without_offer:
            self._ended = True
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with what waits, a refusal last."""
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
        """Read no more, answer the requests that came whole, and this problem in the place of the one that did not."""
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
                cycle.disconnected = True  # so that nothing else answers it
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
    detail = f"at most {MAX_HEAD_BYTES} bytes of request line and headers are read"
    return Problem("head-too-large", detail)
