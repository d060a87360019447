"""Request bodies: limits that hold before anything is validated."""

from __future__ import annotations

import codecs
import json
from typing import Any

import pytest

URL = "/api/v1/allocations"


def post(service: Any, content: bytes, headers: dict[str, str] | None = None) -> Any:
    given = service.key() if headers is None else headers
    return service.client.post(URL, content=content, headers={**given, "Content-Type": "application/json"})


def panel(value: object, symbols: int = 100, days: int = 2000) -> bytes:
    dates = [f"{1900 + k // 336}-{k // 28 % 12 + 1:02}-{k % 28 + 1:02}" for k in range(days)]
    prices = {"dates": dates, "close": {f"S{k}": [value] * days for k in range(symbols)}}
    return json.dumps({"model": "toy", "prices": prices}).encode()


def test_prices_as_strings_cost_one_error_a_series(service: Any, kind_of: Any) -> None:
    answer = post(service, panel("1.0"))
    assert kind_of(answer) == "invalid-prices"
    assert len(answer.json()["errors"]) == 10
    assert all(error["at"].endswith(".0") for error in answer.json()["errors"])


def test_unknown_members_are_counted_before_they_are_validated(service: Any, kind_of: Any) -> None:
    members = {f"m{k}": k for k in range(20_000)}
    answer = post(service, json.dumps({"model": "toy", **members}).encode())
    assert kind_of(answer) == "invalid-request"
    assert "20001 members; at most 2000" in answer.json()["detail"]
    answer = post(service, json.dumps({"model": "toy", "holdings": {"weights": members}}).encode())
    assert "20000 members; at most 2000" in answer.json()["detail"]


@pytest.mark.parametrize("part", [b'"a":0,', b"[],", b"{},"])
def test_members_of_a_whole_body_are_counted_before_it_is_parsed(
    service: Any, kind_of: Any, part: bytes
) -> None:
    answer = post(service, b"[" + part * 50_000 + b"0]")
    assert kind_of(answer) == "invalid-request"
    assert "at most 40000" in answer.json()["detail"]


def test_long_lists_are_counted_before_they_are_validated(service: Any) -> None:
    answer = post(service, json.dumps({"model": "toy", "else": [[0] * 20_001]}).encode())
    assert "20001 items; at most 20000" in answer.json()["detail"]


@pytest.mark.parametrize("content", [panel("1.0"), b"{", b"[" * 100_000])
def test_nothing_is_parsed_without_a_key(service: Any, kind_of: Any, content: bytes) -> None:
    assert kind_of(post(service, content, {})) == "missing-key"


@pytest.mark.parametrize("content", [b"{", b'{"model": 7}'])
def test_a_missing_scope_is_told_before_a_wrong_body(service: Any, kind_of: Any, content: bytes) -> None:
    headers = {**service.key("read"), "Content-Type": "application/json"}
    answer = service.client.post("/api/v1/backtests", content=content, headers=headers)
    assert kind_of(answer) == "insufficient-scope"


def test_a_request_with_a_body_counts_once_for_the_rate_limit(make_service: Any, settings: Any) -> None:
    tight = settings.model_copy(
        update={"service": settings.service.model_copy(update={"rate_limit": "2/hour"})}
    )
    service = make_service(tight)
    headers = service.key()
    codes = [post(service, b'{"model": "nope"}', headers).status_code for _ in range(3)]
    assert codes == [404, 404, 429]


def test_large_bodies_are_answered(service: Any) -> None:
    prices = service.state.snapshots.get("toy")
    closes = {symbol: prices.fields["close"][symbol].tolist() for symbol in prices.symbols}
    more = {f"X{k}": closes["AAA"] for k in range(100)}
    dates = [str(day.date()) for day in prices.dates]
    body = {"model": "toy", "prices": {"dates": dates, "close": {**closes, **more}}}
    answer = post(service, json.dumps(body).encode())
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"] == "request"


@pytest.mark.parametrize(
    "content", [codecs.BOM_UTF8 + b'{"model": "toy"}', '{"model": "toy"}'.encode("utf-16")]
)
def test_byte_order_marks_are_read(service: Any, content: bytes) -> None:
    assert post(service, content).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind"), [(b"&" * 60_000, "invalid-request"), (b"&" * 1_000_000, "body-too-large")]
)
def test_forms_are_limited_before_they_are_parsed(
    service: Any, kind_of: Any, content: bytes, kind: str
) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert kind_of(service.client.post("/login", content=content, headers=headers)) == kind


def test_holdings_without_a_form_are_answered_with_both_forms(service: Any, kind_of: Any) -> None:
    answer = post(service, b'{"model": "toy", "holdings": {"AAA": 3}}')
    assert kind_of(answer) == "invalid-holdings"
    assert "weights" in answer.json()["detail"]
    assert "shares" in answer.json()["detail"]
    assert len(answer.json()["errors"]) == 1
