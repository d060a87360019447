"""Cross-fitting in runs: seeds learn from halves of the dates, and the ensemble's size comes from the other halves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.providers.planted import PanelConfig, save_planted
from rl_core.sac import SAC
from rl_core.training import train
from trading_app.backtesting.policies import AgentPolicy
from trading_app.evaluation.agreement import seed_agreement
from trading_app.evaluation.sizing import Sizing
from trading_app.experiments.config import RunConfig, load_config, stored_config
from trading_app.experiments.cross_fitting import choose_sizing
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import prices_of, recorded_dates, split_of, train_run, training_market
from trading_app.report.verdict import ensemble_sentences, sizing_sentence, verdict
from trading_app.runs.run import Run

SMALL = {
    "sac.width": 8,
    "sac.batch_size": 32,
    "training.seeds": 2,
    "training.steps": 60,
    "training.evaluate_every": 60,
    "training.checkpoint_every": 60,
}


def settings(signal: float, home: Path, **changes: Any) -> RunConfig:
    name = f"signal-{signal:g}"
    if not (home / "data" / name).exists():
        save_planted(name, PanelConfig(assets=6, sessions=700, r2=signal, half_life=10.0), home)
    return load_config(None, {}, {"data.name": name, "data.signals": [name], **SMALL, **changes})


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cross-fitting")


@pytest.fixture(scope="module")
def found(home: Path) -> Run:
    """A run on a panel with a strong signal."""
    # After so few updates seeds agree little.
    run, _ = train_run(settings(0.05, home, **{"training.agreement": 0.0}), home=home, name="found")
    backtest_run(run, home=home)
    return run


def test_each_seed_learns_from_its_half(home: Path) -> None:
    config = settings(0.05, home)
    prices = prices_of(config, home)
    market = training_market(config, prices, split_of(config, prices))
    assert market.cross_fit
    days = torch.cat([market.transitions.draw_holdings(draw, 64)[1] for draw in range(60)], dim=1)
    first, last = market.decisions
    middle = (first + last) / 2
    assert days[0].min() == first
    assert days[0].max() < middle < days[1].min()
    assert days[1].max() == last
    for seed in (0, 1):
        low, high = market.learning_days(seed)
        assert (days[seed].min(), days[seed].max()) == (low, high)


def test_an_even_seed_does_not_know_the_second_half(home: Path) -> None:
    config = settings(0.05, home)
    prices = prices_of(config, home)
    split = split_of(config, prices)
    market = training_market(config, prices, split)
    # The reward of a decision needs the fill of the next one.
    known = market.learning_days(0)[1] + 2
    frames = {name: values.copy() for name, values in prices.fields.items()}
    for values in frames.values():
        values.iloc[known + 1 :] *= 1.5 + np.random.default_rng(0).random(values.iloc[known + 1 :].shape)
    changed = replace(prices, fields=frames)
    policies = []
    for panel in (prices, changed):
        other = training_market(config, panel, split)
        agent = train(other, config.learner, seeds=[0, 1], steps=5).agent
        policies.append([parameter[0].clone() for parameter in agent.actor.parameters()])
    for before, after in zip(*policies, strict=True):
        assert torch.equal(before, after)


def test_a_planted_signal_is_traded_at_a_size_that_earned(home: Path, found: Run) -> None:
    (record,) = found.manifest["sizing"]
    sizing = Sizing.from_record(record)
    assert not sizing.holds_base
    assert sizing.gain > 3 * sizing.error
    split = found.manifest["split"]
    prices = prices_of(stored_config(found.path), home)
    market = training_market(stored_config(found.path), prices, recorded_dates(split))
    decisions, embargo = market.decisions[1] - market.decisions[0] + 1, 5
    validation = len(prices.between(*split["validation"]).dates)
    # Each range ends two sessions before its last one, whose outcome is beyond it.
    assert sizing.sessions == decisions // 2 * 2 - 2 * embargo + validation - 3 * 2
    policy = load_policy(found.path)
    assert (policy.sizing, policy.holds_base) == (sizing, False)
    assert sizing_sentence(found.manifest).startswith(
        "On dates new to the seeds, their active weights earned more"
    )
    assert ensemble_sentences(found.manifest) == verdict(found.metrics or {}).agreement


def test_the_ensemble_trades_faster_with_a_larger_size(found: Run, home: Path) -> None:
    policy = load_policy(found.path)
    prices = prices_of(stored_config(found.path), home)
    start, end = found.manifest["split"]["validation"]
    own = policy.agent, replace(policy.config, no_trade_band=0.0), policy.costs, policy.symbols
    paths = {
        pace: AgentPolicy(*own, None, Sizing(*pace, 1.0, 1.0, 9)).rollout(prices, start, end)
        for pace in ((1.0, 1.0), (2.0, 1.0), (1.0, 0.25))
    }
    plain = AgentPolicy(*own).rollout(prices, start, end)
    np.testing.assert_allclose(paths[1.0, 1.0].per_seed, plain.per_seed, atol=1e-12)
    departure = {pace: np.abs(path.active).sum() for pace, path in paths.items()}
    assert departure[2.0, 1.0] > 1.2 * departure[1.0, 1.0]
    # Without the purchases of the first day, when the account is in cash.
    turnover = {pace: path.seed_results.turnover[10:].to_numpy().sum() for pace, path in paths.items()}
    assert turnover[1.0, 0.25] < 0.7 * turnover[1.0, 1.0]


def test_only_agents_that_may_treat_assets_differently_have_sizes_of_assets(home: Path, found: Run) -> None:
    config = stored_config(found.path)
    prices = prices_of(config, home)
    split = recorded_dates(found.manifest["split"])
    market, policy = training_market(config, prices, split), load_policy(found.path)
    plain = policy.agent, policy.config, policy.costs, policy.symbols
    sizing = choose_sizing(AgentPolicy(*plain), market, split)
    assert sizing is not None
    exact = SAC(policy.agent.symmetry, policy.agent.config.replace(agent="exact"), policy.seeds)
    alike = choose_sizing(AgentPolicy(exact, *plain[1:]), market, split)
    assert alike is not None
    assert alike.by_asset is None
    start, end = split.validation or split.train
    paces = [replace(sizing, size=1.0, by_asset=sizes) for sizes in (None, (0.25, 1.0, 1.0, 1.0, 1.0, 2.0))]
    alike_moves, own_moves = (
        np.abs(AgentPolicy(*plain, None, pace).rollout(prices, start, end).active).mean(axis=(0, 1))
        for pace in paces
    )
    ratio = own_moves / alike_moves
    assert ratio[5] > 1.2 * ratio[0]


def test_without_a_signal_the_base_is_held(home: Path) -> None:
    run, _ = train_run(settings(0.0, home, **{"training.agreement": 0.0}), home=home, name="nothing")
    (record,) = run.manifest["sizing"]
    assert (record["size"], record["speed"]) == (0.0, 1.0)
    policy = load_policy(run.path)
    assert policy.holds_base
    assert "no size of their active weights earned clearly more than the base" in sizing_sentence(
        run.manifest
    )
    prices = prices_of(stored_config(run.path), home)
    path = policy.rollout(prices, *run.manifest["split"]["validation"])
    np.testing.assert_allclose(path.ensemble.dropna().to_numpy(), 1 / 6, atol=1e-9)
    assert seed_agreement(path.active).correlation is not None  # the seeds themselves are active


def test_cross_fitting_needs_a_base_made_transitions_and_two_kinds_of_seeds(home: Path) -> None:
    assert settings(0.05, home).cross_fits
    for change in (
        {"training.cross_fit": False},
        {"training.seeds": 1},
        {"market.actions": "long-only"},
        {"sac.transitions": "stored", "sac.row_values": False},
    ):
        assert not settings(0.05, home, **change).cross_fits


def test_runs_of_before_are_not_cross_fitted(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[training]\nseeds = 4\n", encoding="utf-8")
    assert not stored_config(tmp_path).training.cross_fit
