"""Fills, drift and financing: the fixed point is solved to 1e-12, in NumPy and in torch alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from data.errors import DataError
from trading_app.market.accounting import financing, hold, solve_fill, total, trading_cost
from trading_app.market.costs import CostModel


def shares(rng: np.random.Generator, rows: int, assets: int, gross: float) -> np.ndarray:
    """Random weights, some of them 0, with a gross of at most `gross`."""
    raw = rng.normal(size=(rows, assets)) * (rng.random((rows, assets)) < 0.7)
    return gross * raw / np.maximum(np.abs(raw).sum(axis=1, keepdims=True), 1e-9) * rng.random((rows, 1))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rate=st.sampled_from([0.0, 1e-4, 3e-4, 5e-3, 0.05]),
    gross=st.sampled_from([0.5, 1.0, 3.0]),
    impact=st.sampled_from([0.0, 1e-3, 0.1]),
)
def test_the_fixed_point_holds(seed: int, rate: float, gross: float, impact: float) -> None:
    rng = np.random.default_rng(seed)
    target, held = shares(rng, 50, 6, gross), shares(rng, 50, 6, gross)
    squeeze = impact * rng.random((50, 6)) if impact else None
    kept = solve_fill(target, held, rate, squeeze)
    right = 1 - trading_cost(target * kept[:, None] - held, rate, squeeze)
    assert np.abs(kept - right).max() < 1e-12


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), impact=st.sampled_from([0.0, 0.2]))
def test_the_root_is_that_of_a_bracketing_solver(seed: int, impact: float) -> None:
    rng = np.random.default_rng(seed)
    target, held = shares(rng, 1, 5, 2.0), shares(rng, 1, 5, 2.0)
    squeeze = impact * rng.random((1, 5)) if impact else None

    def excess(mu: float) -> float:
        size = np.abs(target[0] * mu - held[0])
        rates = 0.03 + (squeeze[0] * np.sqrt(size) if squeeze is not None else 0)
        return mu - 1 + float((rates * size).sum())

    expected = brentq(excess, 0.0, 1.0, xtol=1e-15, rtol=1e-14)
    assert solve_fill(target, held, 0.03, squeeze)[0] == pytest.approx(expected, abs=1e-12)


def test_torch_and_numpy_agree_over_leading_axes() -> None:
    rng = np.random.default_rng(0)
    target, held = shares(rng, 24, 7, 1.5), shares(rng, 24, 7, 1.5)
    ratio, night = 1 + 0.02 * rng.normal(size=(24, 7)), 1 + 0.02 * rng.normal(size=(24, 7))
    costs = CostModel(borrow_bps=900, risk_free=0.03)
    for impact in (None, 0.1 * rng.random((24, 7))):
        kept = solve_fill(target, held, costs.rate, impact)
        as_torch = [
            None if array is None else torch.from_numpy(array).reshape(2, 3, 4, 7)
            for array in (target, held, impact)
        ]
        other = solve_fill(as_torch[0], as_torch[1], costs.rate, as_torch[2])
        assert torch.allclose(other.reshape(-1), torch.from_numpy(kept), atol=1e-14, rtol=0)
    ours = hold(target, costs, ratio, night)
    theirs = hold(*(torch.from_numpy(target), costs, torch.from_numpy(ratio), torch.from_numpy(night)))
    for one, another in zip(ours, theirs, strict=True):
        assert torch.allclose(another, torch.from_numpy(one), atol=1e-14, rtol=0)


def test_float32_reaches_float32() -> None:
    rng = np.random.default_rng(1)
    target, held = shares(rng, 200, 20, 1.0), shares(rng, 200, 20, 1.0)
    exact = solve_fill(target, held, 3e-4)
    single = solve_fill(
        torch.from_numpy(target).float(), torch.from_numpy(held).float(), 3e-4, gross=1.0, tolerance=1e-8
    )
    assert np.abs(single.numpy() - exact).max() < 3e-7


def test_no_trade_costs_nothing() -> None:
    weights = np.array([[0.3, -0.2, 0.4]])
    assert solve_fill(weights, weights, 0.01)[0] == 1.0


def test_a_violated_contraction_is_refused() -> None:
    with pytest.raises(DataError, match=r"gross"):
        solve_fill(np.array([[15.0]]), np.array([[0.0]]), 0.09)


def test_a_trade_dearer_than_the_account_leaves_nothing() -> None:
    kept = solve_fill(np.array([[0.1], [0.1]]), np.array([[50.0], [0.1]]), 0.05)
    assert kept[0] <= 0
    assert kept[1] == 1.0


def test_financing_charges_shorts_and_negative_cash_and_pays_cash() -> None:
    costs = CostModel(periods=1, borrow_bps=100.0, risk_free=0.001, financing_spread_bps=10.0)
    cash, values = np.array([0.5, -1.0]), np.array([[0.7, -0.2], [1.5, 0.5]])
    interest, borrow = financing(cash, values, costs)
    assert interest == pytest.approx([0.0005, -0.002])
    assert borrow == pytest.approx([0.002, 0.0])


def test_total_sums_the_last_axis() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    assert np.allclose(total(x), x.sum(-1))
    assert total(x[0, 0]) == 6
    assert torch.equal(total(torch.from_numpy(x)), torch.from_numpy(x.sum(-1)))
