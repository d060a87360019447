"""Policies: one code path, causal, and true to the backtest's accounts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import DataError
from data.prices import Prices
from rl_core.config import SACConfig
from rl_core.sac import SAC
from trading_app.backtesting.backtest import backtest
from trading_app.experiments.config import load_config
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import AgentPolicy, TrainedPolicy
from trading_app.experiments.training import train_run
from trading_app.market.costs import CostModel
from trading_app.market.env import Market, MarketConfig
from trading_app.runs.run import Run

CONFIG = MarketConfig(window=4, episode_length=20)
COSTS = CostModel(borrow_bps=300.0, risk_free=0.02)


def made_prices(sessions: int = 160, assets: int = 3, opens: bool = True, seed: int = 0) -> Prices:
    generator = np.random.default_rng(seed)
    dates = pd.bdate_range("2015-01-01", periods=sessions)
    symbols = [f"A{i}" for i in range(assets)]
    close = 100 * np.exp(np.cumsum(generator.normal(0, 0.02, (sessions, assets)), axis=0))
    frames = {"close": pd.DataFrame(close, index=dates, columns=symbols)}
    if opens:
        frames["open"] = frames["close"].shift(1).bfill() * np.exp(
            generator.normal(0, 0.005, (sessions, assets))
        )
    return Prices.from_frames("made", **frames)


def policy(prices: Prices, seeds: tuple[int, ...] = (0, 1)) -> AgentPolicy:
    market = Market(prices, config=CONFIG, costs=COSTS, seeds=seeds)
    agent = SAC(market.symmetry, SACConfig(width=8, batch_size=8), seeds)
    with torch.no_grad():
        # Far from zero, so that it trades.
        agent.actor.get_parameter(next(name for name, _ in agent.actor.named_parameters()))
        for parameter in agent.actor.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    agent.refresh()
    return AgentPolicy(agent, CONFIG, COSTS, prices.symbols)


@pytest.mark.parametrize("opens", [True, False])
def test_holdings_along_a_rollout_are_those_of_the_backtest(opens: bool) -> None:
    prices = made_prices(opens=opens)
    one = policy(prices, seeds=(0,))
    path = one.rollout(prices, prices.dates[100])
    result = backtest(prices, path.ensemble, costs=COSTS, start=prices.dates[100])
    assert np.abs(path.ensemble.to_numpy()).max() > 1e-3
    # Replayed with the account's own holdings, the decisions are the same: both moved the same account.
    market = one.market(prices)
    held = np.vstack([np.zeros((1, 3)), _close_weights(prices, result.weights, path.ensemble)])
    for day in range(100, 159):
        again = one.targets(market, day, torch.as_tensor(held[day - 100])[None, None])
        assert np.allclose(again[0, 0].numpy(), path.ensemble.to_numpy()[day - 100], atol=2e-5)


def _close_weights(prices: Prices, filled: pd.DataFrame, targets: pd.DataFrame) -> np.ndarray:
    """Weights at each close after the first, from targets filled at the open (or close) of that session."""
    close = prices.field("close").to_numpy()[100:]
    fill = prices.field("open").to_numpy()[100:] if prices.has_opens else close
    value = targets.to_numpy()[:-1] * (close / fill)[1:]
    cash = 1 - targets.to_numpy()[:-1].sum(axis=1, keepdims=True)
    return np.asarray(value / (value.sum(axis=1, keepdims=True) + cash))


def test_future_prices_change_no_decision() -> None:
    prices = made_prices()
    own = policy(prices)
    changed = {name: frame.copy() for name, frame in prices.fields.items()}
    for frame in changed.values():
        frame.iloc[140:] *= 1.7
    other = Prices.from_frames("made", **changed)
    before, after = own.rollout(prices, prices.dates[100]), own.rollout(other, prices.dates[100])
    assert np.array_equal(before.per_seed[:, :40], after.per_seed[:, :40])
    assert not np.array_equal(before.per_seed[:, 40:], after.per_seed[:, 40:])


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


def test_decide_is_the_ensemble_of_the_rollout(run: Run, home: Path) -> None:
    from data.loading import load_prices

    trained, prices = TrainedPolicy.load(run.path), load_prices("factors-5")
    ensemble, per_seed = trained.weights(prices, "2022-06-01")
    decision = trained.decide(prices, "2022-06-01")
    assert np.allclose(decision.weights, ensemble.iloc[0].to_numpy(), atol=1e-6)
    assert np.allclose(decision.per_seed, per_seed[:, 0], atol=1e-6)
    assert decision.cash == pytest.approx(1 - decision.weights.sum())
    assert decision.spread.shape == (5,)


def test_wrong_prices_and_dates_are_one_line(run: Run, home: Path) -> None:
    from data.loading import load_prices

    trained, prices = TrainedPolicy.load(run.path), load_prices("factors-5")
    with pytest.raises(DataError, match="trained on 5 other symbols"):
        trained.decide(load_prices("sp500-20"))
    with pytest.raises(DataError, match="no session"):
        trained.decide(prices, "2022-06-04")
    with pytest.raises(DataError, match="too few"):
        trained.decide(prices.between(None, prices.dates[20]))
    with pytest.raises(DataError, match="holdings"):
        trained.decide(prices, holdings=np.zeros(4))
    with pytest.raises(DataError, match="agent has seen"):
        backtest_run(run, home=home, start="2015-01-01")
    with pytest.raises(DataError, match="no run there"):
        TrainedPolicy.load(home)


def test_backtest_of_a_run_saves_agent_seeds_and_baselines(run: Run, home: Path) -> None:
    saved = backtest_run(run, home=home)
    assert saved.strategies[:3] == ("agent", "seed-0", "seed-1")
    assert "equal-weight" in saved.strategies
    assert str(saved.equity.index[0].date()) >= run.manifest["split"]["test"][0]
    assert (saved.equity.iloc[0] == 1).all()


def test_resumed_run_ends_like_one_never_stopped(tmp_path: Path) -> None:
    """The whole pipeline, market included, from a checkpoint in the middle."""
    whole = tiny_run(tmp_path / "a", **{"training.steps": 20, "training.checkpoint_every": 10})
    half = tiny_run(tmp_path / "b", **{"training.steps": 10, "training.checkpoint_every": 10})
    text = (half.path / "config.toml").read_text().replace("steps = 10\n", "steps = 20\n")
    (half.path / "config.toml").write_text(text)
    resumed, _ = train_run(load_config(), home=tmp_path / "b", name=half.name, resume=True)
    a, b = (TrainedPolicy.load(r.path).policy.agent.flat.values for r in (whole, resumed))
    assert torch.equal(a, b)
