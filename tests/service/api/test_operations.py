"""Limits, headers, logs and metrics."""

from __future__ import annotations

import json
import logging
import time
from typing import Any

import pytest

from service.core.logging import JsonFormatter, redact

URL = "/api/v1/allocations"


def changed(settings: Any, **values: Any) -> Any:
    return settings.model_copy(update={"service": settings.service.model_copy(update=values)})


def test_large_body_is_refused_by_its_length(make_service: Any, settings: Any, kind_of: Any) -> None:
    small = make_service(changed(settings, max_body_bytes=2000))
    answer = small.client.post(URL, content=b"x" * 2001, headers=small.key())
    assert (answer.status_code, kind_of(answer)) == (413, "body-too-large")


def test_large_body_without_a_length_is_refused_as_it_comes(
    make_service: Any, settings: Any, kind_of: Any
) -> None:
    small = make_service(changed(settings, max_body_bytes=2000))

    def parts() -> Any:
        for _ in range(30):
            yield b"x" * 100

    headers = {**small.key(), "Content-Type": "application/json"}
    answer = small.client.post(URL, content=parts(), headers=headers)
    assert (answer.status_code, kind_of(answer)) == (413, "body-too-large")


def test_slow_answer_is_cut_off(make_service: Any, service: Any, settings: Any, kind_of: Any) -> None:
    hasty = make_service(changed(settings, request_seconds=0.2))
    hasty.state.decisions.prepare_from_memory = lambda *_args, **_kwargs: None
    hasty.state.decisions.prepare = lambda *_args, **_kwargs: time.sleep(1)
    answer = hasty.client.post(URL, json={"model": "toy"}, headers=hasty.key())
    assert (answer.status_code, kind_of(answer)) == (503, "time-limit")


def test_rate_limit_of_a_key_says_how_long_to_wait(make_service: Any, settings: Any, kind_of: Any) -> None:
    strict = make_service(changed(settings, rate_limit="3/minute"))
    header, other = strict.key(), strict.key()
    codes = [strict.client.get("/api/v1/models", headers=header).status_code for _ in range(4)]
    assert codes == [200, 200, 200, 429]
    answer = strict.client.get("/api/v1/models", headers=header)
    assert kind_of(answer) == "too-many-requests"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert strict.client.get("/api/v1/models", headers=other).status_code == 200


def test_failed_authentications_are_limited_and_good_keys_are_not(
    make_service: Any, settings: Any, kind_of: Any
) -> None:
    strict = make_service(changed(settings, failure_limit="2/minute"))
    bad = {"Authorization": "Bearer nonsense"}
    codes = [strict.client.get("/api/v1/models", headers=bad).status_code for _ in range(3)]
    assert codes == [401, 401, 429]
    assert strict.client.get("/api/v1/models", headers=strict.key()).status_code == 200


def test_every_answer_has_an_id_and_the_headers(service: Any) -> None:
    for path in ("/health", "/nope", "/api/v1/models", "/login", "/dashboard/static/report.css"):
        headers = service.client.get(path, headers={"X-Request-Id": "abc-1"}).headers
        assert headers["x-request-id"] == "abc-1"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", ""])
def test_request_ids_that_could_spoil_a_log_are_replaced(service: Any, given: str) -> None:
    answer = service.client.get("/health", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] != given


def test_one_structured_line_a_request_without_secrets(
    service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="equitrade.requests")
    header = service.key()
    token = header["Authorization"].removeprefix("Bearer ")
    answer = service.client.post(f"{URL}?key={token}", json={"model": "toy"}, headers=header)
    records = [r for r in caplog.records if r.name == "equitrade.requests"]
    assert len(records) == 1
    text = JsonFormatter().format(records[0])
    line = json.loads(text)
    assert "\n" not in text
    assert token not in text
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["route"], line["status"]) == ("POST", URL, 200)
    assert (line["key"], line["model"]) == (token.split("_")[1], "toy")
    assert line["answer"] == answer.json()["id"]
    assert line["milliseconds"] > 0


def test_keys_and_passwords_are_cut_out_of_any_text() -> None:
    text = f"failed for eq_0123456789ab_{'S' * 43} at postgresql+pg8000://me:pass@host/db"
    assert redact(text) == "failed for eq_0123456789ab_*** at postgresql+pg8000://me:***@host/db"


def test_unforeseen_error_tells_the_log_and_not_the_client(
    service: Any, kind_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError("inner workings")

    service.state.decisions.prepare_from_memory = fail
    answer = service.client.post(URL, json={"model": "toy"}, headers=service.key())
    assert (answer.status_code, kind_of(answer)) == (500, "internal-error")
    assert "inner workings" not in answer.text
    assert "inner workings" in caplog.text


def test_metrics_count_requests_allocations_problems_and_jobs(service: Any) -> None:
    header = service.key("run")
    service.client.post(URL, json={"model": "toy", "as_of": "2024-03-24"}, headers=header)
    service.client.post(URL, json={"model": "nope"}, headers=header)
    body = {"strategy": "equal-weight", "data": "toy"}
    service.client.post("/api/v1/backtests", json=body, headers=header)
    service.client.get("/api/v1/models/toy/../../../etc", headers=header)
    text = service.client.get("/metrics", headers=header).text
    assert f'equitrade_requests_total{{method="POST",route="{URL}",status="200"}} 1.0' in text
    assert 'equitrade_allocations_total{kind="allocation",model="toy"} 1.0' in text
    assert 'equitrade_allocation_staleness_days{model="toy"} 2.0' in text
    assert 'equitrade_problems_total{kind="unknown-model"} 1.0' in text
    assert 'equitrade_jobs{status="queued"} 1.0' in text
    assert f'equitrade_request_seconds_count{{route="{URL}"}} 2.0' in text
    assert "nope" not in text


def test_metrics_can_be_opened(make_service: Any, settings: Any) -> None:
    public = make_service(changed(settings, public_metrics=True))
    assert public.client.get("/metrics").status_code == 200


def test_wrong_method_names_the_right_ones(service: Any, kind_of: Any) -> None:
    answer = service.client.put("/api/v1/models", headers=service.key())
    assert (answer.status_code, kind_of(answer)) == (405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]
