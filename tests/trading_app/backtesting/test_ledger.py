"""The vectorised backtest against an independent event loop: plain Python, day by day, in units and cash.

The loop shares no code with the package: it holds units of each symbol, walks through the sessions one by
one, and solves each fill by bisection.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.market.costs import CostModel


def closing_sessions(traded: list[list[bool]], delist_after: int) -> set[tuple[int, int]]:
    """Sessions in which a symbol that has ended is closed: (session, asset)."""
    found = set()
    for i in range(len(traded[0])):
        idle, started, ended = 0, False, False
        later = [any(row[i] for row in traded[day + 1 :]) for day in range(len(traded))]
        for day, row in enumerate(traded):
            if row[i]:
                idle, started, ended = 0, True, False
                continue
            idle += 1
            remaining = len(traded) - day
            if not started or ended:
                continue
            # After its last row, or after so many sessions without a trade.
            if (not later[day] and idle == 1 and remaining >= delist_after) or idle == delist_after:
                found.add((day, i))
                ended = True
    return found


def event_loop(
    closes: list[list[float]],
    opens: list[list[float]] | None,
    volumes: list[list[float]] | None,
    targets: list[list[float]],
    costs: CostModel,
    *,
    impact: bool = True,
    gross_limit: float | None = None,
    delist_after: int = 10,
    delisting_return: float = 0.0,
) -> list[float]:
    """Net asset value at each close. Missing prices are NaN; `opens` None: fills are at the close."""
    assets = len(closes[0])
    rate = (costs.commission_bps + costs.half_spread_bps) / 10_000
    known = [volumes is not None and any(row[i] > 0 for row in volumes) for i in range(assets)]
    traded = [
        [not math.isnan(c) and not (known[i] and volumes[day][i] == 0) for i, c in enumerate(row)]
        for day, row in enumerate(closes)
    ]
    closing = closing_sessions(traded, delist_after)
    units, cash, alive = [0.0] * assets, 1.0, True
    due: list[float | None] = [None] * assets
    history = [1.0]
    last = [c if traded[0][i] else math.nan for i, c in enumerate(closes[0])]  # last price of a trade
    for day in range(1, len(closes)):
        if not alive:
            history.append(0.0)
            continue
        # The night: shorts pay on their value at the last close, cash earns or pays.
        shorts = sum(-units[i] * last[i] for i in range(assets) if units[i] < 0)
        yearly = costs.risk_free if cash >= 0 else costs.risk_free + costs.financing_spread_bps / 10_000
        cash += (
            cash * yearly / costs.sessions_a_year - shorts * costs.borrow_bps / 10_000 / costs.sessions_a_year
        )
        if not any(math.isnan(x) for x in targets[day - 1]):
            due = list(targets[day - 1])
            limit = max(1.0, sum(abs(x) for x in due)) if gross_limit is None else gross_limit
        at, fills = [], []
        for i in range(assets):
            if (day, i) in closing:
                at.append(last[i] * (1 + delisting_return))
                due[i] = 0.0 if units[i] != 0 else None
                fills.append(due[i] is not None)
            elif not traded[day][i]:
                at.append(last[i])
                fills.append(False)
            else:
                opened = None if opens is None else opens[day][i]
                at.append(closes[day][i] if opened is None or math.isnan(opened) else opened)
                fills.append(due[i] is not None)
        if any(fills):
            before = cash + sum(units[i] * at[i] for i in range(assets) if units[i] != 0)
            if before <= 0:
                alive = False
                history.append(0.0)
                continue
            share = [units[i] * at[i] / before if units[i] != 0 else 0.0 for i in range(assets)]
            squeeze = [0.0] * assets
            if volumes is not None and impact and costs.impact_coefficient > 0:
                for i in range(assets):
                    money = closes[day][i] * volumes[day][i]
                    if money > 0:
                        squeeze[i] = costs.impact_coefficient * math.sqrt(costs.capital / money)
            stuck = sum(abs(share[i]) for i in range(assets) if not fills[i])
            asked = sum(abs(due[i]) for i in range(assets) if fills[i])

            terms = (share, fills, list(due), stuck, asked, limit)

            def position(i: int, mu: float, terms=terms) -> float:
                share, fills, due, stuck, asked, limit = terms
                if not fills[i]:
                    return share[i]
                if all(fills) or asked * mu + stuck <= limit * mu:
                    return due[i] * mu
                return due[i] * max(0.0, limit * mu - stuck) / asked if asked else 0.0

            def left(mu: float, share=share, squeeze=squeeze, position=position) -> float:
                spent = 0.0
                for i in range(assets):
                    size = abs(position(i, mu) - share[i])
                    spent += size * (rate + squeeze[i] * math.sqrt(size))
                return 1 - spent - mu

            low, high = (-1.0, 1.0) if all(fills) else (0.0, 1.0)
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if left(middle) > 0 else (low, middle)
            mu = (low + high) / 2
            if mu <= 0:
                alive = False
                history.append(0.0)
                continue
            values = [position(i, mu) * before for i in range(assets)]
            cash = before * mu - sum(values)
            units = [
                (values[i] / at[i] if values[i] != 0 else 0.0) if fills[i] else units[i]
                for i in range(assets)
            ]
            due = [None if fills[i] else due[i] for i in range(assets)]
        last = [closes[day][i] if traded[day][i] else last[i] for i in range(assets)]
        nav = cash + sum(units[i] * last[i] for i in range(assets) if units[i] != 0)
        alive = nav > 0
        history.append(nav if alive else 0.0)
    return history


def market(seed: int, sessions: int, assets: int, holes: bool, volatility: float = 0.02) -> Prices:
    """Random prices with opens and volumes; `holes` takes some opens, closes and whole tails away."""
    rng = np.random.default_rng(seed)
    dates = pd.bdate_range("2020-01-01", periods=sessions, name="date")
    names = [f"S{i}" for i in range(assets)]
    steps = volatility * rng.normal(size=(2, sessions, assets))
    opens = 50 * np.exp(np.cumsum(steps.sum(0), axis=0) - steps[1])
    closes = opens * np.exp(steps[1])
    adjusted = closes * np.linspace(0.8, 1.0, sessions)[:, None]
    volumes = np.exp(rng.normal(10, 1, size=(sessions, assets)))
    if holes:
        opens[rng.random((sessions, assets)) < 0.1] = np.nan
        closes[rng.random((sessions, assets)) < 0.03] = np.nan
        volumes[rng.random((sessions, assets)) < 0.1] = np.nan
        volumes[rng.random((sessions, assets)) < 0.05] = 0.0
        closes[sessions // 2 :, 0] = np.nan  # delisted
        closes[: sessions // 3, -1] = np.nan  # listed later
        closes[0, 1 % assets] = 50.0
        adjusted = np.where(np.isnan(closes), np.nan, adjusted)

    def frame(values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=dates, columns=names)

    return Prices.from_frames(
        "random", open=frame(opens), close=frame(closes), adj_close=frame(adjusted), volume=frame(volumes)
    )


def matrix(seed: int, prices: Prices, kind: str, gross: float) -> pd.DataFrame:
    """Target weights: long-only or long–short, every session or sparse."""
    rng = np.random.default_rng(seed + 1)
    shape = (len(prices), len(prices.symbols))
    raw = rng.normal(size=shape)
    if "long-only" in kind:
        raw = np.abs(raw)
    raw[rng.random(shape) < 0.2] = 0.0
    weights = gross * rng.random((shape[0], 1)) * raw / np.maximum(np.abs(raw).sum(1, keepdims=True), 1e-9)
    if "sparse" in kind:
        weights[rng.random(shape[0]) < 0.8] = np.nan
    return pd.DataFrame(weights, index=prices.dates, columns=list(prices.symbols))


def loop_on(prices: Prices, weights: pd.DataFrame, costs: CostModel, fill: str) -> list[float]:
    fields = {name: frame.to_numpy() for name, frame in prices.fields.items()}
    factor = fields["adj_close"] / fields["close"]
    # Impact is charged on currency traded in the market, which raw prices give; all else on adjusted prices.
    closes = fields["close"] * factor
    volumes = fields["volume"] / factor
    opens = (fields["open"] * factor).tolist() if fill == "next_open" else None
    return event_loop(closes.tolist(), opens, volumes.tolist(), weights.to_numpy().tolist(), costs)


EVERY_COST = CostModel(
    commission_bps=2,
    half_spread_bps=5,
    impact_coefficient=0.05,
    borrow_bps=300,
    financing_spread_bps=150,
    risk_free=0.02,
)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["long-only", "long-short", "sparse long-only", "sparse long-short"]),
    fill=st.sampled_from(["next_open", "next_close"]),
    holes=st.booleans(),
    gross=st.sampled_from([0.7, 1.0, 2.5]),
    costs=st.sampled_from(
        [CostModel(), CostModel.free(), EVERY_COST, CostModel(borrow_bps=500, risk_free=0.03)]
    ),
)
def test_equals_the_event_loop_and_keeps_the_identity(
    seed: int, kind: str, fill: str, holes: bool, gross: float, costs: CostModel
) -> None:
    prices = market(seed, 40, 4, holes)
    weights = matrix(seed, prices, kind, gross)
    result = backtest(prices, weights, costs=costs, fill=fill)
    expected = np.array(loop_on(prices, weights, costs, fill))
    assert np.abs(result.nav / expected - 1).max() < 1e-9
    assert_identity(result)


def assert_identity(result) -> None:
    costs = result.costs
    moved = (
        costs["price_pnl"]
        - costs["commission"]
        - costs["spread"]
        - costs["impact"]
        - costs["borrow"]
        + costs["interest"]
    ).to_numpy()[1:]
    change = np.diff(result.nav)
    assert np.abs(moved - change).max() <= 1e-9 * max(1.0, result.nav.max())
    assert (costs[["commission", "spread", "impact", "borrow"]].to_numpy() >= -1e-15).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), sparse=st.booleans(), fill=st.sampled_from(["next_open", "next_close"]))
def test_ruin_ends_the_account_where_the_loop_says(seed: int, sparse: bool, fill: str) -> None:
    prices = market(seed, 60, 3, holes=False, volatility=0.15)
    weights = matrix(seed, prices, "sparse long-short" if sparse else "long-short", gross=8.0)
    costs = CostModel(borrow_bps=500)
    result = backtest(prices, weights, costs=costs, fill=fill)
    expected = np.array(loop_on(prices, weights, costs, fill))
    np.testing.assert_allclose(result.nav, expected, rtol=1e-9, atol=1e-12)
    assert_identity(result)
    if (expected == 0).any():
        assert any("lost everything" in note for note in result.notes)
        assert result.returns.iloc[-1] == 0 or result.nav[-2] > 0


@pytest.mark.parametrize("kind", ["long-short", "sparse long-short"])
def test_batch_of_strategies_equals_one_by_one(kind: str) -> None:
    prices = market(3, 80, 5, holes=True)
    frames = {f"s{k}": matrix(k, prices, kind, 1.5) for k in range(7)}
    batch = backtest(prices, frames, costs=EVERY_COST)
    for name, frame in frames.items():
        alone = backtest(prices, frame, costs=EVERY_COST)
        np.testing.assert_array_equal(batch.equity[name].to_numpy(), alone.nav)
        pd.testing.assert_frame_equal(batch.strategy(name).weights, alone.weights)


def test_a_long_history_stays_exact() -> None:
    prices = market(11, 3000, 6, holes=False, volatility=0.01)
    for kind in ("long-only", "sparse long-short"):
        weights = matrix(5, prices, kind, 1.0)
        result = backtest(prices, weights, costs=EVERY_COST)
        expected = loop_on(prices, weights, EVERY_COST, "next_open")
        assert result.nav[-1] == pytest.approx(expected[-1], rel=1e-9)
        assert_identity(result)


@pytest.mark.parametrize("fill", ["next_open", "next_close"])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("costs", [CostModel(), EVERY_COST])
def test_a_session_without_a_trade_beside_daily_trading(fill: str, holes: bool, costs: CostModel) -> None:
    prices = market(7, 60, 3, holes)
    weights = matrix(7, prices, "long-short", 1.5)
    stops = weights.copy()
    stops.iloc[-3] = np.nan
    batch = backtest(prices, {"daily": weights, "stops": stops}, costs=costs, fill=fill)
    for k, frame in enumerate([weights, stops]):
        expected = np.array(loop_on(prices, frame, costs, fill))
        assert np.abs(batch.nav[k] / expected - 1).max() < 1e-9


def test_the_order_of_an_array_in_memory_does_not_matter() -> None:
    prices = market(2, 50, 3, holes=False)
    weights = np.stack([matrix(k, prices, "long-short", 1.0).to_numpy() for k in range(3)])
    expected = backtest(prices, np.ascontiguousarray(weights)).nav
    for order in ((2, 1, 0), (0, 2, 1), (1, 2, 0)):
        other = np.ascontiguousarray(weights.transpose(order)).transpose(np.argsort(order))
        np.testing.assert_array_equal(backtest(prices, other).nav, expected)
