"""Rounding to lots."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.sizing import size_orders


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
