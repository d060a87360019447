"""`PortfolioEnv` as Gymnasium and its users expect it, and equal to `Market` in what it computes."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from data.errors import DataError
from data.prices import Prices
from trading_app.envs.portfolio import PortfolioEnv
from trading_app.envs.registration import ENV_ID, make_vec, register
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market

SMALL = {"window": 4, "features": ("ret_1", "abs_ret")}


@pytest.fixture(scope="module")
def prices() -> Prices:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2019-01-01", periods=140, name="date")
    names = ["A", "B", "C"]
    steps = 0.02 * rng.normal(size=(2, 140, 3))
    opens = 20 * np.exp(np.cumsum(steps.sum(0), axis=0) - steps[1])
    return Prices.from_frames(
        "random",
        open=pd.DataFrame(opens, dates, names),
        close=pd.DataFrame(opens * np.exp(steps[1]), dates, names),
    )


@pytest.mark.parametrize("kind", ["long-short", "long-only"])
def test_the_checker_of_gymnasium_is_content(prices: Prices, kind: str) -> None:
    register()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Returns have no bound, which the checker would rather have.
        warnings.filterwarnings("ignore", message=".*(minimum|maximum) value is (-)?infinity.*")
        made = gymnasium.make(
            ENV_ID, data=prices, actions=kind, episode_length=10, render_mode="ansi", **SMALL
        )
        check_env(made.unwrapped)


def test_gymnasium_makes_it_by_name(prices: Prices) -> None:
    register()
    env = gymnasium.make(ENV_ID, data=prices, **SMALL)
    observation, info = env.reset(seed=3)
    assert observation.shape == env.observation_space.shape == (3, 4 * 2 + 1 + 5 + 1)
    assert info["nav"] == 1.0
    vector = gymnasium.make_vec(
        ENV_ID, num_envs=4, vectorization_mode="vector_entry_point", data=prices, **SMALL
    )
    assert vector.reset(seed=0)[0].shape == (4, 3, 15)


def test_bundled_prices_by_name() -> None:
    env = PortfolioEnv("factors-5", episode_length=3)
    observation, _ = env.reset(seed=0)
    assert observation.shape[0] == 5
    assert np.isfinite(observation).all()


@pytest.mark.parametrize("reward", ["log", "differential-sharpe"])
@pytest.mark.parametrize("kind", ["long-short", "long-only"])
@pytest.mark.parametrize("fill", ["next_open", "next_close"])
def test_it_computes_what_the_market_computes(prices: Prices, fill: str, kind: str, reward: str) -> None:
    config = MarketConfig(fill=fill, actions=kind, episode_length=None, reward=reward, **SMALL)
    costs = CostModel(risk_free=0.02, borrow_bps=400)
    env = PortfolioEnv(prices, config=config, costs=costs)
    market = Market(prices, config=config, costs=costs, dtype=torch.float64)
    ours, _ = env.reset(options={"start": prices.dates[market.decisions[0]]})
    theirs = market.reset()
    rng = np.random.default_rng(0)
    for _ in range(market.episode_length - 1):
        np.testing.assert_allclose(ours, market.encode(theirs)[0, 0].numpy(), atol=1e-6)
        action = rng.uniform(-1, 1, 3)
        ours, reward_, terminated, truncated, info = env.step(action)
        theirs, expected, *_ = market.step(torch.from_numpy(action)[None, None])
        assert reward_ == pytest.approx(expected.item(), rel=1e-5, abs=1e-8)
        assert info["nav"] == pytest.approx(market.nav.item(), rel=1e-10)
        assert not terminated
        assert not truncated
    assert env.step(action)[3]


def test_seeds_repeat_episodes_and_differ(prices: Prices) -> None:
    env = PortfolioEnv(prices, episode_length=5, **SMALL)
    days = [
        [env.reset(seed=seed)[1]["day"], *[env.reset()[1]["day"] for _ in range(5)]] for seed in (1, 1, 2)
    ]
    assert days[0] == days[1]
    assert days[0] != days[2]


def test_observations_belong_to_the_caller(prices: Prices) -> None:
    env = PortfolioEnv(prices, **SMALL)
    first, _ = env.reset(seed=0)
    copy = first.copy()
    env.step(env.action_space.sample())
    np.testing.assert_array_equal(first, copy)


def test_an_episode_that_is_over_has_to_be_reset(prices: Prices) -> None:
    env = PortfolioEnv(prices, episode_length=2, **SMALL)
    with pytest.raises(DataError, match="reset"):
        env.step(np.zeros(3))
    env.reset(seed=0)
    assert not env.step(np.zeros(3))[3]
    assert env.step(np.zeros(3))[3]
    with pytest.raises(DataError, match="reset"):
        env.step(np.zeros(3))


def test_text_rendering_names_day_value_and_holdings(prices: Prices) -> None:
    env = PortfolioEnv(prices, render_mode="ansi", **SMALL)
    assert env.render() is None
    env.reset(seed=0)
    assert env.render().endswith("value 1.0000: cash")
    env.step(np.ones(3, dtype=np.float32))
    assert "A +" in env.render()


def test_the_vector_environment_restarts_within_the_step(prices: Prices) -> None:
    env = make_vec(6, data=prices, episode_length=3, **SMALL)
    first, _ = env.reset(seed=1)
    again, _ = env.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    for step in range(1, 7):
        observation, reward, terminated, truncated, infos = env.step(env.action_space.sample())
        assert observation.shape == (6, 3, 15)
        assert reward.shape == (6,)
        assert not terminated.any()
        assert truncated.all() == (step % 3 == 0)
        assert ("final_obs" in infos) == (step % 3 == 0)
    assert np.abs(infos["final_obs"][2][:, 8]).sum() > 0  # what it ended on holds positions
    assert (observation[:, :, 8] == 0).all()  # what it begins with is cash


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbols": ["A", "Z"]}, "Z"),
        ({"start": "2035-01-01"}, "session"),
        ({"widow": 4}, "widow"),
        ({"fill": "yesterday"}, "fill"),
        ({"render_mode": "human"}, "render_mode"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(prices: Prices, options: dict, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        PortfolioEnv(prices, **{**SMALL, **options})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("start", ["2019-01-05", "2019-01-02", "tomorrow-ish"])
def test_an_episode_cannot_begin_out_of_range(prices: Prices, start: str) -> None:
    with pytest.raises(DataError, match="start"):
        PortfolioEnv(prices, **SMALL).reset(options={"start": start})


def test_sac_of_stable_baselines_trains_in_it(prices: Prices) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    model = sb3.SAC(
        "MlpPolicy",
        PortfolioEnv(prices, episode_length=20, **SMALL),
        learning_starts=50,
        batch_size=32,
        policy_kwargs={"net_arch": [16, 16]},
        device="cpu",
        seed=0,
    )
    model.learn(500)
    assert model.num_timesteps == 500
