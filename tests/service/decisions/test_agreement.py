"""A model whose seeds do not agree: the service decides as the backtest does, says so, and can recompute it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from data import Prices, SnapshotStore
from service.app import create_app
from service.core.settings import load_settings
from service.models.serving import load_trained
from tests.service.conftest import TINY
from trading_app.backtesting.backtest import backtest
from trading_app.experiments.config import load_config
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.training import train_run

SYMBOLS = ["KO", "GE", "IBM", "XOM"]


@pytest.mark.parametrize("needed", [1.0, 0.0])
def test_the_service_decides_as_the_backtest(home: Path, needed: float) -> None:
    rng = np.random.default_rng(1)
    dates = pd.bdate_range("2021-01-04", periods=400)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (400, 4)), axis=0))
    prices = Prices.from_frames("small", close=pd.DataFrame(close, dates, SYMBOLS))
    SnapshotStore(home).save(prices, "small", provider={"name": "test"})
    tilt = {
        "market.actions": "tilt",
        "market.rebalance": "weekly",
        "market.trading_speed": 0.5,
        "market.no_trade_band": 0.0,
    }
    config = load_config(
        None,
        {},
        {**TINY, **tilt, "training.steps": 20, "training.agreement": needed, "training.cross_fit": False},
    )
    run, _ = train_run(config, home=home, name="run")
    backtest_run(run, home=home)

    policy = load_trained(run.path)
    start, end = prices.dates[-25], prices.dates[-1]
    targets, _ = policy.weights(prices, start, end)
    result = backtest(prices, targets, costs=policy.costs, start=start, end=end, partial_orders=True)
    with TestClient(create_app(load_settings(home=home, rate_limit="100000/minute"))) as client:
        state = client.app.state.equitrade
        state.registry.promote(run.path, "live")
        token, _ = state.keys.create("test", ["run"])
        client.headers["Authorization"] = f"Bearer {token}"
        said = client.get("/api/v1/models/live").json()["agreement"]
        assert said.endswith("so the agent holds its base, equal weight.") == (needed == 1.0)
        compared = 0
        for day in targets.index[:-1]:
            held = dict(zip(SYMBOLS, result.weights.loc[day].tolist(), strict=True))
            body = {"model": "live", "as_of": str(day.date()), "holdings": {"weights": held}}
            answer = client.post("/api/v1/allocations", json=body)
            members = answer.json()
            assert (f"seeds: {said}" in members["warnings"]) == (needed == 1.0)
            assert all(spread > 0 for spread in members["per_seed_spread"].values())
            if targets.loc[day].notna().all():
                compared += 1
                np.testing.assert_allclose(
                    list(members["weights"].values()), targets.loc[day], rtol=0, atol=1e-9 if needed else 2e-6
                )
            record = state.audit.get(members["id"])
            assert state.decisions.recompute(record) == answer.content
        assert compared > 3
        signals = client.post("/api/v1/signals", json={"model": "live", "as_of": str(end.date())}).json()
        weights = [signal["weight"] for signal in signals["signals"]]
        # From cash, half of the way to the base.
        assert (weights == [0.125] * 4) == (needed == 1.0)
