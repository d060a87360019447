"""Runs whose symmetry exchanges assets of a sector only: trained, stored, loaded and backtested."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import DataError
from tests.trading_app.experiments.test_policies import tiny_run
from trading_app.experiments.config import load_config
from trading_app.experiments.equivariance import load_equivariance, relaxed_weights
from trading_app.experiments.out_of_sample import backtest_run
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import prices_of
from trading_app.market.config import MarketConfig
from trading_app.market.limits import Limits
from trading_app.runs.run import Run

SECTORS = {"MTUM": "momentum", "QUAL": "style", "SIZE": "style", "USMV": "style", "VLUE": "style"}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sectors") / "sectors.csv"
    path.write_text("symbol,group\n" + "".join(f"{symbol},{group}\n" for symbol, group in SECTORS.items()))
    return path


def run_with(home: Path, file: Path, **changes: object) -> Run:
    return tiny_run(home, **{"market.exchange": "sectors", "market.sector_file": str(file), **changes})


@pytest.mark.parametrize(
    ("agent", "over"), [("exact", "assets"), ("relaxed", "assets"), ("relaxed", "sectors")]
)
def test_runs_with_sectors_train_and_backtest(tmp_path: Path, file: Path, agent: str, over: str) -> None:
    run = run_with(tmp_path, file, **{"sac.agent": agent, "sac.relax_over": over})
    policy = load_policy(run.path)
    assert policy.agent.symmetry.sectors == tuple(int(s == "style") for s in SECTORS.values())
    saved = backtest_run(run, home=tmp_path)
    assert np.isfinite(saved.equity["agent"]).all()
    errors = load_equivariance(run)["errors"]["exchange"]["policy"]["maximum"]
    assert agent == "relaxed" or max(errors) < 1e-4
    if agent == "relaxed":
        weights = relaxed_weights(run)
        assert weights.layers["actor lifting"].shape[3] == len(SECTORS)


def test_policy_exchanges_assets_of_a_sector_alone(tmp_path: Path, file: Path) -> None:
    run = run_with(tmp_path, file, **{"sac.agent": "exact", "training.steps": 40})
    policy = load_policy(run.path)
    market = policy.market(prices_of(load_config(None, {}, {"data.name": "factors-5"}), tmp_path), 400)
    observation = torch.tensor([500.0, 0.2, 0.1, 0.3, 0.2, 0.2]).expand(2, 1, 6)
    x = market.encode(observation)
    act = policy.agent.act(x, deterministic=True)
    for order, equal in (([0, 2, 3, 4, 1], True), ([1, 0, 2, 3, 4], False)):
        apart = (policy.agent.act(x[:, :, order], deterministic=True) - act[..., order]).abs().max()
        assert (float(apart) < 1e-5) is equal


def test_sectors_come_from_the_limits_groups_or_a_file(file: Path) -> None:
    config = load_config(None, {}, {"market.exchange": "sectors", "market.sector_file": str(file)})
    assert config.market.sector_numbers(tuple(SECTORS)) == (0, 1, 1, 1, 1)
    grouped = MarketConfig(exchange="sectors", limits=Limits(groups=SECTORS))
    assert grouped.sector_numbers(("SIZE", "MTUM")) == (1, 0)
    assert MarketConfig(limits=Limits(groups=SECTORS)).sector_numbers(("SIZE",)) is None
    with pytest.raises(DataError, match=r"market\.exchange is 'sectors': name the sectors"):
        MarketConfig(exchange="sectors")
    with pytest.raises(DataError, match="XYZ has no sector"):
        grouped.sector_numbers(("SIZE", "XYZ"))
