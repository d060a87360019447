"""What is sent over a real socket, however odd, is answered as described, and the same on the quick way as off it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given

from tests.service.api.test_openapi import CHECKS
from tests.service.server.messages import conversations
from tests.service.server.wire import Heard, Pair, Reply, converse

# What is refused before there is a request that a path could describe.
UNREAD = {"malformed-request", "head-too-large"}


def examples(number: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def pair(service: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two servers, where jobs that are asked for are queued and never run, as many as are asked for."""
    monkeypatch.setattr(service.state.rates, "spend", lambda *_: None)
    opened = Pair(service.client.app)
    for path in ("allocations", "signals"):  # the scene is in memory now
        requests.post(url(opened.quick, f"/api/v1/{path}"), json={"model": "toy"}, headers=service.key())
    yield opened
    opened.close()


def url(address: Any, path: str = "") -> str:
    return f"http://{address[0]}:{address[1]}{path}"


def keys_of(service: Any) -> dict[str, str]:
    """Authorizations by name; most of those that are drawn are good."""
    token, info = service.state.keys.create("revoked", ("read",))
    service.state.keys.revoke(info.id)
    return {
        "good": service.key("admin")["Authorization"],
        "read": service.key("read")["Authorization"],
        "run": service.key("run")["Authorization"],
        "revoked": f"Bearer {token}",
        "none": "",
        "odd": "Bearer \x80\xff",
    }


class Documented:
    """The statuses that the description names."""

    def __init__(self, service: Any) -> None:
        description = service.client.get("/openapi.json").json()
        self.statuses = {
            int(status)
            for methods in description["paths"].values()
            for operation in methods.values()
            for status in operation["responses"]
        }

    def check(self, reply: Reply) -> None:
        assert reply.status < 500, reply
        # The pages for people, which are not in the description, redirect to the login.
        assert reply.status in self.statuses | {303, 304, 405} or reply.kind in UNREAD, reply
        for name in ("x-request-id", "x-content-type-options", "content-security-policy", "cache-control"):
            assert name in reply.headers, reply
        if reply.status >= 400 and reply.body:
            assert reply.kind is not None, reply


def compare(service: Any, pair: Pair, documented: Documented, data: bytes, cuts: tuple[int, ...]) -> int:
    """Send the same bytes both ways and check the answers; give how many there were."""
    heard = Heard.of(data)
    expected = heard.complete + heard.broken
    found = [
        converse(address, data, cuts, expected=expected, methods=heard.methods)
        for address in (pair.quick, pair.plain)
    ]
    reset = any(replies.reset for replies in found)
    assert not reset or len(heard.methods) + heard.broken > 1 or heard.broken
    for replies in found:
        assert reset or bool(replies) == bool(expected)
        for reply in replies:
            documented.check(reply)
            record(service, reply)
    # What is broken may be noticed before or after the rest is answered, by where the bytes were cut.
    pairs = [replies[-1:] for replies in found] if heard.broken and cuts else found
    for one, other in zip_longest(*pairs):
        if reset and (one is None or other is None):
            break
        assert one is not None, found
        assert other is not None, found
        if heard.broken and cuts:
            continue
        assert (one.status, one.kind, one.fixed) == (other.status, other.kind, other.fixed)
        if "text/" not in one.headers.get("content-type", ""):  # metrics and forms' tokens change
            assert one.content == other.content
    return len(found[0])


def record(service: Any, reply: Reply) -> None:
    """Nothing was decided that is not written down, to the byte."""
    if reply.status == 200 and b'"trade_at"' in reply.body and b'"records"' not in reply.body:
        document = json.loads(reply.body)
        written = service.state.audit.get(document["id"])
        assert written.answer.encode() == reply.body


def fuzz_wire(service: Any, pair: Pair, number: int) -> int:
    """Hold generated conversations; give how many answers there were."""
    documented, answered = Documented(service), 0
    keys = keys_of(service)

    @given(conversations(keys))
    @examples(number)
    def check(conversation: tuple[bytes, tuple[int, ...]]) -> None:
        nonlocal answered
        answered += compare(service, pair, documented, *conversation)

    check()
    sound(service, pair)
    return answered


def fuzz_described(service: Any, pair: Pair, number: int, headers: dict[str, str]) -> int:
    """Send what is generated from the description, to each operation; give how many requests."""
    schema = schemathesis.openapi.from_url(url(pair.quick, "/openapi.json"))
    sent = 0
    with requests.Session() as session:
        for result in schema.get_all_operations():

            @given(case=result.ok().as_strategy())
            @examples(number)
            def check(case: Any) -> None:
                nonlocal sent
                sent += 1
                options: dict[str, Any] = {"headers": headers, "session": session, "timeout": 120}
                one = case.call_and_validate(base_url=url(pair.quick), checks=CHECKS, **options)
                other = case.call(base_url=url(pair.plain), **options)
                assert one.status_code == other.status_code
                assert problem(one) == problem(other)

            check()
    sound(service, pair)
    return sent


def problem(response: Any) -> Any:
    if response.status_code < 400:
        return None
    return {key: value for key, value in response.json().items() if key != "request_id"}


def sound(service: Any, pair: Pair) -> None:
    """Both servers answer rightly after all that."""
    headers = service.key()
    answers = []
    for address in (pair.quick, pair.plain):
        answer = requests.post(
            url(address, "/api/v1/allocations"), json={"model": "toy"}, headers=headers, timeout=30
        ).json()
        assert sum(answer["weights"].values()) + answer["cash"] == pytest.approx(1.0, abs=1e-12)
        answer.pop("id")
        answers.append(answer)
    assert answers[0] == answers[1]


def test_odd_conversations_are_answered_alike(service: Any, pair: Pair) -> None:
    before = pair.taken
    answered = fuzz_wire(service, pair, 150)
    assert answered > 120
    assert pair.taken - before > 10


@pytest.mark.parametrize("scope", ["admin", None])
def test_described_requests_are_answered_alike(service: Any, pair: Pair, scope: str | None) -> None:
    headers = service.key(scope) if scope else {}
    assert fuzz_described(service, pair, 1, headers) >= 18


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_answers_alike(service: Any, pair: Pair, record_property: Any) -> None:
    described = fuzz_described(service, pair, 100, service.key("admin")) + fuzz_described(
        service, pair, 40, {}
    )
    before = pair.taken
    answered = fuzz_wire(service, pair, 6500)
    record_property("described", described)
    record_property("conversations", answered)
    record_property("quick", pair.taken - before)
    assert described + answered >= 10_000
    assert pair.taken - before >= 1000
