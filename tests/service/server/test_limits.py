"""Connections: limits that HTTP leaves open, and refusals as problem JSON."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from service.decisions.audit import AuditTrail
from tests.service.server.wire import Reply, Served, converse, read_reply

URL = "/api/v1/allocations"
GOOD = b'{"model": "toy"}'


class RequestLine(logging.Handler):
    """Waits for the log line of a request with a status."""

    def __init__(self, status: int) -> None:
        super().__init__()
        self._status = status
        self._logged = threading.Event()
        self.fields: dict[str, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        fields = record.equitrade_fields  # type: ignore[attr-defined]
        if fields["status"] == self._status:
            self.fields = fields
            self._logged.set()

    def __enter__(self) -> RequestLine:
        logging.getLogger("equitrade.requests").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("equitrade.requests").removeHandler(self)

    def wait(self) -> dict[str, Any]:
        assert self._logged.wait(30)
        return self.fields


@pytest.fixture
def serve() -> Iterator[Callable[[Any], Served]]:
    """Serves an application behind a socket."""
    opened: list[Served] = []

    def make(service: Any) -> Served:
        opened.append(Served(service.client.app))
        return opened[-1]

    yield make
    for served in opened:
        served.close()


@pytest.fixture
def served(service: Any, serve: Callable[[Any], Served]) -> Served:
    return serve(service)


def changed(settings: Any, **values: Any) -> Any:
    return settings.model_copy(update={"service": settings.service.model_copy(update=values)})


def message(service: Any, body: bytes = GOOD, path: str = URL, **headers: str | None) -> bytes:
    lines: dict[str, str | None] = {"host": "test", "content-type": "application/json"}
    lines |= {"content-length": str(len(body)), "authorization": service.key()["Authorization"]}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def converse_at(served: Served, data: bytes, cuts: tuple[int, ...] = (), expected: int = 1) -> list[Reply]:
    return converse(served.address, data, cuts, expected=expected)


def ask(service: Any, address: Any, **headers: str | None) -> Reply:
    return converse(address, message(service, **headers), expected=1)[0]


@pytest.mark.parametrize("headers", [1, 400])
@pytest.mark.parametrize("pieces", [1, 5])
def test_a_head_without_end_is_refused(service: Any, served: Served, headers: int, pieces: int) -> None:
    fields = {f"x_{number}": "a" * (80_000 // headers) for number in range(headers)}
    data = message(service, **fields)
    cuts = tuple(len(data) * piece // pieces for piece in range(1, pieces))
    reply = converse_at(served, data, cuts)[0]
    assert (reply.status, reply.kind, reply.headers["connection"]) == (431, "head-too-large", "close")
    # Nor is its end waited for.
    reply = converse_at(served, data[: data.index(b"\r\n\r\n")], (70_000,))[0]
    assert reply.kind == "head-too-large"


def test_a_head_that_may_be_long_is_read(service: Any, served: Served) -> None:
    assert converse_at(served, message(service, x_long="a" * 60_000))[0].status == 200


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"POST ", b"POST /x HTTP/1.1\r\nhost: x\r\n"])
def test_a_client_that_never_comes_to_the_point_is_not_waited_for(
    make_service: Any, settings: Any, service: Any, serve: Callable[[Any], Served], begin: bytes
) -> None:
    hasty = make_service(changed(settings, request_seconds=1.0))
    for before in (b"", message(hasty)):
        with socket.create_connection(serve(hasty).address, timeout=30) as connection:
            reader = connection.makefile("rb")
            if before:
                connection.sendall(before)
                assert read_reply(reader).status == 200  # type: ignore[union-attr]
            if before and not begin:
                continue  # between requests a connection may rest
            connection.sendall(begin)
            reply = read_reply(reader)
            assert reply is not None
            assert (reply.status, reply.kind) == (503, "time-limit")
            assert reader.read() == b""


def test_trailers_are_no_headers(service: Any, served: Served) -> None:
    key = service.key()["Authorization"]
    head = message(service, b"", authorization=None, content_length=None, transfer_encoding="chunked")
    for trailer in (f"Authorization: {key}", "X-Forwarded-For: 203.0.113.7"):
        body = b"10\r\n%b\r\n0\r\n%b\r\n\r\n" % (GOOD, trailer.encode())
        assert converse_at(served, head + body)[0].kind == "missing-key"


@pytest.mark.parametrize("cut", [0, 40, -16, -5])
def test_an_offer_of_another_protocol_is_passed_over(service: Any, served: Served, cut: int) -> None:
    """As Java's client makes with each request that it does not know better of."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABk"}
    for asked in (offer, {"connection": "Upgrade", "upgrade": "websocket"}):
        data = message(service, **asked)
        cuts = (cut % len(data),) if cut else ()
        first, second = converse_at(served, data * 2, cuts, expected=2)
        assert (first.status, second.status) == (200, 200)
        assert first.content == second.content


@pytest.mark.parametrize("target", ["test:80", "*", "http://test/x", URL])
def test_it_is_no_proxy(service: Any, served: Served, target: str) -> None:
    data = f"CONNECT {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode() + message(service)
    assert [reply.kind for reply in converse_at(served, data, expected=3)] == ["malformed-request"]


def test_what_came_whole_is_answered_before_what_is_broken(service: Any, served: Served) -> None:
    data = message(service)
    chunked = message(service, b"", content_length=None, transfer_encoding="chunked")
    for broken in (b"no HTTP\r\n\r\n", data.replace(b"HTTP/1.1", b"HTTP/x"), chunked + b"z\r\n"):
        replies = converse_at(served, data * 2 + broken, expected=4)
        assert [reply.status for reply in replies] == [200, 200, 400]
        assert replies[2].kind == "malformed-request"
        assert converse_at(served, broken + data, expected=4)[0].kind == "malformed-request"


def test_a_refusal_looks_like_every_other_problem(
    service: Any, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="equitrade.requests")
    with RequestLine(400) as logged:
        (reply,) = converse(served.address, b"\x00\r\n\r\n", expected=2)
        line = logged.wait()
    assert (reply.status, reply.kind) == (400, "malformed-request")
    expected = ask(service, served.address, authorization=None)
    ours = {"www-authenticate", "connection"}
    assert reply.fixed.keys() | ours == expected.fixed.keys() | ours
    assert line["request_id"] == reply.headers["x-request-id"]
    assert (line["problem"], line["client"]) == ("malformed-request", "127.0.0.1")
    text = service.state.telemetry.render(dict).decode()
    assert 'equitrade_problems_total{kind="malformed-request"} 1.0' in text


@pytest.mark.parametrize("scheme", ["wss", "ws", "https", "http", "gopher"])
def test_a_proxy_may_name_any_scheme(service: Any, served: Served, scheme: str) -> None:
    reply = converse_at(served, message(service, x_forwarded_proto=scheme, x_forwarded_for="203.0.113.7"))[0]
    assert reply.status == 200
    assert ("strict-transport-security" in reply.headers) == (scheme == "https")


@pytest.mark.parametrize(
    ("day", "kind"), [("0001-01-01", "insufficient-history"), ("9999-12-31", "stale-data")]
)
def test_days_at_the_ends_of_the_calendar(service: Any, served: Served, day: str, kind: str) -> None:
    assert (
        converse_at(served, message(service, json.dumps({"model": "toy", "as_of": day}).encode()))[0].kind
        == kind
    )
    late = json.dumps({"model": "toy", "as_of": "9999-12-31", "allow_stale": True}).encode()
    reply = converse_at(served, message(service, late))[0]
    assert reply.content["as_of"] == "2024-03-28"
    dates = [f"{day[:-2]}{number:02}" for number in range(20, 32)]
    panel = {"dates": dates, "close": {symbol: [10.0] * 12 for symbol in ("AAA", "BBB", "CCC")}}
    body = json.dumps({"model": "toy", "prices": panel, "allow_stale": True}).encode()
    assert converse_at(served, message(service, body))[0].status in (200, 422)


def test_a_client_that_leaves_before_its_body_is_no_failure(
    service: Any, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="equitrade.requests")
    with RequestLine(499) as logged:
        converse(served.address, message(service)[:-3], expected=0)
        logged.wait()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert 'status="500"' not in service.state.telemetry.render(dict).decode()


def test_no_redirect_leads_to_a_host_that_the_request_names(service: Any, served: Served) -> None:
    reply = converse_at(served, message(service, path=f"{URL}/", host="elsewhere"))[0]
    assert (reply.status, reply.kind) == (404, "not-found")
    assert "location" not in reply.headers


def test_a_large_body_in_one_piece_is_refused(
    make_service: Any, settings: Any, service: Any, serve: Callable[[Any], Served]
) -> None:
    small = make_service(changed(settings, max_body_bytes=1024))
    served = serve(small)
    reply = converse_at(served, message(small, GOOD + b" " * 1010))[0]
    assert (reply.status, reply.kind) == (413, "body-too-large")
    chunks = b"408\r\n%b\r\n0\r\n\r\n" % (GOOD + b" " * 1016)
    head = message(small, b"", content_length=None, transfer_encoding="chunked")
    assert converse_at(served, head + chunks)[0].kind == "body-too-large"
    assert converse_at(served, message(small, GOOD + b" " * 1008))[0].status == 200


def test_an_error_in_one_answer_is_not_felt_by_others(
    service: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided, failed = service.state.telemetry.decided, []

    def once(*args: Any) -> None:
        if not failed:
            failed.append(True)
            raise ZeroDivisionError
        decided(*args)

    monkeypatch.setattr(service.state.telemetry, "decided", once)
    data = message(service)
    with socket.create_connection(served.address) as one, socket.create_connection(served.address) as other:
        one.sendall(data)
        other.sendall(data)
        replies = [read_reply(connection.makefile("rb")) for connection in (one, other)]
    assert sorted(reply.status for reply in replies if reply) == [200, 500]


def test_a_stop_finishes_requests_in_flight(
    service: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording, committed = threading.Event(), threading.Event()

    def record(*_: Any) -> None:
        recording.set()
        assert committed.wait(60)

    monkeypatch.setattr(AuditTrail, "record", record)
    with (
        socket.create_connection(served.address, timeout=30) as connection,
        connection.makefile("rb") as reader,
    ):
        connection.sendall(message(service))
        assert recording.wait(30)
        served.stop()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(30)
        committed.set()
        reply = read_reply(reader)
        assert reply is not None
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert reader.read() == b""
