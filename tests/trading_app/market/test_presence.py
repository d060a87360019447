"""Assets that are not available: the decisions for the others do not depend on them, in any part of an observation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.prices import Prices
from rl_core.config import SACConfig
from rl_core.sac import SAC
from tests.trading_app.market.test_env import config, random_prices
from trading_app.backtesting.policies import AgentPolicy
from trading_app.envs.portfolio import PortfolioEnv
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market

GONE, LEFT, DAY = 2, 76, 140
OTHERS = [0, 1, 3, 4]
HELD = np.array([0.1, 0.3, 0.15, 0.2, 0.05])
SETTINGS = {"delist_after": 5, "reward": "active", "benchmark": "equal-weight"}


def prices_with(gone: str, seed: int | None = None) -> tuple[Prices, MarketConfig]:
    """Prices of five assets, of which one has left or is suspended on `DAY`; with a seed, it has other prices since."""
    prices = random_prices(assets=5)
    frames = {name: frame.copy() for name, frame in prices.fields.items()}
    if seed is not None:
        other = random_prices(seed, assets=5)
        for name, frame in frames.items():
            frame.iloc[LEFT:, GONE] = other.fields[name].iloc[LEFT:, GONE]
    settings = config(**SETTINGS)
    if gone == "not a member":
        times = dict.fromkeys(prices.symbols, ("2000-01-01/",))
        first = prices.dates[0].date()
        times[prices.symbols[GONE]] = (f"{first}/{prices.dates[69].date()}",)
        settings = replace(settings, members=times)
    elif gone == "suspended":
        frames["volume"].iloc[70:, GONE] = 0.0
    else:
        for frame in frames.values():
            frame.iloc[: DAY + 5, GONE] = np.nan
    return Prices.from_frames("prices", **frames), settings


def some_policy(kind: str, prices: Prices, settings: MarketConfig) -> AgentPolicy:
    symmetry = Market(prices, config=settings).symmetry
    agent = SAC(symmetry, SACConfig.from_dict({"agent": kind, "width": 16}), (0, 1))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        agent.flat.values.add_(0.2 * torch.randn(agent.flat.values.shape, generator=generator))
    return AgentPolicy(agent, settings, CostModel(), prices.symbols)


def actions(policy: AgentPolicy, prices: Prices, held: np.ndarray) -> np.ndarray:
    market = policy.market(prices, DAY - 2)
    weights = torch.as_tensor(held).expand(2, 1, -1)
    return policy.actions(market, DAY, weights)[:, 0].numpy()


@pytest.mark.parametrize("gone", ["not a member", "suspended", "not listed"])
@pytest.mark.parametrize("kind", ["exact", "relaxed"])
@pytest.mark.parametrize("acting", ["tilt", "long-short"])
def test_others_are_decided_as_if_it_did_not_exist(gone: str, kind: str, acting: str) -> None:
    prices, settings = prices_with(gone)
    settings = replace(settings, actions=acting)
    policy, held = some_policy(kind, prices, settings), HELD.copy()
    found = actions(policy, prices, held)
    assert np.abs(found[:, OTHERS]).min() > 1e-3
    assert (found[:, GONE] == 0).all()

    held[GONE] = 0.7
    np.testing.assert_allclose(actions(policy, prices_with(gone, seed=5)[0], held), found, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["exact", "relaxed"])
def test_an_asset_that_never_belonged_may_as_well_be_left_out(kind: str) -> None:
    prices, settings = prices_with("not a member")
    times = dict(settings.members or {})
    times.pop(prices.symbols[GONE])
    settings = replace(settings, members=times, actions="tilt")
    policy, held = some_policy(kind, prices, settings), HELD.copy()
    fewer = tuple(prices.symbols[place] for place in OTHERS)
    alone = actions(policy.on_symbols(fewer), prices.select(list(fewer)), held[OTHERS])
    np.testing.assert_allclose(actions(policy, prices, held)[:, OTHERS], alone, atol=1e-6, rtol=0)


def test_environment_and_market_encode_the_same() -> None:
    prices, settings = prices_with("not a member")
    settings = replace(settings, actions="tilt")
    market, env = Market(prices, config=settings), PortfolioEnv(prices, config=settings)
    observation, info = env.reset(options={"start": prices.dates[DAY]})
    for _ in range(2):
        compact = torch.as_tensor(np.append(info["day"], info["weights"]))[None, None].float()
        seen = market.encode(compact)[0, 0].numpy()
        np.testing.assert_allclose(observation, seen, atol=1e-6)
        assert (seen[GONE] == 0).all()
        assert seen[:, -1].tolist() == [1, 1, 0, 1, 1]
        market.pin(int(info["day"]))
        np.testing.assert_allclose(market.encode(compact)[0, 0].numpy(), seen)
        market._pinned = None
        observation, _, _, _, info = env.step(np.full(5, 0.3, dtype=np.float32))


def test_rewards_of_assets_are_those_of_the_available_ones() -> None:
    prices, settings = prices_with("not a member")
    market = Market(prices, config=replace(settings, actions="tilt"), seeds=(0, 1))
    made = market.make_transitions(lambda x: torch.full(x.shape[:3], 0.1), 0, 64, discount=0.9)
    present = made.observation[..., -1]
    assert 0 < float(present.mean()) < 1
    assert (made.reward[present == 0] == 0).all()
    assert (made.reward[present == 1] != 0).all()


def test_without_absent_assets_nothing_is_added() -> None:
    """Days outside the range do not matter, nor does an asset that ends after it."""
    prices, settings = prices_with("not a member")
    market = Market(prices, config=settings, end=prices.dates[68])
    assert market.encoder.presence is None
    assert market.encoder.size == len(market.encoder.parity)
