"""The OpenAPI description: complete, and kept whatever is sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from service.core.problems import KINDS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    ignored_auth,
]


def quick(examples: int) -> hypothesis.settings:
    return hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def api(service: Any) -> Any:
    return schemathesis.openapi.from_asgi("/openapi.json", service.client.app)


def operations(schema: Any) -> list[Any]:
    return [result.ok() for result in schema.get_all_operations()]


def fuzz(service: Any, schema: Any, examples: int, headers: dict[str, str]) -> int:
    """Send generated requests to each operation; give how many."""
    sent = 0
    for operation in operations(schema):

        @hypothesis.given(case=operation.as_strategy())
        @quick(examples)
        def check(case: Any) -> None:
            nonlocal sent
            sent += 1
            # Longer than the service allows a request: its own limit answers first, however slow the machine.
            case.call_and_validate(headers=headers, session=service.client, checks=CHECKS, timeout=120)

        check()
    return sent


def test_description_is_openapi_31_with_every_route_of_the_contract(service: Any) -> None:
    description = service.client.get("/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    for method, path in [
        ("get", "/health"),
        ("get", "/ready"),
        ("get", "/metrics"),
        ("get", "/api/v1/models"),
        ("get", "/api/v1/models/{model_id}"),
        ("post", "/api/v1/allocations"),
        ("post", "/api/v1/signals"),
        ("post", "/api/v1/backtests"),
        ("get", "/api/v1/jobs/{job_id}"),
        ("delete", "/api/v1/jobs/{job_id}"),
        ("get", "/api/v1/runs"),
        ("get", "/api/v1/runs/{name}"),
        ("get", "/api/v1/runs/{name}/report"),
    ]:
        assert method in description["paths"][path], (method, path)


def test_requests_and_answers_have_examples_and_summaries(service: Any) -> None:
    description = service.client.get("/openapi.json").json()
    for name in ("AllocationRequest", "SignalRequest", "BacktestRequest", "Allocation", "Problem"):
        assert description["components"]["schemas"][name]["examples"], name
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), (path, method)


def test_examples_of_requests_are_valid(service: Any) -> None:
    from service.schemas.decisions import AllocationRequest, SignalRequest
    from service.schemas.records import BacktestRequest, TrainingRequest

    for kind in (AllocationRequest, SignalRequest, BacktestRequest, TrainingRequest):
        for example in kind.model_json_schema()["examples"]:
            kind.model_validate(example)


def test_every_problem_is_problem_json(service: Any) -> None:
    description = service.client.get("/openapi.json").json()
    for methods in description["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"]
                    named = answer["description"].split("`")[1::2]
                    assert named
                    assert {KINDS[name].status for name in named} == {int(status)}


@pytest.mark.parametrize("scope", ["admin", "read", None])
def test_nothing_generated_breaks_the_description(
    service: Any, api: Any, scope: str | None, worthless: Callable[[], None]
) -> None:
    worthless()
    headers = service.key(scope) if scope else {}
    assert fuzz(service, api, 12 if scope else 4, headers) > 40


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_thousand_requests(service: Any, api: Any, worthless: Callable[[], None]) -> None:
    worthless()
    sent = fuzz(service, api, 700, service.key("admin")) + fuzz(service, api, 100, {})
    assert sent >= 10_000


@pytest.fixture
def worthless(service: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make the jobs that are generated cost nothing: they are queued, never run."""

    def prepare() -> None:
        monkeypatch.setattr(service.state.rate_limits, "spend", lambda *_: None)

    return prepare
