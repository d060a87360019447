"""Limits hold on every day of random backtests, are reported, and conflicts name two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from data.errors import DataError
from data.prices import Prices
from rl_core.config import SACConfig
from rl_core.sac import SAC
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.policies import AgentPolicy
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.env import Market
from trading_app.market.limits import LimitConflict, LimitRows, Limits, excesses, limited_weights

N, T, FIRST = 6, 150, 60
GROUPS = {"A0": "x", "A1": "x", "A2": "y", "A3": "y", "A4": "z", "A5": "z"}
COSTS = CostModel(half_spread_bps=5, capital=1e6)


def made_prices(*, gaps: bool = False, seed: int = 0) -> Prices:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(0.02 * rng.standard_normal((T, N)), axis=0))
    if gaps:
        close[90:93, 0] = close[100, 1] = np.nan
    dates = pd.bdate_range("2020-01-01", periods=T)
    frames = {"close": close, "volume": rng.uniform(2e4, 2e5, (T, N))}
    return Prices.from_frames("made", **{f: pd.DataFrame(v, dates, list(GROUPS)) for f, v in frames.items()})


SETS: list[dict[str, Any]] = [
    {"max_weight": 0.25},
    {"turnover": 0.05},
    {"max_weight": 0.3, "turnover": 0.1},
    {"groups": GROUPS, "group_weight": 0.4},
    {"groups": GROUPS, "group_weight": 0.45, "max_weight": 0.3, "net_max": 0.8},
    {"no_buy": ("A1",), "no_sell": ("A2",)},
    {"participation": 0.02},
    {"net_max": 0.5, "turnover": 0.2},
    {"beta_max": 0.6, "max_weight": 0.4},
]
SHORT_SETS: list[dict[str, Any]] = [
    {"gross": 0.7, "net_min": -0.1, "net_max": 0.1},
    {"gross": 0.8, "max_weight": 0.2, "min_weight": -0.1, "groups": GROUPS, "group_weight": 0.15},
    {"net_min": 0.2, "net_max": 0.3, "max_weight": 0.3},
    {"beta_min": -0.05, "beta_max": 0.05, "gross": 0.8},
]


def run(settings: dict[str, Any], limits: dict[str, Any], *, gaps: bool = False, seed: int = 0) -> Any:
    """Random actions on random days, followed by the account of one seed."""
    prices = made_prices(gaps=gaps, seed=seed)
    config = MarketConfig(window=3, features=("ret_1",), limits=Limits(**limits), **settings)
    market = Market(prices, config=config, costs=COSTS, start=prices.dates[FIRST])
    agent = SAC(market.symmetry, SACConfig(width=4), (0,))
    rng = np.random.default_rng(seed)
    agent.act = lambda x, deterministic: torch.from_numpy(rng.uniform(-1, 1, x.shape[:3]))  # type: ignore[method-assign]
    own = AgentPolicy(agent, config, COSTS, prices.symbols)
    path = own.rollout(prices, prices.dates[FIRST])
    frame = path.ensemble
    result = backtest(
        prices, frame, costs=COSTS, start=prices.dates[FIRST], partial_orders=True, **config.account
    )
    return prices, config, path, result


def decided_weights(frame: pd.DataFrame, held: np.ndarray) -> np.ndarray:
    return np.where(frame.isna(), held, frame)


def betas(prices: Prices) -> np.ndarray:
    """Slopes of each symbol's returns on their mean, over the last 252 sessions; 1 with less than 63."""
    returns = prices.close.pct_change().to_numpy()
    found = np.ones(returns.shape)
    for t in range(63, T):
        own = returns[max(t - 251, 1) : t + 1]
        market = own.mean(1) - own.mean()
        found[t] = market @ (own - own.mean(0)) / (market @ market)
    return found


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        *[
            ({"actions": kind, "active_gross": 1.0}, limits)
            for kind in ("tilt", "long-only")
            for limits in SETS
        ],
        *[({"actions": "long-short"}, limits) for limits in [*SETS[:4], *SHORT_SETS]],
        (
            {"actions": "tilt", "no_trade_band": 0.05, "rebalance": "weekly"},
            {"max_weight": 0.2, "turnover": 0.3},
        ),
    ],
    ids=str,
)
def test_limits_hold_on_every_day(settings: dict[str, Any], limits: dict[str, Any], seed: int) -> None:
    prices, _, path, result = run(settings, limits, seed=seed)
    held = result.weights.to_numpy()
    weights = decided_weights(path.ensemble, held)
    if "max_weight" in limits:
        assert weights.max() <= limits["max_weight"] + 1e-9
    if "min_weight" in limits:
        assert weights.min() >= limits["min_weight"] - 1e-9
    if "group_weight" in limits:
        assert np.abs(weights.reshape(-1, 3, 2).sum(-1)).max() <= limits["group_weight"] + 1e-9
    assert weights.sum(1).max() <= limits.get("net_max", 1.0) + 1e-9
    assert weights.sum(1).min() >= limits.get("net_min", -1.0) - 1e-9
    assert np.abs(weights).sum(1).max() <= limits.get("gross", 1.0) + 1e-9
    if "turnover" in limits:
        assert 0.5 * np.abs(weights - held).sum(1).max() <= limits["turnover"] + 1e-9
    if "beta_max" in limits:
        beta = (weights * betas(prices)[FIRST:]).sum(1)
        assert beta.max() <= limits["beta_max"] + 1e-9
        assert beta.min() >= limits.get("beta_min", -9.0) - 1e-9
    if "no_buy" in limits:
        assert (weights - held)[:, 1].max() <= 1e-9
        assert (weights - held)[:, 2].min() >= -1e-9
    if "participation" in limits:
        traded = (prices.close * prices.field("volume")).rolling(21, min_periods=1).mean().to_numpy()[FIRST:]
        assert (np.abs(weights - held) - 0.02 * traded / COSTS.capital).max() <= 1e-9
    assert set(path.bound) & set(limits)
    assert path.notes[0].startswith("Limits that bound the agent's targets: ")


def test_without_limits_nothing_changes() -> None:
    settings = {"actions": "long-only"}
    _, _, plain, _ = run(settings, {})
    _, _, wide, _ = run(settings, {"max_weight": 1.0, "turnover": 2.0})
    np.testing.assert_array_equal(plain.ensemble, wide.ensemble)
    assert wide.notes == []


@pytest.mark.parametrize("limits", [*SETS, *SHORT_SETS], ids=str)
def test_the_projection_is_equivariant_nearest_and_the_same_in_torch(limits: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    rules = Limits(**limits)
    wanted = rng.normal(0.1, 0.3, (40, N))
    held = rng.dirichlet(np.ones(N), 40) * 0.2
    rows = LimitRows(
        no_buy=np.eye(N)[1],
        no_sell=np.eye(N)[2],
        group=np.array([0.0, 0.0, 1.0, 1.0, 2.0, 2.0]),
        largest_trade=np.full(N, 0.05),
        beta=np.linspace(0.4, 1.6, N),
    )
    own = limited_weights(wanted, held, rows, rules)
    for excess in excesses(own, held, rows, rules).values():
        assert np.max(excess) < 1e-9
    order = rng.permutation(N)
    moved = LimitRows(*(None if row is None else row[order] for row in rows))
    again = limited_weights(wanted[:, order], held[:, order], moved, rules)
    np.testing.assert_allclose(again, own[:, order], atol=1e-12)
    tensors = LimitRows(*(None if row is None else torch.from_numpy(row) for row in rows))
    torched = limited_weights(torch.from_numpy(wanted), torch.from_numpy(held), tensors, rules)
    np.testing.assert_allclose(torched.numpy(), own, atol=1e-10)
    if "turnover" in limits or "participation" in limits:
        return
    # No random feasible point on the way to another one is nearer.
    other = limited_weights(rng.normal(0.0, 0.3, (40, N)), held, rows, rules)
    mixed = own + rng.uniform(0, 1, (40, 1)) * (other - own)
    near, far = (((x - wanted) ** 2).sum(-1) for x in (own, mixed))
    assert (near <= far + 1e-12).all()


@pytest.mark.parametrize(
    ("settings", "limits", "names"),
    [
        ({"actions": "tilt"}, {"net_min": 0.9, "turnover": 0.1}, ("turnover", "net_min")),
        ({"actions": "long-short"}, {"net_min": 0.5, "max_weight": 0.05}, ("net_min", "max_weight")),
        ({"actions": "tilt"}, {"net_min": 0.9, "no_buy": tuple(GROUPS)}, ("net_min", "no_buy")),
    ],
    ids=str,
)
def test_a_conflict_names_two_limits(
    settings: dict[str, Any], limits: dict[str, Any], names: tuple[str, str]
) -> None:
    with pytest.raises(LimitConflict) as caught:
        run(settings, limits)
    assert all(f"market.limits.{name}" in str(caught.value) for name in names)
    assert str(made_prices().dates[FIRST].date()) in str(caught.value)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_weight": -0.1}, "max_weight is -0.1"),
        ({"net_min": 0.5, "net_max": 0.2}, "net_min .* is above net_max"),
        ({"group_weight": 0.2}, "name the groups"),
        ({"net_min": 1.2}, "above the gross limit"),
        ({"no_buy": ("XYZ",)}, "XYZ is not a symbol"),
        ({"groups": {"A0": "x"}, "group_weight": 0.5}, "A1 of made has no group"),
    ],
    ids=str,
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run({"actions": "long-only"}, limits)


@pytest.mark.parametrize("gaps", [False, True])
def test_training_and_backtests_meet_the_same_limits(gaps: bool) -> None:
    prices = made_prices(gaps=gaps)
    limits = Limits(max_weight=0.3, turnover=0.1, groups=GROUPS, group_weight=0.5)
    config = MarketConfig(actions="tilt", window=3, features=("ret_1",), limits=limits, active_gross=1.0)
    market = Market(prices, config=config, costs=COSTS, start=prices.dates[FIRST], dtype=torch.float64)
    batch = market.make_transitions(lambda x: torch.sin(40 * x[..., 0]), 0, 64, discount=0.9)
    assert torch.isfinite(batch.reward).all()
    rules = market.account_rules(T)
    state = rules.start(np.int64(FIRST))
    for _ in range(40):
        held = state["weights"]
        outcome = rules.step(state, np.random.default_rng(int(state["day"])).uniform(-1, 1, N))
        found = excesses(np.asarray(outcome.fill.target), outcome.fill.held, LimitRows(), limits)
        assert found["max_weight"] < 2e-2
        assert held.max() <= 0.33
        state = outcome.state
