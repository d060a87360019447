"""Runs with signals of one's own: pinned, recorded, replayed, and refused where they cannot be the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import DataError
from data.loading import load_prices
from data.prices import Prices
from data.providers.planted import PanelConfig, planted_panel, save_planted
from data.signals.store import SignalStore
from data.signals.values import Signals
from data.snapshots.store import SnapshotStore
from tests.trading_app.experiments.test_policies import tiny_run
from trading_app.experiments.config import load_config, stored_config
from trading_app.experiments.out_of_sample import backtest_run, unseen_period
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import train_run
from trading_app.experiments.walk_forward import walk_forward_run
from trading_app.runs.run import Run

DETAILS = {"prices": {"name": "market"}, "provider": {}, "repairs": []}
SYMBOLS = ("A", "B", "C")


def market(days: int = 700) -> Prices:
    rng = np.random.default_rng(3)
    dates = pd.bdate_range("2018-01-01", periods=700)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (700, 3)), axis=0))
    return Prices.from_frames("market", close=pd.DataFrame(close, dates, list(SYMBOLS)).iloc[:days])


def own(days: int = 700, seed: int = 0) -> Signals:
    values = np.random.default_rng(seed).normal(size=(700, 3, 2))[:days]
    return Signals("own", market().dates[:days], SYMBOLS, {"up": -1, "size": 1}, values)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    SnapshotStore(tmp_path).save(market(), "market", provider={"name": "test"})
    SignalStore(tmp_path).save(own(), DETAILS)
    return tmp_path


def run_with(home: Path, **changes: object) -> Run:
    return tiny_run(home, **{"data.name": "market", "data.signals": ["own"], **changes})


def test_a_run_pins_its_signals_and_names_their_columns_as_features(home: Path) -> None:
    run = run_with(home)
    config = stored_config(run.path)
    assert config.data.signals == ("own@1",)
    assert config.market.features == ("own:up", "own:size")
    assert run.manifest["features"] == list(config.market.features)
    (record,) = run.manifest["data"]["signals"]
    assert record == own().record() | {"version": 1}
    assert "values for" in run.manifest["data"]["notes"][-1]
    chosen = run_with(home, **{"market.features": ["ret_1", "own:size"]})
    assert stored_config(chosen.path).market.features == ("ret_1", "own:size")


def test_signals_change_the_defaults_and_no_choice_of_the_user() -> None:
    config = load_config(None, {}, {"data.signals": ["own"], "market.window": 3})
    assert (config.market.rebalance, config.market.no_trade_band, config.market.window) == ("daily", 0.005, 3)
    assert (config.sac.critic_start, config.sac.exploration) == ("zero", 0.5)
    assert load_config().market.rebalance == "weekly"


def test_every_seed_finds_a_planted_signal(tmp_path: Path) -> None:
    """A signal with a daily R² of 5 %, after 60 updates: tilts follow it, though returns are mostly noise."""
    save_planted("world", PanelConfig(assets=8, sessions=700, r2=0.05, half_life=10.0), tmp_path)
    changes = {"data.name": "world", "data.signals": ["world"], "training.seeds": 3, "training.steps": 60}
    run, _ = train_run(
        load_config(None, {}, {**changes, "training.evaluate_every": 60}), home=tmp_path, name="r"
    )
    prices, first, last = unseen_period(run, home=tmp_path)
    signal = planted_panel("world", PanelConfig(assets=8, sessions=700, r2=0.05, half_life=10.0)).signals
    policy = load_policy(run.path)
    start = np.zeros((len(policy.seeds), 8))
    days = pd.bdate_range(first, last)[:40]
    tilts = np.stack([policy.decide(prices, day, start)[:, 0] for day in days], axis=1)
    known = signal.values[signal.dates.get_indexer(days), :, 0]
    for seed in tilts:
        assert np.corrcoef((seed - seed.mean(axis=1, keepdims=True)).ravel(), known.ravel())[0, 1] > 0.5


def test_decisions_use_the_signals_and_backtests_use_those_of_the_run(home: Path) -> None:
    run = run_with(home)
    before = backtest_run(run, home=home)
    policy = load_policy(run.path)
    prices, first, last = unseen_period(run, home=home)
    path = policy.rollout(prices, first, last)
    held = np.zeros((1, 3))
    np.testing.assert_allclose(policy.decide(prices, first, held)[:, 0], path.per_seed[:, 0], rtol=1e-6)
    other = market().with_signals([own(seed=9)])
    assert not np.array_equal(policy.decide(other, first, held), policy.decide(prices, first, held))
    with pytest.raises(DataError, match="no signal 'own:up' beside these prices"):
        policy.decide(market(), first, held)

    # A revised file is another version, which the run does not take.
    SignalStore(home).save(own(seed=9), DETAILS)
    again = backtest_run(run, home=home)
    pd.testing.assert_frame_equal(before.equity, again.equity)
    assert not any("later stamps" in note for note in again.document["notes"])


def test_missing_ended_and_foreign_signals_are_refused_in_one_line(home: Path) -> None:
    store = SignalStore(home)
    with pytest.raises(DataError, match="no signals 'none'"):
        run_with(home, **{"data.signals": ["none"]})
    with pytest.raises(DataError, match="other symbols: they lack MTUM"):
        tiny_run(home, **{"data.signals": ["own"]})
    dates, values = own().dates, own().values[:, :, :1]
    store.save(Signals("short", dates[:300], SYMBOLS, {"up": -1}, values[:300]), DETAILS)
    with pytest.raises(DataError, match="column 'up' ends on"):
        run_with(home, **{"data.signals": ["short"]})
    store.save(Signals("late", dates[690:], SYMBOLS, {"up": -1}, values[690:]), DETAILS)
    with pytest.raises(DataError, match="'late': column 'up' has no value on the training dates"):
        run_with(home, **{"data.signals": ["late"]})
    with pytest.raises(DataError, match=r"market.features: .*no feature 'down'"):
        run_with(home, **{"market.features": ["down", "own:up"]})
    assert not (home / "runs").exists()

    run = run_with(home)
    shutil.rmtree(home / "signals" / "own")
    with pytest.raises(DataError, match=r"signals 'own' with hash .* import the file of that time again"):
        backtest_run(run, home=home)


def test_a_backtest_beyond_the_end_of_the_signals_is_refused(home: Path) -> None:
    """Training and validation have signals, the end of the test period has none."""
    store = SignalStore(home)
    store.save(own(650), DETAILS)
    run = run_with(home, **{"data.signals": ["own@2"]})
    shutil.rmtree(home / "signals" / "own")
    with pytest.raises(DataError, match=r"signals 'own' are too old: column 'up' ends on 2020-06-26"):
        backtest_run(run, home=home)
    store.save(own(), DETAILS)
    saved = backtest_run(run, home=home)
    assert "Signals own have later stamps than at training" in " ".join(saved.document["notes"])


def test_resumed_run_ends_like_one_never_stopped_though_signals_were_revised(home: Path) -> None:
    steps = {"training.steps": 20, "training.checkpoint_every": 10}
    whole = run_with(home, **steps)
    half = run_with(home, **{**steps, "training.steps": 10})
    SignalStore(home).save(own(seed=9), DETAILS)
    text = (half.path / "config.toml").read_text().replace("steps = 10\n", "steps = 20\n")
    (half.path / "config.toml").write_text(text)
    resumed, _ = train_run(load_config(), home=home, name=half.name, resume=True)
    a, b = (load_policy(r.path).agent.flat.values for r in (whole, resumed))
    assert torch.equal(a, b)


def test_walk_forward_trains_and_trades_every_fold_on_one_version(home: Path) -> None:
    settings = run_with(home)
    config = stored_config(settings.path)
    run = walk_forward_run(config, home=home, folds=2)
    folds = [Run(p, {}) for p in sorted((run.path / "folds").iterdir())]
    assert {stored_config(fold.path).data.signals for fold in folds} == {("own@1",)}
    saved = backtest_run(run, home=home)
    assert saved.equity["agent"].notna().all()


def test_signals_follow_a_run_on_some_symbols_and_dates(home: Path) -> None:
    run = run_with(home, **{"data.symbols": ["C", "A"], "data.start": "2018-03-01"})
    prices, _, _ = unseen_period(run, home=home)
    whole = load_prices("market", home=home, signals=["own"])
    row = int(whole.dates.searchsorted(prices.dates[0]))
    np.testing.assert_array_equal(prices.signals[0].values, whole.signals[0].values[row:][:, [2, 0]])
