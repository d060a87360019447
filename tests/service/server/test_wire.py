"""Bytes on a real socket, however odd, are answered as described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
from hypothesis import HealthCheck, given

from tests.service.server.messages import conversations
from tests.service.server.wire import Heard, Reply, Served, converse

# Problems of requests that no path of the description matches.
UNREAD = {"malformed-request", "head-too-large"}


@pytest.fixture
def served(service: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server where requested jobs are queued and never run, without a limit of their number."""
    monkeypatch.setattr(service.state.rate_limits, "spend", lambda *_: None)
    opened = Served(service.client.app)
    yield opened
    opened.close()


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
    """The statuses in the description."""

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


def check_conversation(
    service: Any, served: Served, documented: Documented, data: bytes, cuts: tuple[int, ...]
) -> int:
    """Send bytes and check the answers; return their number."""
    heard = Heard.of(data)
    expected = heard.complete + heard.broken
    replies = converse(served.address, data, cuts, expected=expected, methods=heard.methods)
    assert not replies.reset or len(heard.methods) + heard.broken > 1 or heard.broken
    assert replies.reset or bool(replies) == bool(expected)
    for reply in replies:
        documented.check(reply)
        check_audit(service, reply)
    return len(replies)


def check_audit(service: Any, reply: Reply) -> None:
    """Every decision is in the audit, byte for byte."""
    if reply.status == 200 and b'"trade_at"' in reply.body and b'"records"' not in reply.body:
        document = json.loads(reply.body)
        assert service.state.audit.get(document["id"]).answer.encode() == reply.body


def fuzz_wire(service: Any, served: Served, number: int) -> int:
    """Hold generated conversations; return the number of answers."""
    documented, answered = Documented(service), 0
    keys = keys_of(service)

    @given(conversations(keys))
    @hypothesis.settings(
        max_examples=number,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(conversation: tuple[bytes, tuple[int, ...]]) -> None:
        nonlocal answered
        answered += check_conversation(service, served, documented, *conversation)

    check()
    host, port = served.address
    answer = requests.post(
        f"http://{host}:{port}/api/v1/allocations", json={"model": "toy"}, headers=service.key(), timeout=30
    ).json()
    assert sum(answer["weights"].values()) + answer["cash"] == pytest.approx(1.0, abs=1e-12)
    return answered


def test_odd_conversations_are_answered_as_described(service: Any, served: Served) -> None:
    assert fuzz_wire(service, served, 150) > 120


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_odd_conversations(service: Any, served: Served) -> None:
    assert fuzz_wire(service, served, 6500) > 5000
