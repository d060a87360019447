"""A universe that changes: symbols have weight only while they belong, and no decision knows later members."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import DataError
from data.loading import load_prices
from data.membership import Membership, read_membership
from data.prices import Prices
from tests.trading_app.experiments.test_policies import tiny_run
from trading_app.backtesting.baselines import Terms
from trading_app.envs.portfolio import PortfolioEnv
from trading_app.experiments.config import load_config, stored_config
from trading_app.experiments.out_of_sample import baseline_weights
from trading_app.experiments.policies import load_policy
from trading_app.market.config import MarketConfig
from trading_app.market.env import Market

FILE = """symbol,from,to
MTUM,2010-01-01,
QUAL,2010-01-01,2022-03-31
SIZE,2010-01-01,2021-12-31
SIZE,2022-06-01,
USMV,2022-02-01,
VLUE,2010-01-01,
"""
START, END = "2021-12-01", "2022-09-30"


def prices() -> Prices:
    return load_prices("factors-5")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("members") / "members.csv"
    path.write_text(FILE)
    return path


def belongs(file: Path, start: str = START, end: str = END) -> np.ndarray:
    cut = prices().between(start, end)
    return read_membership(file).mask(cut.dates, cut.symbols)


def config(file: Path, **changes: object) -> MarketConfig:
    return MarketConfig(members=read_membership(file).times(), window=4, **changes)


def test_times_of_members_are_read_back_and_checked(file: Path) -> None:
    membership = read_membership(file)
    times = membership.times()
    assert times["SIZE"] == ("2010-01-01/2021-12-31", "2022-06-01/")
    again = Membership.from_times(times)
    np.testing.assert_array_equal(
        again.mask(prices().dates, prices().symbols), belongs(file, "2000-01-01", "2030-01-01")
    )
    with pytest.raises(DataError, match="it ends on 2020-01-01, before 2021-01-01"):
        Membership.from_times({"A": ("2021-01-01/2020-01-01",)})
    with pytest.raises(DataError, match="no symbol belongs"):
        prices().with_members(Membership.from_times({"XYZ": ("2000-01-01/",)}))


@pytest.mark.parametrize(
    "settings",
    [
        {"actions": "tilt"},
        {"actions": "tilt", "base": "min-variance"},
        {"actions": "long-short"},
        {"actions": "long-only"},
    ],
)
def test_targets_of_others_are_zero(file: Path, settings: dict[str, str]) -> None:
    market = Market(prices(), config=config(file, **settings), start=START, end=END, dtype=torch.float64)
    first = int(prices().dates.searchsorted(np.datetime64(START)))
    generator = torch.Generator().manual_seed(0)
    for row, own in enumerate(belongs(file)[:-3]):
        action = 2 * torch.rand(1, 1, 5, generator=generator, dtype=torch.float64) - 1
        target = market.targets(action, first + row)[0, 0].numpy()
        assert (target[~own] == 0).all()
        assert (target[own] != 0).any()


def test_baselines_hold_members_alone(file: Path) -> None:
    found, _ = baseline_weights(prices(), START, END, Terms(market=config(file, rebalance=1)))
    own = belongs(file)
    for name in ("equal-weight", "inverse-volatility", "min-variance", "momentum"):
        weights = found[name].to_numpy()
        assert (weights[~own] == 0).all(), name
    np.testing.assert_allclose(found["equal-weight"].to_numpy(), own / own.sum(1, keepdims=True))


def test_a_run_stores_its_members_and_no_decision_knows_later_ones(tmp_path: Path, file: Path) -> None:
    run = tiny_run(
        tmp_path, **{"market.member_file": str(file), "data.start": "2019-01-01", "sac.agent": "exact"}
    )
    assert stored_config(run.path).market.members == read_membership(file).times()
    policy = load_policy(run.path)
    path = policy.rollout(prices(), START, END)
    targets, own = path.per_seed, belongs(file)
    # An asset that has just left may have no order yet; it is never bought.
    assert (np.nan_to_num(targets)[:, ~own] == 0).all()
    changed = {
        symbol: tuple(
            time.replace("2022-03-31", "2022-05-31").replace("2022-06-01", "2022-07-01") for time in times
        )
        for symbol, times in (policy.config.members or {}).items()
    }
    policy.config = replace(policy.config, members=changed)
    other = policy.rollout(prices(), START, END)
    until = int(path.ensemble.index.searchsorted(np.datetime64("2022-04-01")))
    np.testing.assert_array_equal(path.per_seed[:, :until], other.per_seed[:, :until])
    assert not np.array_equal(path.per_seed, other.per_seed, equal_nan=True)
    held = np.full((1, 5), 0.2)
    decided = policy.decide(prices(), "2022-01-14", held)
    assert (decided[:, 0, [2, 3]] == 0).all()


def test_command_line_and_environment_take_a_file(file: Path) -> None:
    settings = load_config(None, {}, {"market.member_file": str(file)})
    assert settings.market.members == read_membership(file).times()
    env = PortfolioEnv("factors-5", config=settings.market, start=START, end=END)
    env.reset(options={"start": "2022-01-14"})
    _, _, _, _, info = env.step(np.zeros(5, dtype=np.float32))
    assert (info["weights"][[2, 3]] == 0).all()
    assert info["weights"].sum() > 0.9
