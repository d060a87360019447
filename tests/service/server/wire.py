"""One application behind a real socket, and raw conversations with it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import httptools
import uvicorn

from service.core.problems import KINDS, MEDIA_TYPE, PREFIX
from service.server.limits import LimitedProtocol

DEADLINE = 60.0


class Served:
    """An application served in a thread, with the protocol of `equitrade serve`."""

    def __init__(self, app: Any) -> None:
        state = app.state.equitrade
        http: Any = partial(
            LimitedProtocol, telemetry=state.telemetry, head_seconds=state.settings.service.request_seconds
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        config = uvicorn.Config(
            app, http=http, ws="none", lifespan="off", log_config=None, server_header=False
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=asyncio.run, args=(self._server.serve([self._socket]),))
        self._thread.start()

    def stop(self) -> None:
        """Stop once the requests in flight are answered."""
        self._server.should_exit = True

    def close(self) -> None:
        self.stop()
        self._thread.join(60)
        assert not self._thread.is_alive(), "a connection is never closed"
        self._socket.close()


@dataclass
class Reply:
    """One answer, with interim ones left out."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def kind(self) -> str | None:
        """Kind of a problem, after checking that its document is right; None for other answers."""
        if self.headers.get("content-type") != MEDIA_TYPE or not self.body:
            return None
        document = json.loads(self.body)
        kind = str(document["type"].removeprefix(PREFIX))
        assert document["status"] == self.status == KINDS[kind].status
        assert document["request_id"] == self.headers["x-request-id"]
        return kind

    @property
    def content(self) -> Any:
        """The body without what differs from one answer to the next."""
        if "json" not in self.headers.get("content-type", ""):
            return self.body
        document = json.loads(self.body) if self.body else None
        if isinstance(document, dict):
            document.pop("request_id", None)
            for member in ("id", "links", "records", "jobs"):  # ids, and lists of what has them
                document.pop(member, None)
        return document

    @property
    def fixed(self) -> dict[str, str]:
        """The headers without what differs from one answer to the next."""
        left_out = {"date", "x-request-id", "content-length", "location"}
        return {name: value for name, value in self.headers.items() if name not in left_out}


@dataclass
class Heard:
    """What an independent reader makes of the bytes that are sent."""

    methods: list[str] = field(default_factory=list)
    complete: int = 0
    broken: bool = False

    @classmethod
    def of(cls, data: bytes) -> Heard:
        """Read bytes."""
        heard = cls()
        reader = httptools.HttpRequestParser(heard)
        heard._method = reader.get_method  # type: ignore[attr-defined]
        reader.set_dangerous_leniencies(lenient_data_after_close=True)
        try:
            reader.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # the latter for CONNECT
            heard.broken = True
        return heard

    def on_headers_complete(self) -> None:
        self.methods.append(self._method().decode())  # type: ignore[attr-defined]

    def on_message_complete(self) -> None:
        self.complete += 1


class Talk(list[Reply]):
    """The answers of a conversation, and whether it was reset.

    A server that hangs up while more is sent to it than it cares to read has its last words lost on the way, by the
    rules of TCP.
    """

    reset = False


def converse(
    address: Any, data: bytes, cuts: Sequence[int] = (), *, expected: int, methods: Sequence[str] = ()
) -> Talk:
    """Send bytes, in pieces if cut, and read answers until there are enough or the server hangs up.

    Raises
    ------
    TimeoutError
        If the server does neither.
    """
    places = [0, *sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)]
    replies: Talk = Talk()
    with socket.create_connection(address, timeout=DEADLINE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for first, last in pairwise(places):
                connection.sendall(data[first:last])
        except OSError:
            pass  # it hung up already; what it said is to be read
        with connection.makefile("rb") as reader:
            while len(replies) < expected:
                method = methods[len(replies)] if len(replies) < len(methods) else "GET"
                try:
                    reply = read_reply(reader, method)
                except ConnectionResetError:
                    replies.reset = True
                    break
                if reply is None:
                    break
                replies.append(reply)
    return replies


def read_reply(reader: Any, method: str = "GET") -> Reply | None:
    """Read one answer; None at the end of the connection."""
    while line := reader.readline():
        version, status = line.split()[:2]
        assert version == b"HTTP/1.1", line
        headers: dict[str, str] = {}
        while head := reader.readline().strip():
            name, _, value = head.decode("latin-1").partition(": ")
            assert name not in headers, f"{name} comes twice"
            headers[name] = value
        if int(status) == 100:
            continue
        return Reply(int(status), headers, _read_body(reader, headers, method))
    return None


def _read_body(reader: Any, headers: dict[str, str], method: str) -> bytes:
    if method == "HEAD":
        return b""
    if headers.get("transfer-encoding") != "chunked":
        length = int(headers["content-length"])
        body: bytes = reader.read(length)
        assert len(body) == length, "the answer is cut off"
        return body
    parts = []
    while size := int(reader.readline(), 16):
        parts.append(reader.read(size))
        reader.readline()
    reader.readline()
    return b"".join(parts)
