"""What a run knows of its symmetry: relaxed weights of a checkpoint, equivariance errors kept with the backtest."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from data.prices import Prices
from rl_core.checkpoint import save_agent
from rl_core.config import SACConfig
from rl_core.errors import ConfigError
from rl_core.sac import SAC, load_agent
from rl_core.symmetry.measure import relaxation
from trading_app.backtesting.policies import AgentPolicy
from trading_app.evaluation.market_tests import save_tests, stored_tests
from trading_app.experiments.equivariance import (
    RELAXATION,
    deviations,
    load_equivariance,
    measure_equivariance,
    relaxed_weights,
    save_equivariance,
)
from trading_app.files import RunError
from trading_app.market.costs import CostModel
from trading_app.market.env import Market, MarketConfig

SYMBOLS = ("KO", "GE", "IBM")


def toy_prices(days: int = 90) -> Prices:
    rng = np.random.default_rng(3)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (days, 3)), axis=0))
    return Prices.from_frames(
        "toy", close=pd.DataFrame(close, pd.bdate_range("2021-01-04", periods=days), SYMBOLS)
    )


def policy_of(
    kind: str, *, noise: float = 0.0, mirror: bool = True, rows: bool = False
) -> tuple[AgentPolicy, Prices]:
    prices = toy_prices()
    config = MarketConfig(window=4, mirror=mirror)
    symmetry = Market(prices, config=config, seeds=[4, 7]).symmetry
    settings = SACConfig(
        agent=kind,
        width=8,
        ensemble=2,
        relaxed_noise=noise,
        transitions="made" if rows else "stored",
        row_values=rows,
    )
    agent = SAC(symmetry, settings, [4, 7])
    return AgentPolicy(agent, config, CostModel(), SYMBOLS), prices


def saved(tmp_path: Path, kind: str, **options: float) -> SimpleNamespace:
    policy, _ = policy_of(kind, **options)
    save_agent(policy.agent, tmp_path)
    return SimpleNamespace(path=tmp_path, manifest={}, symbols=list(SYMBOLS), agent=policy.agent)


def measured(kind: str, **options: float) -> dict:
    policy, prices = policy_of(kind, **options)
    return measure_equivariance(policy, policy.rollout(prices, prices.dates[-30]), states=20)


def test_relaxed_weights_are_those_of_the_networks(tmp_path: Path) -> None:
    run = saved(tmp_path, "relaxed", noise=0.2)
    found = relaxed_weights(run)
    agent = load_agent(tmp_path)
    assert (found.seeds, found.symbols, found.elements) == ((4, 7), SYMBOLS, ("identity", "mirror"))
    own = agent.actor.relaxed_weights()["lifting.w"].numpy()
    np.testing.assert_allclose(found.raw("actor lifting"), own, rtol=1e-7)
    np.testing.assert_allclose(
        found.deviation("actor lifting"), relaxation(agent.actor.relaxed_weights())["lifting.w"], rtol=1e-5
    )
    critic = agent.critic.relaxed_weights()["lifting.w"].numpy()
    np.testing.assert_allclose(found.raw("critic lifting")[1], critic[2:].mean(axis=0), rtol=1e-6)


def test_layers_without_rows_have_one(tmp_path: Path) -> None:
    found = relaxed_weights(saved(tmp_path, "relaxed"))
    assert found.layers["critic head"].shape == (2, 2, 2, 1, 2)
    assert found.layers["actor head"].shape == (2, 1, 4, 3, 2)


def test_untrained_layers_are_tied(tmp_path: Path) -> None:
    found = relaxed_weights(saved(tmp_path, "relaxed"))
    for layer in found.layers:
        np.testing.assert_array_equal(found.tied(layer), 1.0)
        np.testing.assert_array_equal(found.deviation(layer), 0.0)


def test_exact_agents_have_no_relaxed_weights(tmp_path: Path) -> None:
    assert relaxed_weights(saved(tmp_path, "exact")).layers == {}


def test_single_weights_are_left_out(tmp_path: Path) -> None:
    found = relaxed_weights(saved(tmp_path, "relaxed", mirror=False))
    assert "critic head" not in found.layers  # one element and no rows
    assert found.elements == ("identity",)


def test_missing_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="run 'walk' has no checkpoint yet"):
        relaxed_weights(SimpleNamespace(name="walk", path=tmp_path, manifest={"folds": [{}, {}]}, symbols=[]))


def test_damaged_checkpoint_names_its_file(tmp_path: Path) -> None:
    run = saved(tmp_path, "relaxed")
    file = next(tmp_path.rglob("agent.safetensors"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"agent\.safetensors: the checkpoint is damaged"):
        relaxed_weights(run)


def test_deviations_are_a_number_a_seed_of_each_layer_that_can_deviate() -> None:
    agent = policy_of("relaxed", noise=0.2)[0].agent
    found = deviations(agent)
    assert {name.removeprefix(RELAXATION).split()[0] for name in found} == {"actor", "critic"}
    assert all(value.shape == (2,) and bool((value > 0).all()) for value in found.values())
    torch.testing.assert_close(
        found["relaxation_actor lifting"], relaxation(agent.actor.relaxed_weights())["lifting.w"]
    )
    assert deviations(policy_of("dense")[0].agent) == {}


@pytest.mark.parametrize("rows", [False, True])
def test_exact_policy_and_critic_have_no_error(rows: bool) -> None:
    document = measured("exact", rows=rows)
    assert set(document["errors"]) == {"mirror", "exchange"}
    for parts in document["errors"].values():
        for error in parts.values():
            assert max(error["maximum"]) < 1e-4
            assert min(error["scale"]) > 0


@pytest.mark.parametrize("kind", ["dense", "relaxed"])
def test_agents_without_symmetry_have_errors(kind: str) -> None:
    document = measured(kind, noise=0.3)
    assert document["seeds"] == [4, 7]
    assert document["states"] == 20
    for parts in document["errors"].values():
        assert min(parts["policy"]["mean"]) > 1e-4
        assert all(
            m <= top for m, top in zip(parts["critic"]["mean"], parts["critic"]["maximum"], strict=True)
        )


def test_errors_are_kept_with_the_run(tmp_path: Path) -> None:
    run = SimpleNamespace(path=tmp_path)
    assert load_equivariance(run) is None
    document = measured("relaxed")
    save_equivariance(run, document)
    assert load_equivariance(run) == json.loads(json.dumps(document))


def test_tests_of_the_market_are_kept_by_the_hash_of_prices(tmp_path: Path) -> None:
    assert stored_tests(tmp_path) == []
    one = {"schema": 1, "hash": "a" * 64, "created_at": "2024-01-01", "tests": []}
    save_tests(tmp_path, one)
    save_tests(tmp_path, {**one, "hash": "b" * 64, "created_at": "2024-02-01"})
    path = save_tests(tmp_path, {**one, "created_at": "2024-01-05"})
    assert [d["created_at"] for d in stored_tests(tmp_path)] == ["2024-02-01", "2024-01-05"]
    path.write_text("{")
    assert [d["hash"][0] for d in stored_tests(tmp_path)] == ["b"]
