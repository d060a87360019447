"""Attacks pass on what is sound, and fail where a fault is put in."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from data.features import FEATURES, Feature
from data.loading import load_prices
from data.prices import Prices
from data.signals.values import Signals
from tests.trading_app.experiments.test_policies import tiny_run
from trading_app.attack.attack import attack_data, attack_run
from trading_app.attack.findings import Attack
from trading_app.attack.prices import mirrored_prices, permuted_prices, placebo_prices, rescaled_prices
from trading_app.attack.skill import placebo_attack, planted_attack
from trading_app.backtesting.policies import AgentPolicy
from trading_app.cli.attack import app
from trading_app.experiments.config import load_config
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market
from trading_app.runs.run import Run

LONG_SHORT = MarketConfig(window=4, features=("ret_1", "abs_ret"))


@cache
def market() -> Prices:
    return load_prices("factors-5").between("2015-01-01", "2016-12-30")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def run_of(home: Path, agent: str, **changes: object) -> Run:
    # Few test dates, so that an attack takes a second.
    split = {"split.train": 0.85, "split.validation": 0.1, "split.test": 0.05}
    settings = {
        "sac.agent": agent,
        "sac.relaxation": "free",
        "training.steps": 30,
        "training.cross_fit": False,
    }
    return tiny_run(home, **{**settings, **split, **changes})


@pytest.fixture(scope="module")
def exact(home: Path) -> Run:
    return run_of(home, "exact")


def by_name(attacks: tuple[Attack, ...]) -> dict[str, Attack]:
    return {attack.name: attack for attack in attacks}


def test_an_exact_agent_passes_every_attack(exact: Run, home: Path) -> None:
    report = attack_run(exact, home, draws=1)
    assert [attack.name for attack in report.attacks] == [
        "placebo",
        "planted",
        "permuted",
        "mirrored",
        "rescaled",
    ]
    assert report.passed, [attack for attack in report.attacks if not attack.passed]
    for name in ("permuted", "mirrored", "rescaled"):
        assert by_name(report.attacks)[name].figures["largest"] <= 1e-5
    assert json.loads(json.dumps(report.to_dict()))["passed"] is True


@pytest.mark.parametrize("actions", ["tilt", "long-short"])
def test_asymmetry_of_a_relaxed_agent_is_measured(home: Path, actions: str) -> None:
    run = run_of(home, "relaxed", **{"market.actions": actions, "sac.relaxed_lr_multiplier": 100.0})
    found = by_name(attack_run(run, home, draws=1).attacks)
    for name in ("permuted", "mirrored"):
        assert found[name].verdict == "measured"
        assert found[name].figures["largest"] > 1e-6
        assert "asymmetry (relaxed)" in found[name].found
    assert found["rescaled"].passed


def test_faults_in_a_policy_are_found(exact: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = AgentPolicy.actions

    def by_place(policy: AgentPolicy, market: Market, day: int, held: Tensor) -> Tensor:
        return honest(policy, market, day, held) + torch.linspace(0, 0.1, held.shape[-1])

    def by_price(policy: AgentPolicy, market: Market, day: int, held: Tensor) -> Tensor:
        return torch.from_numpy(market.panel.close[day] / 1000).expand(held.shape).float().tanh()

    for fault, failed in ((by_place, {"permuted", "mirrored"}), (by_price, {"rescaled", "mirrored"})):
        monkeypatch.setattr(AgentPolicy, "actions", fault)
        report = attack_run(exact, home, draws=1)
        assert failed <= {attack.name for attack in report.attacks if attack.passed is False}
        assert not report.passed


def test_a_policy_that_sees_the_next_return_fails_on_placebo_prices() -> None:
    prices = market()
    period = (prices.dates[120], prices.dates[-1])

    def peek(fake: Prices, start: pd.Timestamp, end: pd.Timestamp) -> dict[str, np.ndarray]:
        moves = np.sign(np.log(fake.close).diff().shift(-2).fillna(0.0)).loc[start:end] / 5
        return {"peek": moves.to_numpy()[None]}

    attack = placebo_attack(peek, prices, LONG_SHORT, CostModel(), period, 1)
    assert attack.passed is False
    assert attack.figures["t"] > 3


@pytest.mark.parametrize("actions", ["tilt", "long-short", "long-only"])
def test_the_planted_signal_is_found_unless_costs_eat_it(actions: str) -> None:
    prices, config = market(), MarketConfig(actions=actions, window=4)
    period = (prices.dates[120], prices.dates[-1])
    assert planted_attack(prices, config, CostModel(), period, 2).passed
    assert not planted_attack(prices, config, CostModel(half_spread_bps=500), period, 1).passed


def test_data_and_own_signals_pass_and_a_wrong_parity_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(None, {}, {"data.name": "factors-5", "data.start": "2020-01-01", "market.window": 4})
    report = attack_data(config, tmp_path, draws=1)
    assert report.passed, [attack for attack in report.attacks if not attack.passed]
    wrong = Feature("ret_1", 1, FEATURES["ret_1"].history, FEATURES["ret_1"].function)
    monkeypatch.setitem(FEATURES, "ret_1", wrong)
    found = by_name(attack_data(config, tmp_path, draws=1).attacks)
    assert found["mirrored"].passed is False
    assert "ret_1" in found["mirrored"].found


def test_changed_prices_are_what_they_say() -> None:
    values = np.random.default_rng(0).normal(size=(len(market().dates), 5, 2))
    own = Signals("own", market().dates, market().symbols, {"up": -1, "size": 1}, values, 0, 5)
    prices = market().with_signals([own])
    order = [4, 2, 0, 1, 3]
    permuted = permuted_prices(prices, order)
    np.testing.assert_array_equal(permuted.close.to_numpy(), prices.close.to_numpy()[:, order])
    np.testing.assert_array_equal(permuted.signals[0].values, prices.signals[0].values[:, order])
    mirrored = mirrored_prices(prices)
    returns = np.log(prices.adjusted("close")).diff().to_numpy()[1:]
    np.testing.assert_allclose(np.log(mirrored.close).diff().to_numpy()[1:], -returns, atol=1e-12)
    np.testing.assert_array_equal(mirrored.signals[0].values, prices.signals[0].values * [-1, 1])
    factors = np.array([0.1, 2, 3, 40, 5])
    rescaled = np.log(rescaled_prices(prices, factors).adjusted("close")).diff().to_numpy()[1:]
    np.testing.assert_allclose(rescaled, returns, atol=1e-12)


def test_placebo_prices_have_the_sessions_moves_without_their_signs_and_order() -> None:
    gaps = market().close.copy()
    gaps.iloc[50:60, 2] = np.nan
    prices = Prices.from_frames("gaps", close=gaps)
    fake = placebo_prices(prices, np.random.default_rng(0))
    assert np.isnan(fake.close.to_numpy()).sum() == 10
    sizes, fakes = (np.sort(np.abs(panel.close.iloc[:, 0].pct_change().dropna())) for panel in (prices, fake))
    np.testing.assert_allclose(sizes, fakes, atol=1e-12)
    assert not np.allclose(prices.close.iloc[-1], fake.close.iloc[-1])
    many = [placebo_prices(market(), np.random.default_rng(k)).adjusted("close") for k in range(50)]
    growth = np.array([one.iloc[-1].to_numpy() / one.iloc[0].to_numpy() for one in many])
    assert (abs(growth.mean(0) - 1) < 4 * growth.std(0) / 7).all()


def test_command_prints_a_table_or_json_and_fails_with_code_1(
    exact: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [exact.name, "--home", str(home), "--draws", "1"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "permuted" in done.output
    assert "no attack failed" in done.output
    monkeypatch.setattr("trading_app.attack.symmetry.TOLERANCE", -1.0)
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert document["passed"] is False
    assert [a["passed"] for a in document["attacks"]][2:] == [False, False, False]
