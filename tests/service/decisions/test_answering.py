"""What makes answers quick must not change them: prepared words, recorded policies, turns."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.exceptions import RequestValidationError

from service.api.direct import _read_in_steps, read
from service.api.schemas.decisions import AllocationRequest
from service.core.logging import JsonFormatter, TurnHandler, event
from service.core.tables import panels
from service.models.serving import _OFTEN, load_trained
from service.plans import record

URL = "/api/v1/allocations"
BODIES: list[dict[str, Any]] = [
    {"model": "toy"},
    {"model": "toy", "holdings": {"weights": {"AAA": 1e-7, "BBB": -0.25}}},
    {"model": "toy", "holdings": {"shares": {"CCC": 3.0}, "cash": 1000.0}, "as_of": "2024-03-24"},
    {"model": "toy", "sizing": {"nav": 1e6}},
]


@pytest.mark.parametrize("body", BODIES)
def test_prepared_words_are_those_of_the_whole_answer(service: Any, body: dict[str, Any]) -> None:
    for _ in range(2):
        answer = service.client.post(URL, json=body, headers=service.key())
        record = service.state.audit.get(answer.json()["id"])
        assert service.state.answers.again(service.state.audit, record) == answer.content


def test_percent_signs_in_an_answer_stay(service: Any) -> None:
    from data import Prices, SnapshotStore

    prices = service.state.snapshots.get("toy")
    noted = Prices.from_frames("noted", close=prices.fields["close"], notes=("up 5 % since %b",))
    SnapshotStore(service.home).save(noted, "noted", provider={"name": "test"})
    answer = service.client.post(URL, json={"model": "toy", "data": "noted"}, headers=service.key())
    assert "up 5 % since %b" in answer.json()["warnings"]


def test_a_recorded_policy_gives_the_same_bits(trained: Path) -> None:
    from data import SnapshotStore

    prices = SnapshotStore(trained).load("small")
    quick, plain = load_trained(trained / "runs" / "first"), load_trained(trained / "runs" / "first")
    rng = np.random.default_rng(5)
    for _ in range(_OFTEN - 1):
        quick.targets(prices, prices.dates[-1], rng.uniform(-0.3, 0.3, (2, 4)))
    close = quick._close(prices, prices.dates[-1])
    quick._record(close)
    assert close.recorded is not None
    for scale in (0.0, 0.01, 0.3, 5.0):
        held = rng.uniform(-scale, scale, (8, 4))
        found = quick.targets(prices, prices.dates[-1], held)
        np.testing.assert_array_equal(found, plain.targets(prices, prices.dates[-1], held))


def test_what_cannot_be_recorded_is_left_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def fickle(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if float(x.sum()) > 0 else x - 1

    assert record(fickle, [torch.ones(3), -torch.ones(3)]) is None


TEXTS = [
    b'{"model": "toy"}',
    b'{"model": "toy", "as_of": "2024-02-31"}',
    b'{"model": "toy", "allow_stale": 1}',
    b'{"model": "toy", "holdings": {"weights": {"A": 1}}}',
    b'{"model": "toy", "holdings": {"weights": {"A": "1"}}}',
    b'{"model": "toy", "holdings": {"weights": {"A": 1e400}}}',
    b'{"model": "toy", "holdings": {"weights": {"A": NaN}}}',
    b'{"model": "toy", "model": "other"}',
    b'{"model": "toy", "more": 1}',
    '{"model": "toy"}'.encode("utf-16"),
    b'\xef\xbb\xbf{"model": "toy"}',
    b'{"model": "a\\ud800"}',
    b'{"model": 7}',
    b"[]",
    b"nul",
    b"",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_a_body_read_in_one_step_is_the_body_read_in_two(text: bytes, kind: str) -> None:
    found = []
    for reader in (read, _read_in_steps):
        try:
            found.append(reader(AllocationRequest, text, kind))
        except RequestValidationError as error:
            found.append(error.errors())
    assert found[0] == found[1]


def test_a_turn_reads_the_revision_once_and_the_next_turn_anew(service: Any) -> None:
    database = service.state.database

    async def turns() -> list[int]:
        found = [database.revision()]
        service.state.keys.create("another")
        found.append(database.revision())
        await asyncio.sleep(0)
        found.append(database.revision())
        return found

    first, same, later = asyncio.run(turns())
    assert first == same < later
    assert asyncio.run(turns())[0] == later


def test_lines_of_a_turn_are_written_together_and_warnings_at_once() -> None:
    stream = io.StringIO()
    handler = TurnHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("turns")
    logger.addHandler(handler)

    async def turn() -> None:
        event(logger, logging.INFO, "first", number=1)
        event(logger, logging.INFO, "second", odd="\ud800", path=Path("x"))
        assert stream.getvalue() == ""
        await asyncio.sleep(0)
        assert stream.getvalue().count("\n") == 2
        event(logger, logging.INFO, "third")
        event(logger, logging.WARNING, "fourth")
        assert stream.getvalue().count("\n") == 4

    asyncio.run(turn())
    event(logger, logging.INFO, "fifth")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == ["first", "second", "third", "fourth", "fifth"]
    assert lines[1]["path"] == "x"


def test_the_log_is_copied_to_the_file_in_the_background(service: Any) -> None:
    database = service.state.database
    for number in range(10):
        with database.append() as add:
            add(panels, [{"hash": f"{number:064d}", "content": b"x"}], False)
    database._background.submit(lambda: None).result(timeout=60)
    _, written, copied = database._driver("looker").execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
    assert written == copied


def test_additions_are_on_the_disk_soon_or_at_once_where_that_is_asked_for(tmp_path: Path) -> None:
    from service.core.database import Database

    for each, level in ((False, 1), (True, 2)):
        database = Database(f"sqlite:///{tmp_path}/{each}.db", sync_each=each)
        database.migrate()
        with database.append() as add:
            add(panels, [{"hash": "0" * 64, "content": b"x"}], False)
        # What waits in the write-ahead log is copied by itself, which puts it on the disk first.
        database._background.submit(lambda: None).result(timeout=60)
        looker = database._driver("looker")
        _, written, copied = looker.execute("PRAGMA wal_checkpoint(NOOP)").fetchone()
        assert written == copied
        assert looker.execute("PRAGMA synchronous").fetchone()[0] == 2
        appender = next(value for name, value in vars(database._local).items() if name.startswith("appender"))
        assert appender.execute("PRAGMA synchronous").fetchone()[0] == level
        database.close()


def test_a_pinned_market_encodes_its_day_to_the_same_bits(trained: Path) -> None:
    from data import SnapshotStore
    from trading_app.experiments.policies import TrainedPolicy

    prices = SnapshotStore(trained).load("small")
    policy = TrainedPolicy.load(trained / "runs" / "first").policy
    plain, pinned = policy.market(prices), policy.market(prices)
    rng = np.random.default_rng(3)
    for day in (len(prices.dates) - 1, 30):
        pinned.pin(day)
        for scale in (0.0, 0.2, 7.0):
            held = torch.from_numpy(rng.uniform(-scale, scale, (2, 8, 4))).float()
            observation = torch.cat([torch.full((2, 8, 1), float(day)), held], dim=-1)
            assert torch.equal(pinned.encode(observation), plain.encode(observation))
