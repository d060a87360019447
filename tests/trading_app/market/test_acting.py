"""Ways of acting: tilts, aims, schedules and bands in training, made transitions and backtests."""

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
from trading_app.backtesting.baselines import BASELINES
from trading_app.backtesting.policies import AgentPolicy
from trading_app.market.actions import active_weights, target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.decisions import rebalancing_days
from trading_app.market.env import Market

N, T, FIRST = 5, 260, 130
COSTS = CostModel(half_spread_bps=10, borrow_bps=200, risk_free=0.02)
BASES = ("equal-weight", "inverse-volatility", "min-variance")
SCHEDULES = ("daily", "weekly", "monthly", 7)


def made_prices(*, gaps: bool = False, opens: bool = True, seed: int = 0) -> Prices:
    rng = np.random.default_rng(seed)
    volatility = np.linspace(0.01, 0.03, N)
    close = 100 * np.exp(np.cumsum(volatility * rng.standard_normal((T, N)), axis=0))
    frames = {"close": close}
    if opens:
        frames["open"] = close * np.exp(0.004 * rng.standard_normal((T, N)))
    if gaps:
        for values in frames.values():
            values[150:153, 0] = values[161, 1] = values[200:, 2] = np.nan
    dates = pd.bdate_range("2020-01-01", periods=T)
    names = [f"A{i}" for i in range(N)]
    return Prices.from_frames(
        "made", **{field: pd.DataFrame(values, dates, names) for field, values in frames.items()}
    )


def config(**changes: Any) -> MarketConfig:
    return MarketConfig(
        **{"actions": "tilt", "window": 3, "features": ("ret_1",), "episode_length": None, **changes}
    )


def policy(prices: Prices, settings: MarketConfig, *, start: str = "zero", seeds: int = 2) -> AgentPolicy:
    market = Market(prices, config=settings, costs=COSTS)
    learner = SACConfig(width=8, batch_size=8, actor_start=start, actor_average=0.9)  # type: ignore[arg-type]
    agent = SAC(market.symmetry, learner, tuple(range(seeds)))
    if start == "random":
        with torch.no_grad():
            for network in (agent.actor, agent.average):
                assert network is not None
                for parameter in network.parameters():
                    parameter.add_(
                        0.4 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
                    )
        agent.refresh()
    return AgentPolicy(agent, settings, COSTS, prices.symbols)


@pytest.mark.parametrize("opens", [True, False], ids=["next open", "next close"])
@pytest.mark.parametrize(
    ("agent", "base", "rebalance"),
    [
        *[("exact", base, rebalance) for base in BASES for rebalance in SCHEDULES],
        *[(agent, "equal-weight", "daily") for agent in ("relaxed", "dense", "rpp", "gated", "direct")],
    ],
)
def test_an_untrained_tilt_is_its_base(agent: str, base: str, rebalance: Any, opens: bool) -> None:
    prices = made_prices(opens=opens)
    settings = config(base=base, rebalance=rebalance)
    market = Market(prices, config=settings, costs=COSTS)
    learner = SACConfig(agent=agent, width=8, actor_start="zero")  # type: ignore[arg-type]
    own = AgentPolicy(SAC(market.symmetry, learner, (0, 1)), settings, COSTS, prices.symbols)
    start = prices.dates[FIRST]
    path = own.rollout(prices, start)
    reference = BASELINES[base](prices, start, rebalance=rebalance)
    options: dict[str, Any] = {"costs": COSTS, "start": start, **settings.account}
    tilt = backtest(prices, path.ensemble, partial_orders=True, **options)
    held = backtest(prices, reference, **options)
    np.testing.assert_allclose(tilt.equity, held.equity, rtol=1e-9)
    assert tilt.metrics()["turnover"] == pytest.approx(held.metrics()["turnover"], rel=1e-9)


def test_an_untrained_tilt_around_given_weights_holds_them() -> None:
    prices = made_prices()
    own = policy(prices, config(base="given", base_weights={"A1": 0.5, "A3": 0.3}))
    decided = own.rollout(prices, prices.dates[FIRST]).ensemble
    np.testing.assert_array_equal(decided, np.tile([0.0, 0.5, 0.0, 0.3, 0.0], (len(decided), 1)))


@pytest.mark.parametrize("available", [None, np.array([1.0, 1.0, 0.0, 1.0, 1.0])])
@pytest.mark.parametrize("net", [False, True])
def test_active_weights_are_odd_equivariant_and_bounded(net: bool, available: np.ndarray | None) -> None:
    settings = config(active_gross=0.6, max_active=0.2, active_net=net)
    action = np.random.default_rng(0).uniform(-1.5, 1.5, (200, N)).clip(-1, 1)
    active = active_weights(action, settings, available)
    np.testing.assert_array_equal(active_weights(-action, settings, available), -active)
    order = np.array([3, 0, 4, 2, 1])
    moved = None if available is None else available[order]
    np.testing.assert_allclose(
        active_weights(action[:, order], settings, moved), active[:, order], atol=1e-15
    )
    assert np.abs(active).max() <= 0.2 + 1e-12
    assert np.abs(active).sum(-1).max() <= 0.6 + 1e-12
    assert net or np.abs(active.sum(-1)).max() < 1e-12
    assert available is None or (active[:, 2] == 0).all()
    assert (active_weights(0 * action, settings, available) == 0).all()


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("changes", "gross"),
    [({}, 1.0), ({"active_net": True}, 1.0), ({"short_positions": True, "gross_limit": 1.6}, 1.6)],
    ids=["invested", "net", "short"],
)
def test_a_tilt_is_feasible(changes: dict[str, Any], gross: float, backend: str) -> None:
    settings = config(active_gross=1.5, max_active=0.8, **changes)
    rng = np.random.default_rng(1)
    base = rng.dirichlet(np.full(N, 0.5), 300)
    base[0] = [0.0, 0.0, 1.0, 0.0, 0.0]
    action = rng.uniform(-1, 1, (300, N))
    convert: Any = np.asarray if backend == "numpy" else torch.from_numpy
    weights = np.asarray(target_weights(convert(action), settings, None, convert(base)))
    assert np.abs(weights).sum(-1).max() <= gross + 1e-12
    assert settings.short_positions or weights.min() >= 0
    assert settings.active_net or np.abs(weights.sum(-1) - 1).max() < 1e-12
    zero = np.asarray(target_weights(convert(0 * action), settings, None, convert(base)))
    np.testing.assert_array_equal(zero, base)
    cash = np.asarray(target_weights(convert(action), settings, None, convert(0 * base)))
    assert (cash == 0).all()


def test_a_mirrored_market_asks_for_mirrored_active_weights() -> None:
    prices = made_prices()
    mirrored = Prices.from_frames("mirror", close=1e4 / prices.close, open=1e4 / prices.fields["open"])
    one, other = (Market(p, config=config()) for p in (prices, mirrored))
    assert one.symmetry.group.order == 2
    active = torch.from_numpy(np.random.default_rng(0).uniform(-0.1, 0.1, (1, 6, N))).float()
    day = torch.full((1, 6, 1), 140.0)
    seen = one.encode(torch.cat([day, 1 / N + active], dim=-1))
    opposite = other.encode(torch.cat([day, 1 / N - active], dim=-1))
    torch.testing.assert_close(opposite, one.symmetry.transform_observation(1, seen), atol=3e-4, rtol=1e-3)


@pytest.mark.parametrize("gaps", [False, True], ids=["every session", "gaps"])
@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"rebalance": "weekly"},
        {"no_trade_band": 0.05},
        {"rebalance": 3, "no_trade_band": 0.02, "trading_speed": 0.4},
        {"actions": "long-short", "rebalance": "weekly", "trading_speed": 0.5},
        {"actions": "long-only", "no_trade_band": 0.1},
    ],
    ids=str,
)
def test_market_made_transitions_and_backtest_agree(changes: dict[str, Any], fill: str, gaps: bool) -> None:
    prices = made_prices(gaps=gaps)
    settings = config(fill=fill, active_gross=0.8, **changes)
    own = policy(prices, settings, seeds=1)
    played = iter(actions := np.random.default_rng(3).uniform(-1, 1, (T - FIRST, 1, 1, N)))
    own.agent.act = lambda x, deterministic: torch.from_numpy(next(played)).expand(x.shape[:3])  # type: ignore[method-assign]
    start = prices.dates[FIRST]
    path = own.rollout(prices, start)
    options: dict[str, Any] = {"costs": COSTS, "start": start, **settings.account}
    result = backtest(prices, path.per_seed[0], partial_orders=True, **options)
    market = Market(prices, config=settings, costs=COSTS, dtype=torch.float64, start=start)
    rules = market.account_rules(T)
    state = rules.start(np.full((1, 1), FIRST))
    for day in range(FIRST, T - 2):
        assert state["nav"][0, 0] == pytest.approx(result.equity.iloc[day - FIRST], rel=1e-10)
        action = actions[day - FIRST][0]
        outcome = rules.step(state, action)
        if day > FIRST:
            made = rules.step(rules.place(np.full((1, 1), day), state["weights"].copy()), action)
            np.testing.assert_allclose(made.reward, outcome.reward, atol=1e-12)
            np.testing.assert_allclose(made.state["weights"], outcome.state["weights"], atol=1e-12)
        state = outcome.state
    settled = result.trades.groupby("date").size()
    assert len(settled) > 1


@pytest.mark.parametrize("band", [0.01, 0.05])
def test_no_asset_trades_inside_the_band(band: float) -> None:
    prices = made_prices(opens=False)
    settings = config(no_trade_band=band, active_gross=0.3)
    own = policy(prices, settings, start="random", seeds=1)
    start = prices.dates[FIRST]
    path = own.rollout(prices, start)
    result = backtest(
        prices, path.per_seed[0], partial_orders=True, costs=COSTS, start=start, **settings.account
    )
    held = result.weights.to_numpy()
    wanted = path.per_seed[0]
    ordered = ~np.isnan(wanted)
    # Fills at the close: what is held at a close is what was held before the trade there.
    gap = np.abs(wanted - held)[ordered]
    assert gap.min() > band - 1e-12
    assert 0 < ordered.mean() < 0.9
    dates = {
        (str(date), symbol)
        for date, symbol in zip(result.trades["date"], result.trades["symbol"], strict=True)
    }
    for day, asset in zip(*np.nonzero(~ordered[:-1]), strict=True):
        assert (str(prices.dates[FIRST + day + 1]), prices.symbols[asset]) not in dates


def test_schedules_do_not_depend_on_later_dates() -> None:
    dates = pd.bdate_range("2020-01-08", periods=70)
    weekly, monthly = rebalancing_days(dates, "weekly"), rebalancing_days(dates, "monthly")
    assert [str(day.date()) for day in dates[weekly][:3]] == ["2020-01-08", "2020-01-13", "2020-01-20"]
    assert [str(day.date()) for day in dates[monthly]] == [
        "2020-01-08",
        "2020-02-03",
        "2020-03-02",
        "2020-04-01",
    ]
    assert np.flatnonzero(rebalancing_days(dates, 20)).tolist() == [0, 20, 40, 60]
    assert rebalancing_days(dates, "daily").all()
    for schedule in SCHEDULES:
        np.testing.assert_array_equal(
            rebalancing_days(dates[:30], schedule), rebalancing_days(dates, schedule)[:30]
        )


def test_orders_fall_on_days_of_the_schedule() -> None:
    prices = made_prices()
    own = policy(prices, config(rebalance="weekly"), start="random")
    frame = own.rollout(prices, prices.dates[FIRST + 2]).ensemble
    scheduled = rebalancing_days(prices.dates, "weekly")[FIRST + 2 :]
    assert not scheduled[0]  # an account in cash decides at once
    np.testing.assert_array_equal(frame.notna().all(axis=1)[1:], scheduled[1:])
    assert frame.iloc[0].notna().all()


def test_a_speed_goes_part_of_the_way() -> None:
    prices = made_prices(opens=False)
    own = policy(prices, config(trading_speed=0.25))
    held = np.array([[0.5, 0.2, 0.1, 0.1, 0.1]])
    target = own.decide(prices, prices.dates[-1], held)
    np.testing.assert_allclose(target[0], held + 0.25 * (1 / N - held), rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rebalance": "yearly"}, "market.rebalance is 'yearly'"),
        ({"rebalance": 0}, "market.rebalance is 0"),
        ({"base": "given"}, "market.base_weights: give weights"),
        ({"base_weights": {"A0": 1.0}}, "market.base_weights: give weights"),
        ({"base": "given", "base_weights": {"A0": 1.4}}, "is 1.4; it must be"),
        ({"base": "given", "base_weights": {"A0": 0.4, "A1": -0.2}}, "short_positions"),
        ({"no_trade_band": -0.1}, "market.no_trade_band"),
        ({"trading_speed": 0.0}, "market.trading_speed"),
        ({"base": "hope"}, "market.base is 'hope'"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        config(**changes)


def test_a_weight_of_an_unknown_symbol_is_refused() -> None:
    settings = config(base="given", base_weights={"XYZ": 1.0})
    with pytest.raises(DataError, match="XYZ is not a symbol"):
        _ = Market(made_prices(), config=settings).base
