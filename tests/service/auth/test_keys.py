"""Keys: what opens the service, and what does not."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from typing import Any

import pytest

from data.errors import DataError
from service.auth.keys import PATTERN

BODY = {"model": "toy"}
PATHS = [
    ("GET", "/api/v1/models"),
    ("GET", "/api/v1/models/toy"),
    ("POST", "/api/v1/allocations"),
    ("POST", "/api/v1/signals"),
    ("GET", "/api/v1/allocations"),
    ("POST", "/api/v1/backtests"),
    ("POST", "/api/v1/trainings"),
    ("GET", "/api/v1/jobs"),
    ("DELETE", f"/api/v1/jobs/{'0' * 32}"),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/runs/x/report"),
    ("GET", "/metrics"),
]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_is_given_without_a_key(service: Any, kind_of: Any, method: str, path: str) -> None:
    answer = service.client.request(method, path, json=BODY if method == "POST" else None)
    assert (answer.status_code, kind_of(answer)) == (401, "missing-key")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        "Bearer ",
        "Bearer nonsense",
        "Bearer eq_000000000000_" + "A" * 43,
        "Bearer eq_000000000000_" + "A" * 42,
        "Basic dXNlcjpwYXNz",
        "eq_000000000000_" + "A" * 43,
        "Bearer " + "x" * 5000,
        "Bearer \xff\xfe",
        "Bearer eq_' OR 1=1 --",
    ],
)
def test_malformed_and_unknown_keys_get_nothing(service: Any, kind_of: Any, header: str) -> None:
    answer = service.client.get("/api/v1/models", headers={"Authorization": header.encode("latin-1")})
    assert (answer.status_code, kind_of(answer)) == (401, "invalid-key")


def test_wrong_secret_of_a_known_key_gets_nothing(service: Any, kind_of: Any) -> None:
    header = service.key()
    other = service.key()["Authorization"][-43:]
    wrong = {"Authorization": header["Authorization"][:-43] + other}
    assert service.client.get("/api/v1/models", headers=header).status_code == 200
    assert kind_of(service.client.get("/api/v1/models", headers=wrong)) == "invalid-key"


def test_expired_key(service: Any, kind_of: Any) -> None:
    header = service.key(days=1)
    assert service.client.get("/api/v1/models", headers=header).status_code == 200
    service.clock.now += timedelta(days=1)
    assert kind_of(service.client.get("/api/v1/models", headers=header)) == "expired-key"


def test_revoked_key_is_refused_at_once_in_every_process(
    make_service: Any, service: Any, kind_of: Any
) -> None:
    other = make_service()
    header = service.key()
    for each in (service, other):
        assert each.client.get("/api/v1/models", headers=header).status_code == 200
    service.state.keys.revoke(header["Authorization"].split("_")[1])
    for each in (service, other):
        assert kind_of(each.client.get("/api/v1/models", headers=header)) == "revoked-key"


def test_only_the_holder_learns_that_a_key_was_revoked(service: Any, kind_of: Any) -> None:
    header = service.key()
    key_id = header["Authorization"].split("_")[1]
    service.state.keys.revoke(key_id)
    guess = {"Authorization": f"Bearer eq_{key_id}_{'A' * 43}"}
    assert kind_of(service.client.get("/api/v1/models", headers=guess)) == "invalid-key"


@pytest.mark.parametrize("path", ["/api/v1/backtests", "/api/v1/trainings"])
def test_reading_key_cannot_start_jobs(service: Any, kind_of: Any, path: str) -> None:
    body = {"strategy": "equal-weight", "data": "toy"} if "back" in path else {"name": "x", "data": "toy"}
    answer = service.client.post(path, json=body, headers=service.key("read"))
    assert (answer.status_code, kind_of(answer)) == (403, "insufficient-scope")
    assert service.state.jobs.newest() == []


def test_wider_scopes_include_narrower_ones(service: Any) -> None:
    for scope in ("read", "run", "admin"):
        assert service.client.get("/api/v1/models", headers=service.key(scope)).status_code == 200


def test_key_is_stored_as_a_hash_only(service: Any) -> None:
    token = service.key()["Authorization"].removeprefix("Bearer ")
    secret = PATTERN.fullmatch(token).group(2)
    service.state.database.close()
    with sqlite3.connect(service.home / "service.db") as connection:
        content = "\n".join(connection.iterdump())
    assert secret not in content
    assert secret.encode().hex() not in content.lower()


def test_keys_differ_and_hold_256_bits(service: Any) -> None:
    tokens = {service.state.keys.create("x")[0] for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(PATTERN.fullmatch(token).group(2)) == 43 for token in tokens)


@pytest.mark.parametrize(
    ("name", "scopes", "days"),
    [("", ["read"], None), ("x", ["root"], None), ("x", [], None), ("x", ["read"], -1)],
)
def test_keys_that_make_no_sense_are_refused(
    service: Any, name: str, scopes: list[str], days: float | None
) -> None:
    with pytest.raises(DataError):
        service.state.keys.create(name, scopes, days=days)


def test_hash_depends_on_the_services_own_secret(
    service: Any, make_service: Any, settings: Any, kind_of: Any
) -> None:
    header = service.key()
    changed = settings.model_copy(
        update={"service": settings.service.model_copy(update={"secret": None, "database_url": None})}
    )
    (service.home / "service.secret").write_text("another-secret-of-forty-characters-or-so")
    assert kind_of(make_service(changed).client.get("/api/v1/models", headers=header)) == "invalid-key"


def test_creation_and_revocation_are_written_down(service: Any) -> None:
    from sqlalchemy import select

    from service.core.tables import events

    _, info = service.state.keys.create("robot", ["run"])
    service.state.keys.revoke(info.id)
    with service.state.database.read() as connection:
        rows = [tuple(r) for r in connection.execute(select(events.c.action, events.c.subject))]
    assert ("key created", info.id) in rows
    assert ("key revoked", info.id) in rows
