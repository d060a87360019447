"""The market: it agrees with the backtest, resumes bit for bit, is symmetric where it says so, and ends episodes."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import DataError
from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.market.accounts import AccountRules
from trading_app.market.actions import target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market

FEATURES = ("ret_1", "ret_5", "abs_ret")
RATES = {"2019-01-01": 0.02, "2019-05-15": 0.08, "2019-06-20": -0.01}
COSTS = CostModel(borrow_bps=300, risk_free_rates=RATES, impact_coefficient=0.05)


def random_prices(seed: int = 0, sessions: int = 160, assets: int = 4, volatility: float = 0.02) -> Prices:
    rng = np.random.default_rng(seed)
    dates = pd.bdate_range("2019-01-01", periods=sessions, name="date")
    names = [f"S{i}" for i in range(assets)]
    steps = volatility * rng.normal(size=(2, sessions, assets))
    opens = 20 * np.exp(np.cumsum(steps.sum(0), axis=0) - steps[1])
    frames = {
        "open": opens,
        "close": opens * np.exp(steps[1]),
        "volume": np.exp(rng.normal(10, 1, size=(sessions, assets))),
    }
    return Prices.from_frames(
        "random", **{name: pd.DataFrame(x, index=dates, columns=names) for name, x in frames.items()}
    )


def config(**changes: object) -> MarketConfig:
    return MarketConfig(**{"window": 4, "features": FEATURES, "episode_length": None, **changes})


def actions(steps: int, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((steps, *shape), generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize("kind", ["long-only", "long-short"])
@pytest.mark.parametrize("holes", [False, True])
def test_stepwise_market_equals_the_vectorised_backtest(fill: str, kind: str, holes: bool) -> None:
    prices = random_prices()
    if holes:
        close = prices.close.copy()
        close.iloc[100:, 0] = np.nan
        close.iloc[90:95, 1] = np.nan
        opens = prices.fields["open"].copy()
        opens.iloc[80:120:7, 2] = np.nan
        prices = Prices.from_frames("holes", close=close, open=opens, volume=prices.fields["volume"])
    market = Market(
        prices,
        config=config(fill=fill, actions=kind, gross_limit=2.0),
        costs=COSTS,
        seeds=(0, 1),
        n_envs=3,
        dtype=torch.float64,
    )
    day = market.reset()[..., 0]
    first = int(day[0, 0])
    steps = market.episode_length - 1
    played = actions(steps, (2, 3, 4))
    targets = np.full((6, len(prices) - first, 4), np.nan)
    navs = np.ones((6, steps + 1))
    weights = np.zeros((6, steps + 1, 4))
    for t in range(steps):
        targets[:, t] = market.targets(played[t], first + t).reshape(6, 4)
        observation = market.step(played[t]).observation
        navs[:, t + 1] = market.nav.reshape(-1)
        weights[:, t + 1] = observation[..., 1:].reshape(6, 4)
    limit = market.config.gross_bound
    batch = backtest(prices, targets, costs=COSTS, fill=fill, start=prices.dates[first], gross_limit=limit)
    np.testing.assert_allclose(batch.nav[:, : steps + 1], navs, rtol=1e-10)
    held = batch.strategy("strategy 2").weights.to_numpy()[: steps + 1]
    np.testing.assert_allclose(held, weights[2], atol=1e-10)


@pytest.mark.parametrize("fill", ["next_open", "next_close"])
def test_log_rewards_add_up_to_the_growth_of_the_account(fill: str) -> None:
    prices = random_prices(1)
    market = Market(prices, config=config(fill=fill), costs=CostModel(), dtype=torch.float64)
    market.reset()
    steps = market.episode_length - 2
    rewards = [market.step(a).reward.item() for a in actions(steps, (1, 1, 4))]
    # From the last close to the next fill the account still moves: the state knows its value there.
    value = market.state_dict()["value"].item()
    assert sum(rewards) == pytest.approx(math.log(value), abs=1e-6)


def test_single_precision_follows_double_precision() -> None:
    prices = random_prices(2)
    markets = [
        Market(prices, config=config(), costs=COSTS, n_envs=5, dtype=d)
        for d in (torch.float32, torch.float64)
    ]
    for market in markets:
        market.reset()
    for action in actions(100, (1, 5, 4)):
        for market in markets:
            market.step(action)
    assert torch.allclose(markets[0].nav.double(), markets[1].nav, rtol=2e-4)


@pytest.mark.parametrize("reward", ["log", "mean-variance", "differential-sharpe"])
@pytest.mark.parametrize("fill", ["next_open", "next_close"])
def test_torch_and_numpy_step_alike(fill: str, reward: str) -> None:
    prices = random_prices(3)
    market = Market(prices, config=config(fill=fill, reward=reward), costs=COSTS)
    one = AccountRules(market.panel, market.config, COSTS, length=9, dtype=np.float64)
    other = AccountRules(market.panel, market.config, COSTS, length=9, backend=torch, dtype=torch.float64)
    days = np.arange(70, 76).reshape(2, 3)
    mine, theirs = one.start(days), other.start(torch.from_numpy(days))
    for action in actions(12, (2, 3, 4)):
        outcome, again = one.step(mine, action.numpy()), other.step(theirs, action)
        for part, expected in zip(outcome[1:4], again[1:4], strict=True):
            np.testing.assert_allclose(
                np.asarray(part, float), expected.double().numpy(), rtol=1e-9, atol=1e-12
            )
        done = outcome.state["age"] >= 9
        mine = one.restart(outcome.state, done, days)
        theirs = other.restart(again.state, torch.from_numpy(done), torch.from_numpy(days))
        np.testing.assert_allclose(one.observation(mine), other.observation(theirs).numpy(), rtol=1e-10)
        assert {name: value.dtype for name, value in mine.items()} == {
            name: value.numpy().dtype for name, value in theirs.items()
        }


def test_a_seed_alone_is_the_seed_in_a_batch() -> None:
    prices = random_prices(4)
    options = {"config": config(episode_length=10), "costs": COSTS, "n_envs": 3}
    together, alone = Market(prices, seeds=(5, 9), **options), Market(prices, seeds=(9,), **options)
    assert torch.equal(together.reset()[1:], alone.reset())
    for action in actions(25, (2, 3, 4)):
        for both, one in zip(together.step(action), alone.step(action[1:]), strict=True):
            assert torch.equal(both[1:], one)


def test_a_restored_market_goes_on_bit_for_bit() -> None:
    prices = random_prices(5)
    options = {"config": config(episode_length=7, reward="differential-sharpe"), "seeds": (1, 2), "n_envs": 2}
    market, other = Market(prices, **options), Market(prices, **options)
    market.reset()
    played = actions(40, (2, 2, 4))
    for action in played[:17]:
        market.step(action)
    state = market.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    expected = [market.step(action) for action in played[17:]]
    other.load_state_dict(state)
    for action, step in zip(played[17:], expected, strict=True):
        for one, another in zip(other.step(action), step, strict=True):
            assert torch.equal(one, another)


def test_episodes_are_truncated_and_restart_in_cash_on_random_days() -> None:
    prices = random_prices(6)
    market = Market(prices, config=config(episode_length=5), n_envs=50)
    first = market.reset()
    low, high = market.decisions
    assert first[..., 0].min() >= low
    assert first[..., 0].max() <= high - 4
    assert len(first[..., 0].unique()) > 10
    for t in range(1, 6):
        step = market.step(actions(1, (1, 50, 4), seed=t)[0])
        assert step.truncated.all() == (t == 5)
        assert not step.terminated.any()
    assert torch.equal(step.final_observation[..., 0], first[..., 0] + 5)
    assert (step.final_observation[..., 1:].abs().sum(-1) > 0).all()
    assert (step.observation[..., 1:] == 0).all()
    assert not torch.equal(step.observation[..., 0], first[..., 0])
    assert (market.nav == 1).all()


def test_ruin_terminates_with_a_finite_and_bad_reward() -> None:
    prices = random_prices(7)
    close = prices.close.copy()
    close.iloc[100:, 0] *= 30.0
    wild = Prices.from_frames("wild", close=close)
    market = Market(wild, config=config(max_weight=1.0), n_envs=1, start=wild.dates[90], end=wild.dates[110])
    market.reset()
    short = torch.tensor([[[-1.0, 0.0, 0.0, 0.0]]])
    steps = [market.step(short) for _ in range(12)]
    ended = [step for step in steps if step.terminated.any()]
    assert len(ended) == 1
    assert not ended[0].truncated.any()
    assert math.isfinite(ended[0].reward.item())
    assert ended[0].reward.item() < -5
    assert ended[0].reward.item() < min(s.reward.item() for s in steps if s is not ended[0])


def test_no_price_after_the_end_is_used() -> None:
    prices = random_prices(8)
    end = prices.dates[120]
    market = Market(prices, config=config(), end=end)
    first, last = market.decisions
    assert last + 2 == 120
    assert first == market.config.history - 1
    late = Market(prices, config=config(), start=prices.dates[100], end=end)
    assert late.decisions == (100, 118)


def test_encoding_gathers_the_window_that_ends_today() -> None:
    from data.features import compute_features, market_features

    prices = random_prices(9)
    market = Market(prices, config=config())
    table, wide = compute_features(prices, FEATURES), market_features(prices)
    held = torch.tensor([0.1, -0.3, 0.0, 0.4])
    for day in (80, 120, 159):
        rows = market.encode(torch.cat([torch.tensor([float(day)]), held])[None, None])[0, 0]
        assert rows.shape == (4, 4 * 3 + 1 + 5 + 1)
        window = table.values[day - 3 : day + 1].transpose(1, 0, 2).reshape(4, -1)
        np.testing.assert_array_equal(rows[:, :12], window)
        np.testing.assert_allclose(rows[:, 12], held)
        np.testing.assert_array_equal(rows[:, 13:18], np.tile(wide.values[day], (4, 1)))
        np.testing.assert_allclose(rows[:, 18], np.full(4, 0.2), rtol=1e-6)


def test_a_mirrored_market_gives_the_mirrored_observation() -> None:
    prices = random_prices(10)
    mirrored = Prices.from_frames("mirror", close=1000 / prices.close, open=1000 / prices.fields["open"])
    settings = config()
    one, other = Market(prices, config=settings), Market(mirrored, config=settings)
    assert one.symmetry.group.order == 2
    observation = torch.cat([torch.full((1, 6, 1), 130.0), actions(6, (4,)).float()[None]], dim=-1)
    opposite = observation.clone()
    opposite[..., 1:] *= -1
    expected = one.symmetry.transform_observation(1, one.encode(observation))
    assert torch.allclose(other.encode(opposite), expected, atol=2e-4)
    action = actions(1, (6, 4))[0]
    assert torch.equal(one.targets(one.symmetry.transform_action(1, action), 130), -one.targets(action, 130))


def test_permuted_assets_give_permuted_observations_and_targets() -> None:
    prices = random_prices(11)
    order = [2, 0, 3, 1]
    shuffled = prices.select([prices.symbols[i] for i in order])
    for kind in ("long-only", "long-short"):
        one, other = (Market(p, config=config(actions=kind)) for p in (prices, shuffled))
        assert one.symmetry.rows == 4
        held = actions(5, (4,)).float()[None]
        day = torch.full((1, 5, 1), 140.0)
        mine = one.encode(torch.cat([day, held], dim=-1))
        theirs = other.encode(torch.cat([day, held[..., order]], dim=-1))
        assert torch.allclose(theirs, mine[:, :, order], atol=1e-6)
        action = actions(5, (4,))
        assert torch.allclose(
            other.targets(action[:, order], 140), one.targets(action, 140)[:, order], atol=1e-15
        )
    assert Market(prices, config=config(actions="long-only")).symmetry.group.order == 1
    assert Market(prices, config=config(mirror=False)).symmetry.group.order == 1


def test_long_only_reaches_cash_and_a_single_asset() -> None:
    settings = MarketConfig(actions="long-only")
    nothing = target_weights(-np.ones(20), settings)
    assert nothing.sum() < 0.01
    one = -np.ones(20)
    one[3] = 1.0
    assert target_weights(one, settings)[3] > 0.99
    anything = target_weights(actions(100, (20,)).numpy(), settings)
    assert (anything >= 0).all()
    assert (anything.sum(-1) < 1).all()
    assert target_weights(one, MarketConfig(actions="long-only", max_weight=0.3)).max() == 0.3


def test_long_short_stays_within_its_limits_and_reaches_them() -> None:
    settings = MarketConfig(gross_limit=1.5)
    many = target_weights(actions(200, (20,)).numpy() * 3, settings)
    assert np.abs(many).sum(-1).max() <= 1.5 + 1e-12
    assert np.abs(many).max() <= 4 * 1.5 / 20 + 1e-12
    assert np.abs(target_weights(np.ones(20), settings)).sum() == pytest.approx(1.5)
    assert target_weights(np.eye(20)[0], settings)[0] == pytest.approx(0.3)
    assert (target_weights(np.zeros(20), settings) == 0).all()


def test_mean_variance_and_scaled_rewards() -> None:
    prices = random_prices(12)
    rewards = {}
    for name, changes in {
        "log": {},
        "scaled": {"reward_scale": 100.0},
        "mean-variance": {"reward": "mean-variance", "risk_aversion": 3.0},
        "sharpe": {"reward": "differential-sharpe"},
    }.items():
        market = Market(prices, config=config(**changes), dtype=torch.float64)
        market.reset()
        rewards[name] = np.array([market.step(a).reward.item() for a in actions(20, (1, 1, 4))])
    gain = np.expm1(rewards["log"])
    np.testing.assert_allclose(rewards["scaled"], 100 * rewards["log"], rtol=1e-6)
    np.testing.assert_allclose(rewards["mean-variance"], gain - 1.5 * gain**2, rtol=1e-4, atol=1e-8)
    mean, square, expected = 0.0, 1e-4, []
    for g in gain:
        expected.append((square * (g - mean) - 0.5 * mean * (g * g - square)) / (square - mean**2) ** 1.5)
        mean, square = mean + 0.01 * (g - mean), square + 0.01 * (g * g - square)
    np.testing.assert_allclose(rewards["sharpe"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"actions": "short-only"}, "actions"),
        ({"reward": "fun"}, "reward"),
        ({"fill": "now"}, "fill"),
        ({"window": 0}, "window"),
        ({"window": 2.5}, "window"),
        ({"gross_limit": -1}, "gross_limit"),
        ({"temperature": 0.0}, "temperature"),
        ({"episode_length": 0}, "episode_length"),
        ({"max_weight": math.nan}, "max_weight"),
        ({"actions": "long-only", "mirror": True}, "mirror"),
        ({"features": ()}, "features"),
    ],
)
def test_settings_out_of_range_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        MarketConfig(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"features": ("ret_1", "moon_phase")}, {"start": "2019-01-01"}, "moon_phase"),
        ({"window": 500}, {"start": "2019-01-01"}, "history"),
        ({}, {"start": "2030-01-01"}, "session"),
        ({}, {"start": "2019-08-08", "end": "2019-08-09"}, "episode"),
        ({}, {"n_envs": 0}, "account"),
        ({}, {"seeds": ()}, "seed"),
    ],
)
def test_markets_that_cannot_be_are_refused(changes: dict, options: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Market(random_prices(), config=config(**changes), **options)


def test_fill_at_the_open_needs_opens() -> None:
    closes = Prices.from_frames("closes", close=random_prices().close)
    assert Market(closes, config=config()).panel.fill == "next_close"
    with pytest.raises(DataError, match="next_open"):
        Market(closes, config=config(fill="next_open"))


def test_a_short_history_encodes_but_starts_no_episode() -> None:
    prices = random_prices(sessions=40)
    market = Market(prices, config=config())
    assert market.encode(torch.zeros(1, 2, 5)).shape == (1, 2, 4, 19)
    with pytest.raises(DataError, match="episode"):
        market.reset()


def test_it_is_a_batched_env() -> None:
    from rl_core.env import BatchedEnv

    market = Market(random_prices(), config=config(), seeds=(0, 1), n_envs=2)
    assert isinstance(market, BatchedEnv)
    assert market.reset().shape == (2, 2, *market.observation_shape)
    assert market.encode(market.reset()).dtype == torch.float32
    step = market.step(torch.zeros(2, 2, market.action_size))
    assert step.reward.dtype == torch.float32
    assert step.terminated.dtype == step.truncated.dtype == torch.bool
