"""The same behaviour on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, select

from data import SnapshotStore
from service.core.database import Database, DatabaseError
from service.core.settings import load_settings
from service.core.tables import events, metadata
from service.decisions.service import same_answer
from service.jobs.queue import JobQueue

URL = "/api/v1/allocations"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, home: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{home / 'x.db'}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def database(url: str) -> Any:
    opened = Database(url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def served(url: str, home: Path, make_service: Callable[..., Any], prices: Callable[[], Any]) -> Any:
    settings = load_settings(home=home, database_url=url, rate_limit="100000/minute")
    made = make_service(settings)
    SnapshotStore(home).save(prices(), "toy", provider={"name": "test"})
    made.promote()
    return made


def test_migrations_make_exactly_the_tables(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(metadata.tables) < set(inspect(connection).get_table_names())


def test_migrating_twice_and_at_once_is_harmless(url: str) -> None:
    databases = [Database(url) for _ in range(4)]
    errors: list[Exception] = []

    def migrate(database: Database) -> None:
        try:
            database.migrate()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=migrate, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert databases[0].revision() == 1
    for database in databases:
        database.close()


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    zone = datetime.fromisoformat("2024-03-10T12:34:56.789012+05:30")
    with database.write() as connection:
        row = {"at": zone, "actor": "a", "action": "b", "subject": "c", "detail": "d"}
        connection.execute(insert(events).values(row))
    with database.read() as connection:
        found = connection.execute(select(events.c.at)).scalar_one()
    assert found == zone
    assert found.utcoffset() == timedelta(0)


def test_failed_write_leaves_nothing(database: Database) -> None:
    row = {"at": datetime.now(UTC), "actor": "a", "action": "b", "subject": "c", "detail": "d"}

    def fail() -> None:
        with database.write() as connection:
            connection.execute(insert(events).values(row))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as connection:
        assert connection.execute(select(events)).all() == []


def test_each_job_is_claimed_once_by_many(database: Database, url: str, tmp_path: Path) -> None:
    queue = JobQueue(database, tmp_path)
    ids = {queue.submit("backtest", {}, by="t", timeout=1.0).id for _ in range(12)}
    claimed: list[str] = []
    lock = threading.Lock()

    def claim(owner: str) -> None:
        own = Database(url)
        while (job := JobQueue(own, tmp_path).claim(owner)) is not None:
            with lock:
                claimed.append(job.id)
        own.close()

    threads = [threading.Thread(target=claim, args=(f"o{k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(ids)


def test_whole_story(served: Any, kind_of: Any) -> None:
    """Key, promotion, allocation, record, recomputation, revocation, retirement."""
    header = served.key("run")
    answer = served.client.post(
        URL, json={"model": "toy", "holdings": {"weights": {"AAA": 1 / 3}}}, headers=header
    )
    assert answer.status_code == 200
    record = served.state.audit.get(answer.json()["id"])
    assert same_answer(record, served.state.decisions.recompute(record))
    assert served.client.get(f"{URL}/{record.id}", headers=header).json()["answer"] == answer.json()
    job = served.client.post(
        "/api/v1/backtests", json={"strategy": "equal-weight", "data": "toy"}, headers=header
    ).json()
    assert served.client.delete(f"/api/v1/jobs/{job['id']}", headers=header).json()["status"] == "cancelled"
    assert 'equitrade_jobs{status="cancelled"} 1.0' in served.client.get("/metrics", headers=header).text
    served.state.users.create("ann", "a good long password")
    assert served.state.users.session(served.state.users.log_in("ann", "a good long password"))
    served.state.registry.retire("toy")
    assert kind_of(served.client.post(URL, json={"model": "toy"}, headers=header)) == "retired-model"
    served.state.keys.revoke(header["Authorization"].split("_")[1])
    assert kind_of(served.client.post(URL, json={"model": "toy"}, headers=header)) == "revoked-key"
    assert served.state.audit.prune(1) == 1


def test_prices_in_requests_are_stored_once(served: Any) -> None:
    prices = served.state.snapshots.get("toy")
    panel = {
        "dates": [str(day.date()) for day in prices.dates],
        "close": {symbol: prices.fields["close"][symbol].tolist() for symbol in prices.symbols},
    }
    header = served.key()
    for _ in range(2):
        answer = served.client.post(URL, json={"model": "toy", "prices": panel}, headers=header)
        assert answer.status_code == 200
    record = served.state.audit.latest()[0]
    assert served.state.audit.request(record)["prices"] == panel
    assert same_answer(record, served.state.decisions.recompute(record))


def test_unreachable_database_is_one_line_without_the_password() -> None:
    database = Database("postgresql+pg8000://equitrade:s3cr3t-w0rd@127.0.0.1:9/equitrade")
    with pytest.raises(DatabaseError) as caught:
        database.migrate()
    assert "\n" not in str(caught.value)
    assert "s3cr3t-w0rd" not in str(caught.value)
