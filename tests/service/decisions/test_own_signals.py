"""The service on a model with signals of one's own: the newest stamps, refusals, and the audit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from data.signals.store import SignalStore
from data.snapshots.store import SnapshotStore
from service.app import create_app
from service.core.settings import load_settings
from service.decisions.service import same_answer
from tests.trading_app.experiments.test_own_signals import DETAILS, SYMBOLS, market, own, run_with
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import load_policy

BEFORE, AFTER = 650, 700


@pytest.fixture
def served(tmp_path: Path) -> Any:
    """A model trained on 650 sessions, served with prices of 700 sessions and signals of 650."""
    SnapshotStore(tmp_path).save(market(BEFORE), "market", provider={"name": "test"})
    SignalStore(tmp_path).save(own(BEFORE), DETAILS)
    plain = {"market.actions": "long-only", "market.rebalance": "daily", "market.no_trade_band": 0.0}
    run = run_with(tmp_path, **plain)
    backtest_run(run, home=tmp_path)
    SnapshotStore(tmp_path).save(market(AFTER), "market", provider={"name": "test"})
    app = create_app(load_settings(home=tmp_path, rate_limit="100000/minute"))
    with TestClient(app) as client:
        state = app.state.equitrade
        state.registry.promote(run.path, "live")
        token, _ = state.keys.create("test", ["read"])
        client.headers["Authorization"] = f"Bearer {token}"
        yield client, state, tmp_path, run


def ask(client: TestClient, day: int) -> Any:
    body = {"model": "live", "as_of": str(market().dates[day].date()), "allow_stale": True}
    return client.post("/api/v1/allocations", json=body)


def test_answers_use_the_newest_stamps_and_are_recomputed_with_those_of_their_time(served: Any) -> None:
    client, state, home, run = served
    policy = load_policy(run.path)

    def expected(day: int, seed: int = 0, length: int = AFTER) -> np.ndarray:
        prices = market(day + 1).with_signals([own(length, seed)])
        return policy.decide(prices, prices.dates[-1], np.zeros((1, 3))).mean(axis=(0, 1))

    early = ask(client, 640)
    assert early.status_code == 200, early.text
    answer = early.json()
    np.testing.assert_allclose([answer["weights"][s] for s in SYMBOLS], expected(640), rtol=1e-6)
    assert answer["own_signals"] == [{"name": "own", "version": 1, "hash": own(BEFORE).hash}]

    stale = ask(client, 690)
    assert (stale.status_code, stale.json()["type"]) == (422, "urn:equitrade:problem:stale-signals")
    assert "column 'up' ends on" in stale.json()["detail"]

    SignalStore(home).save(own(AFTER), DETAILS)
    late = ask(client, 690)
    assert late.status_code == 200, late.text
    np.testing.assert_allclose([late.json()["weights"][s] for s in SYMBOLS], expected(690), rtol=1e-6)
    assert late.json()["own_signals"][0]["version"] == 2
    assert ask(client, 690).json()["weights"] == late.json()["weights"]  # now from memory

    # A revised file is no continuation of what the model was trained on.
    SignalStore(home).save(own(AFTER, seed=9), DETAILS)
    again = ask(client, 690)
    assert again.json()["weights"] == late.json()["weights"]
    for answered in (early, late, again):
        row = state.audit.get(answered.json()["id"])
        assert same_answer(row, state.decisions.recompute(row))


def test_missing_signals_and_prices_of_a_request(served: Any) -> None:
    client, _, home, _ = served
    SignalStore(home).save(own(AFTER), DETAILS)
    prices = market(AFTER)
    close = {symbol: prices.close[symbol].tolist() for symbol in SYMBOLS}
    body = {
        "model": "live",
        "allow_stale": True,
        "prices": {"dates": [str(day.date()) for day in prices.dates], "close": close},
    }
    given = client.post("/api/v1/allocations", json=body)
    assert given.status_code == 200, given.text
    assert given.json()["weights"] == ask(client, 699).json()["weights"]
    shutil.rmtree(home / "signals")
    missing = ask(client, 640)
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:equitrade:problem:unknown-signals")
