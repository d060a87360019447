"""The service's protocol, which hands whole requests to `Quick` before it starts a task for the application."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from fastapi import FastAPI
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.quick import Quick
from service.server.limits import BoundedProtocol
from service.state import State


def make_protocol(app: FastAPI) -> Callable[..., QuickProtocol]:
    """What uvicorn calls for each connection to the service's application."""
    state: State = app.state.equitrade
    seconds = state.settings.service.request_seconds
    return partial(QuickProtocol, quick=app.state.quick, telemetry=state.telemetry, head_seconds=seconds)


class QuickProtocol(BoundedProtocol):
    """One connection.

    A request whose head and body came in one read may be answered by `Quick`. The others, and those that it leaves,
    go to the application as ever, with its limits of time: waiting for a slow body is its business.

    Parameters
    ----------
    quick : Quick
        The application's.
    """

    def __init__(self, *args: Any, quick: Quick, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._quick = quick
        self._reading = False
        self._held: tuple[RequestResponseCycle, Any] | None = None

    def data_received(self, data: bytes) -> None:
        """Read; what has begun and is not complete goes to the application."""
        self._reading = True
        try:
            super().data_received(data)
        finally:
            self._reading = False
            if (held := self._let_go()) is not None:
                super()._start_asgi_task(*held)

    def on_message_complete(self) -> None:
        """Note that a request is complete, and answer it here if possible."""
        super().on_message_complete()
        held = self._let_go()
        if held is None:
            return
        cycle, app = held

        def to_application() -> None:
            if not cycle.response_started:
                super(QuickProtocol, self)._start_asgi_task(cycle, app)

        def answer(status: int, head: bytes, body: bytes) -> None:
            self._answer(cycle, status, head, body)

        if not self._quick.take(cast(Scope, cycle.scope), bytes(cycle.body), answer, to_application):
            to_application()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # Pipelined requests start when the one before is answered, not while reading: nothing would end their wait.
        plain = self._reading and app is self.app and not self.expect_100_continue
        if plain and not self.flow.write_paused and self._quick.fits(cast(Scope, cycle.scope)):
            self._held = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _let_go(self) -> tuple[RequestResponseCycle, Any] | None:
        held, self._held = self._held, None
        return held

    def _answer(self, cycle: RequestResponseCycle, status: int, head: bytes, body: bytes) -> None:
        """Send an answer, as `RequestResponseCycle.send` does, in one piece."""
        if cycle.disconnected or self.transport.is_closing():
            return
        cycle.response_started = cycle.response_complete = True
        parts = [STATUS_LINE[status]]
        parts += [b"%b: %b\r\n" % pair for pair in self.server_state.default_headers]
        parts.append(head)
        if not cycle.keep_alive:
            parts.append(b"connection: close\r\n")
        self.transport.write(b"".join([*parts, b"\r\n", body]))
        if not cycle.keep_alive:
            self.transport.close()
        on_response, cycle.on_response = cycle.on_response, _nothing
        on_response()


def _nothing() -> None:
    """Stands in for what was called already."""
