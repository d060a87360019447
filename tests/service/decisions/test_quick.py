"""The quick way past the framework: the same answers, for whole and good requests only."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from service.decisions.audit import AuditWriter
from service.protocol import make_protocol

URL = "/api/v1/allocations"
GOOD = b'{"model": "toy", "holdings": {"weights": {"AAA": 0.25}}}'


class Served:
    """An application behind a real socket, and what the quick way did with each request that it was shown."""

    def __init__(self, app: Any) -> None:
        self.taken: list[bool] = []
        self._take = app.state.quick.take
        app.state.quick.take = self._watched
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = self._listener.getsockname()
        protocol: Any = make_protocol(app)
        config = uvicorn.Config(app, http=protocol, lifespan="off", log_config=None, server_header=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()

    def _watched(self, *args: Any) -> bool:
        self.taken.append(self._take(*args))
        return self.taken[-1]

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._listener.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def ask(self, body: bytes, headers: dict[str, str], path: str = URL) -> tuple[int, dict[str, str], Any]:
        with self.connect() as connection:
            connection.sendall(message(body, headers, path))
            with connection.makefile("rb") as reader:
                return answer(reader)


def message(body: bytes, headers: dict[str, str], path: str = URL) -> bytes:
    lines = {"host": "test", "content-type": "application/json", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def answer(reader: Any) -> tuple[int, dict[str, str], Any]:
    status = int(reader.readline().split()[1])
    headers: dict[str, str] = {}
    while line := reader.readline().strip():
        name, _, value = line.decode().partition(": ")
        assert name not in headers
        headers[name] = value
    return status, headers, json.loads(reader.read(int(headers["content-length"])))


@pytest.fixture
def served(service: Any) -> Iterator[Served]:
    opened = Served(service.client.app)
    yield opened
    opened.close()


CASES: list[tuple[bytes, dict[str, str], bool]] = [
    (GOOD, {}, True),
    (b'{"model": "toy"}', {}, True),
    (b'{"model": "toy", "sizing": {"nav": 1000000.0}}', {}, True),
    (GOOD, {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}, True),
    (GOOD, {"connection": "close"}, True),
    (b'{"model": "toy", "sizing": {"lot_size": 1}}', {}, True),
    (b'{"model": "nope"}', {}, False),
    (b'{"model": "toy", "holdings": {"weights": {"NOPE": 1}}}', {}, False),
    (b"{", {}, False),
    (b"", {}, False),
    (b'{"model": "toy", "x": 1}', {}, False),
    (GOOD, {"content-type": "text/plain"}, False),
    (GOOD, {"authorization": "Bearer no"}, False),
    (GOOD, {"authorization": ""}, False),
]


@pytest.mark.parametrize(("body", "headers", "quick"), CASES)
def test_answers_are_those_of_the_application(
    service: Any, served: Served, body: bytes, headers: dict[str, str], quick: bool
) -> None:
    given = {**service.key(), "x-request-id": "r", **headers}
    given = {name.lower(): value for name, value in given.items()}
    served.ask(GOOD, service.key())  # the scene is in memory now
    served.taken.clear()
    found = [served.ask(body, given)]
    assert served.taken == [quick]
    service.client.app.state.quick.fits = lambda scope: False
    found.append(served.ask(body, given))
    assert served.taken == [quick]
    for _, others, content in found:
        others.pop("date")
        others.pop("content-length")
        content.pop("id", None)
    assert found[0] == found[1]
    records = service.state.audit.latest()
    assert len(records) == (3 if found[0][0] == 200 else 1)


def test_signals_are_answered_too(service: Any, served: Served) -> None:
    key = service.key()
    found = [served.ask(b'{"model": "toy"}', key, "/api/v1/signals") for _ in range(2)]
    assert served.taken == [False, True]
    assert found[0][2].pop("id") != found[1][2].pop("id")
    assert found[0][2] == found[1][2]


def test_a_header_that_comes_twice_is_the_applications_business(service: Any, served: Served) -> None:
    served.ask(GOOD, service.key())
    head = message(GOOD, service.key()).replace(b"host: test", b"host: test\r\nauthorization: Bearer no")
    with served.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(head)
        status, _, problem = answer(reader)
    assert (status, problem["type"].rpartition(":")[2]) == (401, "invalid-key")
    assert served.taken == [False, False]


def test_a_revoked_key_opens_nothing_on_an_open_connection(service: Any, served: Served) -> None:
    token, info = service.state.keys.create("test")
    headers = {"authorization": f"Bearer {token}"}
    with served.connect() as connection, connection.makefile("rb") as reader:
        for _ in range(2):
            connection.sendall(message(GOOD, headers))
            assert answer(reader)[0] == 200
        service.state.keys.revoke(info.id)
        connection.sendall(message(GOOD, headers))
        status, _, problem = answer(reader)
    assert (status, problem["type"].rpartition(":")[2]) == (401, "revoked-key")
    assert served.taken == [False, True, False]


def test_the_budget_is_spent_once_for_each_request(make_service: Any, settings: Any) -> None:
    from data import SnapshotStore
    from service.auth.rate_limits import LocalCounts

    tight = settings.model_copy(
        update={"service": settings.service.model_copy(update={"rate_limit": "5/hour"})}
    )
    service = make_service(tight)
    SnapshotStore(service.home).save(_toy(), "toy", provider={"name": "test"})
    service.promote()
    service.state.rates._counts = LocalCounts(lambda: 1e9)
    served = Served(service.client.app)
    try:
        key = service.key()
        answers = [served.ask(GOOD, key) for _ in range(6)]
    finally:
        served.close()
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert int(answers[-1][1]["retry-after"]) >= 1
    assert served.taken == [False, True, True, True, True, False]


def _toy() -> Any:
    from tests.service.conftest import toy_prices

    return toy_prices()


def test_a_body_that_comes_later_waits_in_the_application(service: Any, served: Served) -> None:
    key = service.key()
    served.ask(GOOD, key)
    whole = message(GOOD, key)
    with served.connect() as connection, connection.makefile("rb") as reader:
        connection.sendall(whole[:-20])
        time.sleep(0.2)
        connection.sendall(whole[-20:])
        assert answer(reader)[0] == 200
        connection.sendall(whole)
        assert answer(reader)[0] == 200
    assert served.taken == [False, True]


def test_a_body_that_never_comes_meets_the_time_limit(make_service: Any, settings: Any) -> None:
    hasty = settings.model_copy(
        update={"service": settings.service.model_copy(update={"request_seconds": 0.2})}
    )
    service = make_service(hasty)
    served = Served(service.client.app)
    try:
        with served.connect() as connection, connection.makefile("rb") as reader:
            connection.sendall(message(GOOD, service.key())[:-20])
            assert answer(reader)[0] == 503
    finally:
        served.close()
    assert served.taken == []


def test_requests_sent_without_waiting_are_answered_in_order(service: Any, served: Served) -> None:
    key = service.key()
    served.ask(GOOD, key)
    with served.connect() as connection, connection.makefile("rb") as reader:
        for number in range(5):
            connection.sendall(message(GOOD, {**key, "x-request-id": f"r{number}"}))
        found = [answer(reader) for _ in range(5)]
    assert [(status, headers["x-request-id"]) for status, headers, _ in found] == [
        (200, f"r{number}") for number in range(5)
    ]


def test_rows_that_others_hold_up_are_waited_for(
    service: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = service.key()
    served.ask(GOOD, key)
    monkeypatch.setattr(AuditWriter, "write_now", lambda self, items: False)
    status, _, content = served.ask(GOOD, key)
    assert (status, served.taken[-1]) == (200, True)
    record = service.state.audit.get(content["id"])
    assert json.loads(record.answer) == content


def test_rows_that_take_too_long_meet_the_time_limit(
    service: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import Future

    key = service.key()
    served.ask(GOOD, key)
    monkeypatch.setattr(AuditWriter, "write_now", lambda self, items: False)
    monkeypatch.setattr(AuditWriter, "submit", lambda self, item: Future())
    monkeypatch.setattr(service.state.batcher, "_seconds", 0.05)
    status, headers, problem = served.ask(GOOD, {**key, "x-request-id": "slow"})
    assert (status, served.taken[-1], headers["x-request-id"]) == (503, True, "slow")
    assert (problem["type"].rpartition(":")[2], problem["request_id"]) == ("time-limit", "slow")
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-content-type-options"] == "nosniff"


def test_what_goes_wrong_later_is_told_by_the_application(
    service: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = service.key()
    served.ask(GOOD, key)
    policy = type(service.state.registry.policy("toy", service.state.registry.current("toy").version))

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(policy, "targets", broken)
    status, _, problem = served.ask(GOOD, key)
    assert (status, served.taken[-1]) == (500, True)
    assert problem["type"].rpartition(":")[2] == "internal-error"


def test_a_client_that_leaves_is_no_error(service: Any, served: Served) -> None:
    key = service.key()
    served.ask(GOOD, key)
    with served.connect() as connection:
        connection.sendall(message(GOOD, key))
    assert served.ask(GOOD, key)[0] == 200


def test_quick_requests_are_counted_and_logged_as_others(
    service: Any, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    key = service.key()
    with caplog.at_level("INFO", logger="equitrade.requests"):
        for _ in range(2):
            served.ask(GOOD, {**key, "x-request-id": "same"})
        served.close()  # lines are written after their answers are sent
    lines = [record.equitrade_fields for record in caplog.records]  # type: ignore[attr-defined]
    for line in lines:
        assert line.pop("milliseconds") > 0
        line.pop("answer")
    assert lines[0] == lines[1]
    text = service.state.telemetry.render(dict).decode()
    assert 'equitrade_allocations_total{kind="allocation",model="toy"} 2.0' in text
    assert f'equitrade_requests_total{{method="POST",route="{URL}",status="200"}} 2.0' in text


def test_no_task_is_made_for_a_quick_request(
    service: Any, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    key = service.key()
    served.ask(GOOD, key)

    async def never(*_: Any) -> None:
        raise AssertionError("the application was asked")

    monkeypatch.setattr(RequestResponseCycle, "run_asgi", never)
    assert served.ask(GOOD, key)[0] == 200
