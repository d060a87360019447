"""No look-ahead: whatever happens after day t changes nothing that was seen, decided or traded up to t."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.envs.portfolio import PortfolioEnv
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market

SESSIONS, ASSETS = 130, 3
COSTS = CostModel(impact_coefficient=0.05, borrow_bps=200, risk_free=0.01)
CONFIG = MarketConfig(window=4, features=("ret_1", "ret_21", "abs_ret"), episode_length=None)


def whole() -> Prices:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2019-01-01", periods=SESSIONS, name="date")
    names = [f"S{i}" for i in range(ASSETS)]
    steps = 0.02 * rng.normal(size=(2, SESSIONS, ASSETS))
    opens = 20 * np.exp(np.cumsum(steps.sum(0), axis=0) - steps[1])
    closes = opens * np.exp(steps[1])
    frames = {
        "open": opens,
        "close": closes,
        "adj_close": closes * 0.9,
        "volume": np.exp(rng.normal(10, 1, size=closes.shape)),
    }
    return Prices.from_frames("whole", **{key: pd.DataFrame(x, dates, names) for key, x in frames.items()})


def perturbed(prices: Prices, day: int, seed: int, lose: bool) -> Prices:
    """The same up to and including `day`; other prices, volumes and adjustments, even no prices, after it."""
    rng = np.random.default_rng(seed)
    frames = {}
    for name, frame in prices.fields.items():
        values = frame.to_numpy().copy()
        values[day + 1 :] *= np.exp(rng.normal(0, 0.5, size=values[day + 1 :].shape))
        if lose:
            values[day + 1 :, 0] = np.nan
        frames[name] = pd.DataFrame(values, prices.dates, list(prices.symbols))
    return Prices.from_frames("other future", **frames)


# Accounts that the costs of a fill with untraded positions ruin.
@example(day=120, seed=2, lose=True, fill="next_close", sparse=False)
@example(day=120, seed=5, lose=True, fill="next_open", sparse=False)
@settings(max_examples=20, deadline=None)
@given(
    day=st.integers(80, SESSIONS - 4),
    seed=st.integers(0, 10**6),
    lose=st.booleans(),
    fill=st.sampled_from(["next_open", "next_close"]),
    sparse=st.booleans(),
)
def test_the_backtest_up_to_a_day_does_not_know_the_next(
    day: int, seed: int, lose: bool, fill: str, sparse: bool
) -> None:
    prices = whole()
    other = perturbed(prices, day, seed, lose)
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(SESSIONS, ASSETS)) / ASSETS
    if sparse:
        weights[rng.random(SESSIONS) < 0.7] = np.nan
    one, two = (backtest(p, weights, costs=COSTS, fill=fill) for p in (prices, other))
    # Other days to come may group the same sums and products differently: one rounding a session.
    rounding = SESSIONS * np.finfo(np.float64).eps
    np.testing.assert_allclose(one.nav[: day + 1], two.nav[: day + 1], rtol=rounding)
    assert one.weights.iloc[: day + 1].equals(two.weights.iloc[: day + 1])
    assert one.costs.iloc[: day + 1].equals(two.costs.iloc[: day + 1])
    until = prices.dates[day]
    pd.testing.assert_frame_equal(
        one.trades[one.trades["date"] <= until], two.trades[two.trades["date"] <= until]
    )


def with_presence(rows: np.ndarray) -> np.ndarray:
    """Observations with the presence of assets, which is left out where all are available on all days."""
    whole = CONFIG.window * 3 + 8
    ones = np.ones((len(rows), whole - rows.shape[1]), rows.dtype)
    return np.concatenate([rows, ones], axis=1)


def decide(rows: np.ndarray) -> np.ndarray:
    """A policy that looks at everything it is shown [N, d] → [N]."""
    mixer = np.random.default_rng(1).normal(size=rows.shape[-1])
    return np.tanh(rows @ mixer)


@settings(max_examples=10, deadline=None)
@given(
    day=st.integers(85, SESSIONS - 4),
    seed=st.integers(0, 10**6),
    lose=st.booleans(),
    fill=st.sampled_from(["next_open", "next_close"]),
    kind=st.sampled_from(["long-short", "long-only"]),
)
def test_what_an_agent_sees_and_decides_up_to_a_day_does_not_know_the_next(
    day: int, seed: int, lose: bool, fill: str, kind: str
) -> None:
    prices = whole()
    other = perturbed(prices, day, seed, lose)
    seen: list[list[np.ndarray]] = []
    for panel in (prices, other):
        config = MarketConfig(
            window=4, features=CONFIG.features, episode_length=None, fill=fill, actions=kind
        )
        market = Market(panel, config=config, costs=COSTS, dtype=torch.float64)
        observation = market.reset()
        record = []
        for _ in range(int(observation[0, 0, 0]), day):
            action = decide(with_presence(market.encode(observation)[0, 0].numpy()))
            record += [observation[0, 0].numpy(), action, market.nav.numpy().copy()]
            record.append(market.targets(torch.from_numpy(action), int(observation[0, 0, 0])).numpy())
            # The last step reaches the close of `day`; what the next fill does to the account comes after it.
            observation = market.step(torch.from_numpy(action)[None, None]).final_observation
        rows = with_presence(market.encode(observation)[0, 0].numpy())
        record += [observation[0, 0].numpy(), rows, decide(rows)]
        seen.append(record)
    assert len(seen[0]) == len(seen[1]) > 0
    for one, two in zip(*seen, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("day", [90, 120])
def test_the_gymnasium_environment_does_not_know_the_next_day(day: int) -> None:
    prices = whole()
    runs = []
    for panel in (prices, perturbed(prices, day, 5, lose=True)):
        env = PortfolioEnv(panel, config=CONFIG, costs=COSTS)
        observation, info = env.reset(options={"start": prices.dates[80]})
        record = []
        while info["day"] <= day:
            observation = with_presence(observation)
            record += [observation, info["weights"], info["nav"]]
            observation, _, _, _, info = env.step(decide(observation))
        runs.append(record)
    for one, two in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_test_would_find_a_leak() -> None:
    prices = whole()
    other = perturbed(prices, 100, 3, lose=False)
    weights = np.sign(np.diff(prices.close.to_numpy(), axis=0, append=0)) / ASSETS  # tomorrow's move
    cheat = [
        backtest(p, np.sign(np.diff(p.close.to_numpy(), axis=0, append=0)) / ASSETS).weights.to_numpy()[101]
        for p in (prices, other)
    ]
    assert not np.array_equal(cheat[0], cheat[1])
    assert weights.shape == (SESSIONS, ASSETS)
