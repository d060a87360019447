"""Policies of trained runs, loaded, backtested and resumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import DataError
from data.loading import load_prices
from trading_app.experiments.config import load_config
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import train_run
from trading_app.runs.run import Run


def tiny_run(home: Path, **changes: object) -> Run:
    overrides = {
        "data.name": "factors-5",
        "market.window": 4,
        "sac.width": 8,
        "sac.batch_size": 16,
        "sac.learning_starts": 16,
        "training.seeds": 2,
        "training.steps": 12,
        "training.n_envs": 2,
        "training.cross_fit": False,
        "training.evaluate_every": 12,
        **changes,
    }
    run, _ = train_run(load_config(None, {}, overrides), home=home)
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home: Path) -> Run:
    return tiny_run(home)


def test_dates_of_training_and_missing_runs_are_refused(run: Run, home: Path) -> None:
    with pytest.raises(DataError, match="trained on earlier dates"):
        backtest_run(run, home=home, start="2015-01-01")
    with pytest.raises(DataError, match="no run found"):
        load_policy(home)


def test_backtest_of_a_run_saves_agent_seeds_and_baselines(run: Run, home: Path) -> None:
    saved = backtest_run(run, home=home)
    assert saved.strategies[:3] == ("agent", "seed-0", "seed-1")
    assert "equal-weight" in saved.strategies
    assert str(saved.equity.index[0].date()) >= run.manifest["split"]["test"][0]
    assert (saved.equity.iloc[0] == 1).all()


def test_policy_on_the_same_symbols_in_another_order_decides_the_same(run: Run, home: Path) -> None:
    prices, policy = load_prices("factors-5"), load_policy(run.path)
    order = ["VLUE", "MTUM", "SIZE", "USMV", "QUAL"]
    held = np.array([[0.3, 0.1, 0.2, 0.2, 0.1]])
    places = [prices.symbols.index(symbol) for symbol in order]
    moved = policy.on_symbols(tuple(order)).decide(prices.select(order), prices.dates[900], held[:, places])
    np.testing.assert_allclose(moved, policy.decide(prices, prices.dates[900], held)[..., places], atol=1e-6)


def test_resumed_run_ends_like_one_never_stopped(tmp_path: Path) -> None:
    """The whole pipeline, market included, from a checkpoint in the middle."""
    whole = tiny_run(tmp_path / "a", **{"training.steps": 20, "training.checkpoint_every": 10})
    half = tiny_run(tmp_path / "b", **{"training.steps": 10, "training.checkpoint_every": 10})
    text = (half.path / "config.toml").read_text().replace("steps = 10\n", "steps = 20\n")
    (half.path / "config.toml").write_text(text)
    resumed, _ = train_run(load_config(), home=tmp_path / "b", name=half.name, resume=True)
    a, b = (load_policy(r.path).agent.flat.values for r in (whole, resumed))
    assert torch.equal(a, b)
