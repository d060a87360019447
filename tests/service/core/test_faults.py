"""Faults under the database: 503 with the reason, without a path, and recovery."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

URL = "/api/v1/allocations"


class Asked:
    """A service with a key and a model, asked for an allocation and its readiness."""

    def __init__(self, service: Any, kind_of: Callable[[Any], str]) -> None:
        self.service, self._kind_of = service, kind_of
        self._headers = service.key()
        self.file = Path(service.state.database.url.database)
        assert self.allocate().status_code == 200

    def allocate(self) -> Any:
        return self.service.client.post(URL, json={"model": "toy"}, headers=self._headers)

    def ready(self) -> Any:
        return self.service.client.get("/ready")

    def check_fault(self, reason: str, *, ready: bool = False) -> None:
        started = time.monotonic()
        answers = [self.allocate()] + ([] if ready else [self.ready()])
        assert time.monotonic() - started < 5.0 * len(answers)
        for answer in answers:
            assert (answer.status_code, self._kind_of(answer)) == (503, "not-ready")
            assert reason in answer.json()["detail"]
            assert str(self.file.parent) not in answer.text
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert self.service.client.get("/health").status_code == 200

    def check_recovery(self) -> None:
        assert self.allocate().status_code == 200
        assert self.ready().status_code == 200


@pytest.fixture
def asked(service: Any, kind_of: Any, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr("service.state.CHECK_SECONDS", 0.0)
    monkeypatch.setattr("service.core.database.PAUSE_SECONDS", 0.0)
    return Asked(service, kind_of)


def test_a_locked_database(asked: Asked) -> None:
    with sqlite3.connect(asked.file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        asked.check_fault("locked by another process")
        other.execute("ROLLBACK")
    other.close()
    asked.check_recovery()


def test_waiting_writers_fail_together(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would wait for the lock as long as the first did, one after another."""
    monkeypatch.setattr("service.core.database.PAUSE_SECONDS", 60.0)
    with sqlite3.connect(asked.file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        answers = [asked.allocate() for _ in range(4)]
        assert time.monotonic() - started < 8.0
        other.execute("ROLLBACK")
    other.close()
    assert {answer.status_code for answer in answers} == {503}


def pragma(service: Any, statement: str) -> Callable[[], None]:
    """Run a pragma on every new connection of a service; return what ends that."""
    engine = service.state.database.engine

    def on_connect(connection: Any, _record: Any) -> None:
        connection.execute(statement)

    event.listen(engine, "connect", on_connect)
    engine.dispose()

    def end() -> None:
        event.remove(engine, "connect", on_connect)
        engine.dispose()

    return end


def test_a_full_disk(asked: Asked) -> None:
    pages = asked.file.stat().st_size // 4096
    end = pragma(asked.service, f"PRAGMA max_page_count={pages + 1}")
    while (answer := asked.allocate()).status_code == 200:
        pass
    assert "the disk is full" in answer.json()["detail"]
    asked.check_fault("the disk is full", ready=True)
    end()
    asked.check_recovery()


def test_a_read_only_home(asked: Asked) -> None:
    end = pragma(asked.service, "PRAGMA query_only=ON")
    asked.check_fault("read-only")
    end()
    asked.check_recovery()


@pytest.fixture
def backup(asked: Asked, tmp_path: Path) -> Path:
    path = tmp_path / "backup.db"
    with sqlite3.connect(asked.file) as source, sqlite3.connect(path) as target:
        source.backup(target)
    source.close()
    target.close()
    return path


def restore(asked: Asked, backup: Path) -> None:
    for name in ("service.db-wal", "service.db-shm"):
        (asked.file.parent / name).unlink(missing_ok=True)
    fresh = asked.file.with_suffix(".restored")
    fresh.write_bytes(backup.read_bytes())
    fresh.replace(asked.file)


def test_a_deleted_file(asked: Asked, backup: Path) -> None:
    asked.file.unlink()
    asked.check_fault("its file does not exist")
    restore(asked, backup)
    asked.check_recovery()


def test_a_file_cut_short(asked: Asked, backup: Path) -> None:
    asked.service.state.database.engine.dispose()
    content = asked.file.read_bytes()
    asked.file.write_bytes(content[:5000])
    asked.check_fault("")
    restore(asked, backup)
    asked.check_recovery()


def test_a_file_that_is_no_database(asked: Asked, backup: Path) -> None:
    asked.service.state.database.engine.dispose()
    asked.file.write_bytes(b"x" * 10_000)
    asked.check_fault("damaged")
    restore(asked, backup)
    asked.check_recovery()


def test_commands_name_the_file_in_one_line(asked: Asked) -> None:
    from service.core.database import DatabaseError

    asked.file.unlink()
    with pytest.raises(DatabaseError) as caught:
        asked.service.state.keys.all()
    assert str(asked.file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.postgresql
def test_a_restart_of_postgresql(
    own_postgresql: Any,
    home: Path,
    make_service: Callable[..., Any],
    prices: Callable[[], Any],
    kind_of: Callable[[Any], str],
) -> None:
    from data import SnapshotStore
    from service.core.settings import load_settings

    service = make_service(
        load_settings(home=home, database_url=own_postgresql.url, rate_limit="100000/minute")
    )
    SnapshotStore(home).save(prices(), "toy", provider={"name": "test"})
    service.promote()
    headers = service.key()

    def allocate() -> Any:
        return service.client.post(URL, json={"model": "toy"}, headers=headers)

    assert allocate().status_code == 200
    own_postgresql.stop()
    try:
        for _ in range(3):
            started = time.monotonic()
            answer = allocate()
            assert time.monotonic() - started < 5.0
            assert (answer.status_code, kind_of(answer)) == (503, "not-ready")
            assert "its server cannot be reached" in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) >= 1
    finally:
        own_postgresql.start()
    assert allocate().status_code == 200
    own_postgresql.stop()
    own_postgresql.start()
    assert allocate().status_code == 200  # its connections were replaced
