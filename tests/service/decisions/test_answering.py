"""Answers: recomputation, batches, and the encoding of one session."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from service.decisions.batching import MAX_BATCH, Batcher

URL = "/api/v1/allocations"
BODIES: list[dict[str, Any]] = [
    {"model": "toy"},
    {"model": "toy", "holdings": {"weights": {"AAA": 1e-7, "BBB": -0.25}}},
    {"model": "toy", "holdings": {"shares": {"CCC": 3.0}, "cash": 1000.0}, "as_of": "2024-03-24"},
    {"model": "toy", "sizing": {"nav": 1e6}},
]


@pytest.mark.parametrize("body", BODIES)
def test_an_answer_is_recomputed_byte_for_byte(service: Any, body: dict[str, Any]) -> None:
    for _ in range(2):
        answer = service.client.post(URL, json=body, headers=service.key())
        record = service.state.audit.get(answer.json()["id"])
        assert service.state.decisions.recompute(record) == answer.content


def test_no_orders_between_days_of_the_schedule(service: Any) -> None:
    service.promote("weekly-run", "weekly", rebalance="weekly")
    held = {"AAA": 0.2, "BBB": 0.3, "CCC": 0.1}
    body = {"model": "weekly", "holdings": {"weights": held}}
    thursday = service.client.post(URL, json=body, headers=service.key()).json()
    assert thursday["weights"] == held
    assert all(order["weight_change"] == 0 for order in thursday["orders"])
    assert (
        "schedule: 2024-03-28 is no day of the model's schedule (weekly); no orders" in thursday["warnings"]
    )
    monday = service.client.post(URL, json={**body, "as_of": "2024-03-25"}, headers=service.key()).json()
    assert all(order["weight_change"] != 0 for order in monday["orders"])
    cash = service.client.post(URL, json={"model": "weekly"}, headers=service.key()).json()
    assert all(order["weight_change"] > 0 for order in cash["orders"])


def test_an_order_passes_the_no_trade_band(service: Any) -> None:
    service.promote("band-run", "band", no_trade_band=0.1, actions="long-only")
    body = {"model": "band", "holdings": {"weights": {"AAA": 0.1, "BBB": 0.3, "CCC": 0.1}}}
    answer = service.client.post(URL, json=body, headers=service.key()).json()
    changes = {order["symbol"]: order["weight_change"] for order in answer["orders"]}
    assert changes["AAA"] > 0.1
    assert changes["BBB"] == changes["CCC"] == 0
    assert sum(answer["weights"].values()) + answer["cash"] == pytest.approx(1.0)


def test_answers_are_within_the_limits_and_name_those_that_bind(service: Any) -> None:
    limits = {"max_weight": 0.2, "turnover": 0.1, "no_buy": ["BBB"]}
    service.promote("limited-run", "limited", actions="long-only", limits=limits)
    held = {"AAA": 0.1, "BBB": 0.1, "CCC": 0.15}
    body = {"model": "limited", "holdings": {"weights": held}}
    response = service.client.post(URL, json=body, headers=service.key())
    answer = response.json()
    weights = answer["weights"]
    assert max(weights.values()) <= 0.2 + 1e-9
    assert weights["BBB"] <= 0.1 + 1e-9
    assert sum(abs(weights[name] - held[name]) for name in held) / 2 <= 0.1 + 1e-9
    assert {"limit: max_weight binds", "limit: no_buy binds"} <= set(answer["warnings"])
    record = service.state.audit.get(answer["id"])
    assert service.state.decisions.recompute(record) == response.content


def test_limits_that_conflict_are_named(service: Any, kind_of: Any) -> None:
    limits = {"net_min": 0.9, "turnover": 0.1}
    service.promote("conflict-run", "conflict", actions="long-only", limits=limits)
    answer = service.client.post(URL, json={"model": "conflict"}, headers=service.key())
    assert kind_of(answer) == "limits-conflict"
    assert "market.limits.turnover and market.limits.net_min cannot both be met" in answer.json()["detail"]


def test_percent_signs_in_an_answer_stay(service: Any) -> None:
    from data import Prices, SnapshotStore

    prices = service.state.snapshots.get("toy")
    noted = Prices.from_frames("noted", close=prices.fields["close"], notes=("up 5 % since %b",))
    SnapshotStore(service.home).save(noted, "noted", provider={"name": "test"})
    answer = service.client.post(URL, json={"model": "toy", "data": "noted"}, headers=service.key())
    assert "up 5 % since %b" in answer.json()["warnings"]


MALFORMED = [
    (b'{"model": "toy", "as_of": "2024-02-31"}', "invalid-request"),
    (b'{"model": "toy", "allow_stale": 1}', "invalid-request"),
    (b'{"model": "toy", "holdings": {"weights": {"AAA": "1"}}}', "invalid-holdings"),
    (b'{"model": "toy", "holdings": {"weights": {"AAA": 1e400}}}', "invalid-holdings"),
    (b'{"model": "toy", "holdings": {"weights": {"AAA": NaN}}}', "invalid-holdings"),
    (b'{"model": "toy", "more": 1}', "invalid-request"),
    (b'{"model": "a\\ud800"}', "malformed-json"),
    (b'{"model": 7}', "invalid-request"),
    (b"[]", "invalid-request"),
    (b"nul", "malformed-json"),
    (b"", "invalid-request"),
]


@pytest.mark.parametrize(("text", "kind"), MALFORMED)
def test_a_body_that_does_not_fit_is_refused_by_kind(
    service: Any, kind_of: Any, text: bytes, kind: str
) -> None:
    headers = service.key() | {"Content-Type": "application/json"}
    assert kind_of(service.client.post(URL, content=text, headers=headers)) == kind


@pytest.mark.parametrize("text", [b'{"model": "toy"}', b"", b"a=b"])
def test_a_body_that_is_not_announced_as_json_is_refused(service: Any, kind_of: Any, text: bytes) -> None:
    headers = service.key() | {"Content-Type": "text/plain"}
    assert kind_of(service.client.post(URL, content=text, headers=headers)) == "unsupported-media-type"


def prepared(context: object, number: int) -> Any:
    return SimpleNamespace(context=context, number=number)


class Decisions:
    """Decides by returning the numbers of the requests, once it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, batch: Sequence[Any]) -> list[Any]:
        self.batches.append([item.number for item in batch])
        await self.go_on.wait()
        return [ValueError(item.number) if item.number < 0 else item.number for item in batch]


def test_requests_that_arrive_during_a_batch_form_the_next_one() -> None:
    async def run() -> list[list[int]]:
        decisions, context = Decisions(), object()
        batcher = Batcher(decisions)
        first = asyncio.create_task(batcher.decide(prepared(context, 0)))
        while not decisions.batches:
            await asyncio.sleep(0)
        others = [asyncio.create_task(batcher.decide(prepared(context, k))) for k in range(1, MAX_BATCH + 3)]
        other = asyncio.create_task(batcher.decide(prepared(object(), 100)))
        while len(decisions.batches) < 2:
            await asyncio.sleep(0)
        assert decisions.batches == [[0], [100]]  # another context does not wait
        decisions.go_on.set()
        assert await asyncio.gather(first, *others, other) == [*range(MAX_BATCH + 3), 100]
        return decisions.batches

    batches = asyncio.run(run())
    assert batches[2:] == [list(range(1, MAX_BATCH + 1)), [MAX_BATCH + 1, MAX_BATCH + 2]]


def test_an_error_of_one_request_leaves_the_others_of_its_batch() -> None:
    async def run() -> list[Any]:
        decisions, context = Decisions(), object()
        decisions.go_on.set()
        batcher = Batcher(decisions)
        tasks = [asyncio.create_task(batcher.decide(prepared(context, k))) for k in (1, -1, 2)]
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, error, second = asyncio.run(run())
    assert (first, str(error), second) == (1, "-1", 2)


def test_a_pinned_market_encodes_its_day_to_the_same_bits(trained: Path) -> None:
    from data import SnapshotStore
    from trading_app.experiments.policies import load_policy

    prices = SnapshotStore(trained).load("small")
    policy = load_policy(trained / "runs" / "first")
    plain, pinned = policy.market(prices), policy.market(prices)
    rng = np.random.default_rng(3)
    for day in (len(prices.dates) - 1, 30):
        pinned.pin(day)
        for scale in (0.0, 0.2, 7.0):
            held = torch.from_numpy(rng.uniform(-scale, scale, (2, 8, 4))).float()
            observation = torch.cat([torch.full((2, 8, 1), float(day)), held], dim=-1)
            assert torch.equal(pinned.encode(observation), plain.encode(observation))


def test_clients_that_ask_again_at_once_are_decided_together() -> None:
    async def run() -> list[list[int]]:
        decisions, context = Decisions(), object()
        decisions.go_on.set()
        batcher = Batcher(decisions)

        async def client(number: int) -> None:
            for _ in range(10):
                await batcher.decide(prepared(context, number))

        await asyncio.gather(*(client(number) for number in range(4)))
        return decisions.batches

    batches = asyncio.run(run())
    assert sum(map(len, batches)) == 40
    assert len(batches) <= 15
