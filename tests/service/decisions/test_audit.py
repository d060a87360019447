"""The audit: nothing is answered that is not written down, and everything can be computed again."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from data import Prices, SnapshotStore
from service.core.problems import Problem
from service.core.tables import panels
from service.decisions.service import same_answer

URL = "/api/v1/allocations"


def with_prices(service: Any) -> dict[str, Any]:
    prices = service.state.snapshots.get("toy")
    close = {symbol: prices.fields["close"][symbol].tolist() for symbol in prices.symbols}
    return {"dates": [str(day.date()) for day in prices.dates], "close": close}


def bodies(service: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    shares = {"shares": {"AAA": 13, "CCC": 7}, "cash": 12345.678}
    return {
        "plain": (URL, {"model": "toy"}),
        "past": (URL, {"model": "toy", "as_of": "2024-02-28", "holdings": {"weights": {"BBB": 1 / 3}}}),
        "shares": (URL, {"model": "toy", "holdings": shares, "sizing": {}}),
        "prices": (URL, {"model": "toy", "prices": with_prices(service), "allow_stale": True}),
        "signals": ("/api/v1/signals", {"model": "toy", "data": "toy"}),
        "more symbols": (URL, {"model": "toy", "data": "wide"}),
        "other symbols": (URL, {"model": "toy", "data": "wide", "symbols": ["DDD", "AAA"]}),
    }


@pytest.mark.parametrize(
    "case", ["plain", "past", "shares", "prices", "signals", "more symbols", "other symbols"]
)
def test_every_answer_is_recomputed_byte_for_byte(service: Any, make_service: Any, case: str) -> None:
    close = service.state.snapshots.get("toy").fields["close"]
    wide = Prices.from_frames("wide", close=close.assign(DDD=1.0)[["DDD", "CCC", "AAA", "BBB"]])
    SnapshotStore(service.home).save(wide, "wide", provider={"name": "test"})
    path, body = bodies(service)[case]
    answer = service.client.post(path, json=body, headers=service.key())
    # Later, elsewhere, after another model and other prices have taken over.
    service.promote("other", base=(0.0, 0.9, 0.0))
    raised = Prices.from_frames("toy", close=service.state.snapshots.get("toy").fields["close"] * 2)
    SnapshotStore(service.home).save(raised, "toy", provider={"name": "test"})
    fresh = make_service()
    fresh.clock.now += timedelta(days=100)
    record = fresh.state.audit.get(answer.json()["id"])
    assert record.answer == answer.text
    assert same_answer(record, fresh.state.decisions.recompute(record))


def test_record_names_key_request_model_and_data(service: Any) -> None:
    header = service.key()
    answer = service.client.post(URL, json={"model": "toy"}, headers={**header, "X-Request-Id": "order-7"})
    body = answer.json()
    shown = service.client.get(f"{URL}/{body['id']}", headers=header).json()
    assert shown["answer"] == body
    assert shown["request"] == {"model": "toy"}
    assert shown["request_id"] == answer.headers["x-request-id"] == "order-7"
    assert shown["key_id"] == header["Authorization"].split("_")[1]
    assert (shown["version"], shown["data_hash"]) == (body["version"], body["data_hash"])


def test_a_key_sees_its_own_answers_and_admin_sees_all(service: Any, kind_of: Any) -> None:
    mine, other, admin = service.key(), service.key(), service.key("admin")
    given = service.client.post(URL, json={"model": "toy"}, headers=mine).json()["id"]
    assert [r["id"] for r in service.client.get(URL, headers=mine).json()["records"]] == [given]
    assert [r["id"] for r in service.client.get(URL, headers=admin).json()["records"]] == [given]
    assert service.client.get(URL, headers=other).json()["records"] == []
    assert kind_of(service.client.get(f"{URL}/{given}", headers=other)) == "not-found"


def test_prices_of_equal_requests_are_stored_once(service: Any) -> None:
    body = {"model": "toy", "prices": with_prices(service)}
    header = service.key()
    for _ in range(3):
        assert service.client.post(URL, json=body, headers=header).status_code == 200
    with service.state.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(panels)).scalar_one() == 1
    record = service.state.audit.latest()[0]
    assert "prices" not in record.request
    assert service.state.audit.request(record)["prices"] == body["prices"]


def test_no_row_no_answer(service: Any, kind_of: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("disk full")

    header = service.key()
    monkeypatch.setattr(service.state.database, "write", broken)
    answer = service.client.post(URL, json={"model": "toy"}, headers=header)
    assert (answer.status_code, kind_of(answer)) == (500, "internal-error")
    assert "weights" not in answer.text
    assert "disk full" not in answer.text
    monkeypatch.undo()
    assert service.client.post(URL, json={"model": "toy"}, headers=header).status_code == 200


def test_prune_deletes_old_rows_and_prices_nobody_needs(service: Any) -> None:
    from sqlalchemy import update

    from service.core.tables import allocations

    header = service.key()
    service.client.post(URL, json={"model": "toy", "prices": with_prices(service)}, headers=header)
    fresh = service.client.post(URL, json={"model": "toy"}, headers=header).json()["id"]
    now = service.state.clock()
    with service.state.database.write() as connection:
        from datetime import UTC, datetime

        change = update(allocations).where(allocations.c.id == fresh)
        connection.execute(change.values(created_at=datetime.now(UTC)))
    assert now < datetime.now(UTC)
    assert service.state.audit.prune(30) == 1
    assert [r.id for r in service.state.audit.latest()] == [fresh]
    with service.state.database.read() as connection:
        assert connection.execute(select(func.count()).select_from(panels)).scalar_one() == 0


def test_recomputing_without_the_prices_says_so(service: Any) -> None:
    answer = service.client.post(URL, json={"model": "toy"}, headers=service.key()).json()
    record = service.state.audit.get(answer["id"])
    lost = record.__class__(**{**record.__dict__, "data_hash": "f" * 64})
    with pytest.raises(Problem, match="no version of 'toy'"):
        service.state.decisions.recompute(lost)


def test_answer_in_the_audit_is_json_without_nan(service: Any) -> None:
    service.client.post(URL, json={"model": "toy"}, headers=service.key())
    json.loads(service.state.audit.latest()[0].answer, parse_constant=lambda word: pytest.fail(word))


def test_prune_command_says_what_it_deleted(service: Any) -> None:
    from typer.testing import CliRunner

    from service.cli.audit import app

    service.client.post(URL, json={"model": "toy"}, headers=service.key())
    command = ["prune", "--home", str(service.state.settings.home), "--json"]
    answer = CliRunner().invoke(app, [*command, "--days", "1"])
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, {"rows": 1, "versions": []})
    assert service.state.audit.latest() == []
    assert CliRunner().invoke(app, [*command, "--days", "0"]).exit_code == 2
