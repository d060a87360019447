"""The plug-in: it finds a planted signal, trades as the agent may, and knows nothing of the future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from data import Prices
from data.errors import DataError
from data.providers.planted import PanelConfig, PlantedPanel, planted_panel
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import BASELINES, Terms, usable_baselines
from trading_app.backtesting.plug_in import fit_forecast, plug_in
from trading_app.experiments.config import trading_market
from trading_app.market.costs import CostModel
from trading_app.market.env import Market
from trading_app.market.limits import Limits

WORLD = PanelConfig(assets=8, sessions=900, r2=0.02, half_life=8.0, heterogeneity=1.0, seed=5)
MARKET = replace(trading_market(), no_trade_band=0.0)


def beside(panel: PlantedPanel) -> Prices:
    """Return the prices of a panel with its signal beside them."""
    return panel.prices.with_signals([panel.signals])


@pytest.fixture(scope="module")
def world() -> PlantedPanel:
    return planted_panel("world", WORLD)


def active_return(prices: Prices, targets: pd.DataFrame) -> tuple[float, float]:
    """Return the yearly net return and the yearly turnover above those of equal weight."""
    start = targets.index[0]
    both = {"plug-in": targets, "equal": BASELINES["equal-weight"](prices, start, rebalance="weekly")}
    results = backtest(prices, both, costs=CostModel(), start=start, partial_orders=True)
    difference = results.returns["plug-in"] - results.returns["equal"]
    turnover = results.strategy("plug-in").turnover - results.strategy("equal").turnover
    return float(difference.mean() * 252), float(turnover.mean() * 252)


def test_the_forecast_is_that_which_was_planted(world: PlantedPanel) -> None:
    prices = beside(planted_panel("long", replace(WORLD, sessions=4000)))
    market = Market(prices, config=MARKET, costs=CostModel())
    forecast = fit_forecast(market, prices.signals[0].values)
    assert forecast.persistence[0] == pytest.approx(0.5 ** (1 / 8), abs=0.02)
    truth = planted_panel("long", WORLD).slopes
    assert np.corrcoef(forecast.slopes[:, 0], truth)[0, 1] > 0.8
    assert forecast.slopes[:, 0].mean() == pytest.approx(truth.mean(), rel=0.35)
    assert np.abs(forecast.means).max() < 5e-4


def test_it_earns_what_was_planted_after_costs(world: PlantedPanel) -> None:
    prices = beside(world)
    start, until = prices.dates[600], prices.dates[590]
    targets = plug_in(prices, start, rebalance="weekly", terms=Terms(MARKET, CostModel(), until))
    gain, turnover = active_return(prices, targets)
    assert gain > 0.05
    assert turnover > 2
    free = active_return(prices, plug_in(prices, start, rebalance="weekly", terms=Terms(MARKET, CostModel())))
    assert free[0] > 0.05


def test_without_a_signal_it_stays_near_its_base() -> None:
    prices = beside(planted_panel("nothing", replace(WORLD, r2=0.0, seed=6)))
    start, until = prices.dates[600], prices.dates[590]
    targets = plug_in(prices, start, rebalance="weekly", terms=Terms(MARKET, CostModel(), until))
    gain, _ = active_return(prices, targets)
    assert abs(gain) < 0.03


def test_dear_trades_are_made_seldom(world: PlantedPanel) -> None:
    prices = beside(world)
    cheap, dear = (Terms(MARKET, CostModel(commission_bps=bps), prices.dates[590]) for bps in (1.0, 300.0))
    cheaply, dearly = (
        active_return(prices, plug_in(prices, prices.dates[600], rebalance="weekly", terms=terms))[1]
        for terms in (cheap, dear)
    )
    assert dearly < 0.3 * cheaply


def test_it_keeps_schedule_and_band_of_the_agent(world: PlantedPanel) -> None:
    prices = beside(world)
    terms = Terms(replace(MARKET, no_trade_band=0.03), CostModel(), prices.dates[590])
    targets = plug_in(prices, prices.dates[600], rebalance="monthly", terms=terms)
    days = pd.Series(targets.index, index=targets.index)
    first = days.groupby(targets.index.to_period("M")).first()
    assert not targets[~targets.index.isin([*first, targets.index[0]])].notna().any(axis=None)
    orders = targets[targets.index.isin(first)].notna().to_numpy()
    assert 0.05 < orders.mean() < 0.95


def test_limits_hold_on_every_day(world: PlantedPanel) -> None:
    prices = beside(world)
    market = replace(MARKET, limits=Limits(max_weight=0.16, min_weight=0.10))
    terms = Terms(market, CostModel(), prices.dates[590])
    targets = plug_in(prices, prices.dates[600], rebalance="weekly", terms=terms)
    ordered = targets.to_numpy()[targets.notna().to_numpy()]
    assert ordered.max() <= 0.16 + 1e-9
    assert ordered.min() >= 0.10 - 1e-9


def test_data_after_the_training_dates_change_no_fit(world: PlantedPanel) -> None:
    prices = beside(world)
    until, start = prices.dates[500], prices.dates[520]
    other = planted_panel("world", replace(WORLD, seed=11))
    frames = {name: frame.copy() for name, frame in prices.fields.items()}
    for name, frame in frames.items():
        frame.iloc[521:] = other.prices.field(name).iloc[521:]
    changed = Prices.from_frames("world", **frames).with_signals([world.signals])
    terms = Terms(MARKET, CostModel(), until)
    before, after = (plug_in(p, start, start, rebalance="daily", terms=terms) for p in (prices, changed))
    pd.testing.assert_frame_equal(before, after)
    everything = plug_in(prices, start, rebalance="weekly", terms=Terms(MARKET, CostModel()))
    fixed = plug_in(prices, start, rebalance="weekly", terms=terms)
    assert not everything.equals(fixed)


def test_it_is_offered_only_beside_signals(world: PlantedPanel) -> None:
    assert "plug-in" in usable_baselines(beside(world))
    assert "plug-in" not in usable_baselines(world.prices)
    with pytest.raises(DataError, match="plug-in: world has no signals beside it"):
        plug_in(world.prices)


def test_too_short_a_history_is_an_error(world: PlantedPanel) -> None:
    with pytest.raises(DataError, match="a fit needs 252 sessions"):
        plug_in(beside(world), None, world.prices.dates[200])
