"""Connections: what HTTP itself leaves open is bounded, refused in the service's form, and never holds others up."""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from service.decisions.audit import AuditWriter
from tests.service.server.wire import Pair, Reply, converse, read_reply

URL = "/api/v1/allocations"
GOOD = b'{"model": "toy"}'


@pytest.fixture
def pair_of() -> Iterator[Callable[[Any], Pair]]:
    """Serves an application behind two sockets."""
    opened: list[Pair] = []

    def make(service: Any) -> Pair:
        opened.append(Pair(service.client.app))
        ask(service, opened[-1].quick)  # the scene is in memory now
        return opened[-1]

    yield make
    for pair in opened:
        pair.close()


@pytest.fixture
def pair(service: Any, pair_of: Callable[[Any], Pair]) -> Pair:
    return pair_of(service)


def changed(settings: Any, **values: Any) -> Any:
    return settings.model_copy(update={"service": settings.service.model_copy(update=values)})


def message(service: Any, body: bytes = GOOD, path: str = URL, **headers: str | None) -> bytes:
    lines: dict[str, str | None] = {"host": "test", "content-type": "application/json"}
    lines |= {"content-length": str(len(body)), "authorization": service.key()["Authorization"]}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def ask(service: Any, address: Any, **headers: str | None) -> Reply:
    return converse(address, message(service, **headers), expected=1)[0]


def both(pair: Pair, data: bytes, cuts: tuple[int, ...] = (), expected: int = 1) -> list[Reply]:
    """What both servers answer; they must agree."""
    found = [converse(address, data, cuts, expected=expected) for address in (pair.quick, pair.plain)]
    facts = [[(reply.status, reply.kind, reply.fixed) for reply in replies] for replies in found]
    assert facts[0] == facts[1]
    return found[0]


@pytest.mark.parametrize("headers", [1, 400])
@pytest.mark.parametrize("pieces", [1, 5])
def test_a_head_without_end_is_refused(service: Any, pair: Pair, headers: int, pieces: int) -> None:
    fields = {f"x_{number}": "a" * (80_000 // headers) for number in range(headers)}
    data = message(service, **fields)
    cuts = tuple(len(data) * piece // pieces for piece in range(1, pieces))
    reply = both(pair, data, cuts)[0]
    assert (reply.status, reply.kind, reply.headers["connection"]) == (431, "head-too-large", "close")
    # Nor is its end waited for.
    reply = both(pair, data[: data.index(b"\r\n\r\n")], (70_000,))[0]
    assert reply.kind == "head-too-large"


def test_a_head_that_may_be_long_is_read(service: Any, pair: Pair) -> None:
    assert both(pair, message(service, x_long="a" * 60_000))[0].status == 200


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"POST ", b"POST /x HTTP/1.1\r\nhost: x\r\n"])
def test_a_client_that_never_comes_to_the_point_is_not_waited_for(
    make_service: Any, settings: Any, service: Any, pair_of: Callable[[Any], Pair], begin: bytes
) -> None:
    hasty = make_service(changed(settings, request_seconds=0.3))
    for before in (b"", message(hasty)):
        with socket.create_connection(pair_of(hasty).quick, timeout=30) as connection:
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


def test_trailers_are_no_headers(service: Any, pair: Pair) -> None:
    key = service.key()["Authorization"]
    head = message(service, b"", authorization=None, content_length=None, transfer_encoding="chunked")
    for trailer in (f"Authorization: {key}", "X-Forwarded-For: 203.0.113.7"):
        body = b"10\r\n%b\r\n0\r\n%b\r\n\r\n" % (GOOD, trailer.encode())
        assert both(pair, head + body)[0].kind == "missing-key"


@pytest.mark.parametrize("cut", [0, 40, -16, -5])
def test_an_offer_of_another_protocol_is_passed_over(service: Any, pair: Pair, cut: int) -> None:
    """As Java's client makes with each request that it does not know better of."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABk"}
    for asked in (offer, {"connection": "Upgrade", "upgrade": "websocket"}):
        data = message(service, **asked)
        cuts = (cut % len(data),) if cut else ()
        before = pair.taken
        first, second = both(pair, data * 2, cuts, expected=2)
        assert (first.status, second.status) == (200, 200)
        assert first.content == second.content
        assert pair.taken > before or cut


@pytest.mark.parametrize("target", ["test:80", "*", "http://test/x", URL])
def test_it_is_no_proxy(service: Any, pair: Pair, target: str) -> None:
    data = f"CONNECT {target} HTTP/1.1\r\nhost: test\r\n\r\n".encode() + message(service)
    assert [reply.kind for reply in both(pair, data, expected=3)] == ["malformed-request"]


def test_what_came_whole_is_answered_before_what_is_broken(service: Any, pair: Pair) -> None:
    data = message(service)
    chunked = message(service, b"", content_length=None, transfer_encoding="chunked")
    for broken in (b"no HTTP\r\n\r\n", data.replace(b"HTTP/1.1", b"HTTP/x"), chunked + b"z\r\n"):
        replies = both(pair, data * 2 + broken, expected=4)
        assert [reply.status for reply in replies] == [200, 200, 400]
        assert replies[2].kind == "malformed-request"
        assert both(pair, broken + data, expected=4)[0].kind == "malformed-request"


def test_a_refusal_looks_like_every_other_problem(
    service: Any, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="equitrade.requests"):
        (reply,) = converse(pair.quick, b"\x00\r\n\r\n", expected=2)
        time.sleep(0.05)
    assert (reply.status, reply.kind) == (400, "malformed-request")
    expected = ask(service, pair.quick, authorization=None)
    ours = {"www-authenticate", "connection"}
    assert reply.fixed.keys() | ours == expected.fixed.keys() | ours
    line = next(r.equitrade_fields for r in caplog.records if r.equitrade_fields["status"] == 400)  # type: ignore[attr-defined]
    assert line["request_id"] == reply.headers["x-request-id"]
    assert (line["problem"], line["client"]) == ("malformed-request", "127.0.0.1")
    text = service.state.telemetry.render(dict).decode()
    assert 'equitrade_problems_total{kind="malformed-request"} 1.0' in text


@pytest.mark.parametrize("scheme", ["wss", "ws", "https", "http", "gopher"])
def test_a_proxy_may_name_any_scheme(service: Any, pair: Pair, scheme: str) -> None:
    before = pair.taken
    reply = both(pair, message(service, x_forwarded_proto=scheme, x_forwarded_for="203.0.113.7"))[0]
    assert reply.status == 200
    assert pair.taken == before + 1
    assert ("strict-transport-security" in reply.headers) == (scheme == "https")


@pytest.mark.parametrize(
    ("day", "kind"), [("0001-01-01", "insufficient-history"), ("9999-12-31", "stale-data")]
)
def test_days_at_the_ends_of_the_calendar(service: Any, pair: Pair, day: str, kind: str) -> None:
    assert both(pair, message(service, json.dumps({"model": "toy", "as_of": day}).encode()))[0].kind == kind
    late = json.dumps({"model": "toy", "as_of": "9999-12-31", "allow_stale": True}).encode()
    reply = both(pair, message(service, late))[0]
    assert reply.content["as_of"] == "2024-03-28"
    dates = [f"{day[:-2]}{number:02}" for number in range(20, 32)]
    panel = {"dates": dates, "close": {symbol: [10.0] * 12 for symbol in ("AAA", "BBB", "CCC")}}
    body = json.dumps({"model": "toy", "prices": panel, "allow_stale": True}).encode()
    assert both(pair, message(service, body))[0].status in (200, 422)


def test_a_client_that_leaves_before_its_body_is_no_failure(
    service: Any, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="equitrade.requests"):
        converse(pair.quick, message(service)[:-3], expected=0)
        until = time.monotonic() + 30
        while not any(r.equitrade_fields["status"] == 499 for r in caplog.records):  # type: ignore[attr-defined]
            assert time.monotonic() < until
            time.sleep(0.01)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert 'status="500"' not in service.state.telemetry.render(dict).decode()


def test_no_redirect_leads_to_a_host_that_the_request_names(service: Any, pair: Pair) -> None:
    reply = both(pair, message(service, path=f"{URL}/", host="elsewhere"))[0]
    assert (reply.status, reply.kind) == (404, "not-found")
    assert "location" not in reply.headers


def test_a_large_body_in_one_piece_is_refused_on_either_way(
    make_service: Any, settings: Any, service: Any, pair_of: Callable[[Any], Pair]
) -> None:
    small = make_service(changed(settings, max_body_bytes=1024))
    pair = pair_of(small)
    before = pair.taken
    reply = both(pair, message(small, GOOD + b" " * 1010))[0]
    assert (reply.status, reply.kind) == (413, "body-too-large")
    chunks = b"408\r\n%b\r\n0\r\n\r\n" % (GOOD + b" " * 1016)
    head = message(small, b"", content_length=None, transfer_encoding="chunked")
    assert both(pair, head + chunks)[0].kind == "body-too-large"
    assert pair.taken == before
    assert both(pair, message(small, GOOD + b" " * 1008))[0].status == 200


def test_what_goes_wrong_with_one_answer_is_not_felt_by_others(
    service: Any, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided, failed = service.state.telemetry.decided, []

    def once(*args: Any) -> None:
        if not failed:
            failed.append(True)
            raise ZeroDivisionError
        decided(*args)

    monkeypatch.setattr(service.state.telemetry, "decided", once)
    data = message(service)
    with socket.create_connection(pair.quick) as one, socket.create_connection(pair.quick) as other:
        one.sendall(data)
        other.sendall(data)
        replies = [read_reply(connection.makefile("rb")) for connection in (one, other)]
    assert [reply.status for reply in replies if reply] == [200, 200]
    assert failed


def test_a_stop_finishes_quick_requests_in_flight(
    service: Any, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: Future[None] = Future()
    monkeypatch.setattr(AuditWriter, "write_now", lambda self, items: False)
    monkeypatch.setattr(AuditWriter, "submit", lambda self, item: written)
    before = pair.taken
    with socket.create_connection(pair.quick, timeout=30) as connection, connection.makefile("rb") as reader:
        connection.sendall(message(service))
        while pair.taken == before:
            time.sleep(0.01)
        pair.stop()
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1, socket.MSG_PEEK)
        connection.settimeout(30)
        written.set_result(None)
        reply = read_reply(reader)
        assert reply is not None
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert reader.read() == b""
