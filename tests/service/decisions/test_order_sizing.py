"""Rounding to lots."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.decisions.order_sizing import size_orders


@st.composite
def accounts(draw: st.DrawFn) -> dict[str, np.ndarray]:
    n = draw(st.integers(1, 6))

    def vector(low: float, high: float) -> np.ndarray:
        return np.array(draw(st.lists(st.floats(low, high), min_size=n, max_size=n)))

    raw = vector(0, 1)
    return {
        "target": raw / max(1.0, raw.sum()),
        "held": np.floor(vector(0, 500)),
        "prices": vector(0.01, 5000),
        "lots": np.array(draw(st.lists(st.sampled_from([0.001, 1.0, 10.0, 100.0]), min_size=n, max_size=n))),
    }


@settings(max_examples=300, deadline=None)
@given(accounts(), st.floats(0, 1e6), st.floats(0, 0.01))
def test_long_only_orders_never_overspend(account: dict[str, np.ndarray], cash: float, rate: float) -> None:
    if cash + account["held"] @ account["prices"] <= 0:
        return
    sized = size_orders(cash=cash, cost_rate=rate, **account)
    values = sized.shares * account["prices"]
    assert cash - values.sum() - rate * np.abs(values).sum() >= -1e-6 * (1 + cash)
    assert (account["held"] + sized.shares >= -1e-9).all()
    nav = cash + account["held"] @ account["prices"]
    # Never beyond the target.
    wanted = account["target"] * nav / account["prices"] - account["held"]
    assert (np.abs(sized.shares) <= np.abs(wanted) + 1e-6 * (1 + np.abs(wanted))).all()


def spread_over_magnitudes(seed: int) -> tuple[dict[str, np.ndarray], float, float]:
    """An account at the ends of what requests may hold: prices, lots and cash over many powers of ten."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 6))
    raw = rng.random(n) * rng.choice([0, 1], n, p=[0.2, 0.8])
    lots = rng.choice([1e-9, 1.5e-9, 1e-6, 7e-4, 0.001, 1, 3, 100], n)
    account = {
        "target": raw / max(1e-300, raw.sum()) * rng.choice([1.0, 0.5]),
        "held": np.floor(10 ** rng.uniform(0, 4, n)) * rng.choice([0, 1], n) * lots,
        "prices": 10 ** rng.uniform(*((-9, 12) if seed % 2 else (0, 4)), n),
        "lots": lots,
    }
    return account, float(10 ** rng.uniform(-6, 15)), float(rng.choice([0, 3e-4, 0.01]))


def test_no_magnitude_of_prices_and_lots_overspends() -> None:
    for seed in range(2000):
        account, cash, rate = spread_over_magnitudes(seed)
        sized = size_orders(cash=cash, cost_rate=rate, **account)
        # In exact arithmetic, on the orders as they are given out.
        values = [Fraction(s) * Fraction(p) for s, p in zip(sized.shares, account["prices"], strict=True)]
        gross = sum(map(abs, values))
        left = Fraction(cash) - sum(values) - Fraction(rate) * gross
        assert sized.cash >= 0
        assert left >= -4e-16 * (gross + Fraction(cash)), seed
        assert abs(left - Fraction(sized.cash)) <= 4e-15 * (gross + Fraction(cash)), seed


def test_orders_are_whole_lots_without_dust() -> None:
    lots = np.array([0.1, 0.001, 1.5e-9])
    sized = size_orders(np.full(3, 0.3), np.zeros(3), 1000.0, np.array([1000.0, 7.0, 3e11]), lots)
    assert sized.shares.tolist() == [0.3, 42.857, 0.0]


def test_a_short_position_is_bought_back_as_far_as_cash_allows() -> None:
    sized = size_orders(
        np.array([0.0]), np.array([-25.0]), 270.0, np.array([10.0]), np.array([10.0]), cost_rate=0.2
    )
    assert sized.shares.tolist() == [20.0]
    assert sized.cash == pytest.approx(30.0)


def test_position_without_a_target_is_sold_whole_odd_lots_included() -> None:
    sized = size_orders(
        np.array([0.0]), np.array([137.0]), 0.0, np.array([10.0]), np.array([100.0]), cost_rate=0.0
    )
    assert sized.shares.tolist() == [-137.0]


def test_an_exact_number_of_lots_is_not_rounded_away() -> None:
    sized = size_orders(np.array([0.3]), np.array([0.0]), 1000.0, np.array([100.0]), np.array([1.0]))
    assert sized.shares.tolist() == [3.0]


def test_costs_cut_the_purchase_that_cash_cannot_pay() -> None:
    sized = size_orders(
        np.array([1.0]), np.array([0.0]), 1000.0, np.array([100.0]), np.array([1.0]), cost_rate=0.001
    )
    assert sized.shares.tolist() == [9.0]
    assert sized.cash >= 0


def test_short_targets_are_rounded_towards_zero() -> None:
    sized = size_orders(
        np.array([0.5, -0.5]), np.zeros(2), 1000.0, np.array([30.0, 70.0]), np.array([1.0, 1.0])
    )
    assert sized.shares.tolist() == [16.0, -7.0]
