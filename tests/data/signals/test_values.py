"""Tests of alignment and scaling: what is usable when, and nothing earlier."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DataError, Prices, compute_features
from data.signals.scaling import SCALE_WINDOW, SIGNAL_HISTORY, scaled
from data.signals.values import Signals

DAYS, SYMBOLS = 300, ("A", "B", "C")


def prices(days: int = DAYS) -> Prices:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("2020-01-01", periods=days)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (days, 3)), axis=0))
    return Prices.from_frames("made", close=pd.DataFrame(close, dates, list(SYMBOLS)))


def signals(dates: pd.DatetimeIndex, values: np.ndarray, lag: int = 1, carry: int = 5) -> Signals:
    return Signals("own", dates, SYMBOLS, {"up": -1, "size": 1}, values, lag, carry)


def daily(seed: int = 1, lag: int = 1, carry: int = 5) -> Signals:
    dates = prices().dates
    return signals(dates, np.random.default_rng(seed).normal(3, 2, (len(dates), 3, 2)), lag, carry)


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_a_value_is_usable_from_the_close_of_its_session_plus_lag_and_while_it_is_carried(lag: int) -> None:
    panel = prices()
    stamp = panel.dates[[10]]
    aligned = signals(stamp, np.ones((1, 3, 2)), lag, carry=2).align(panel)
    known = np.isfinite(aligned.values[:, 0, 0])
    np.testing.assert_array_equal(np.flatnonzero(known), 10 + lag + np.arange(3))
    assert aligned.stale[:, 0].argmax() == 10 + lag + 3


def test_a_stamp_on_a_weekend_counts_as_the_next_session_and_one_before_the_prices_is_carried_in() -> None:
    panel = prices()
    monday = next(row for row in range(5, 20) if panel.dates[row].day_of_week == 0)
    saturday = panel.dates[[monday]] - pd.Timedelta(days=2)
    aligned = signals(saturday, np.ones((1, 3, 2)), lag=1, carry=0).align(panel)
    assert np.flatnonzero(np.isfinite(aligned.values[:, 0, 0])).tolist() == [monday + 1]
    before = signals(panel.dates[[0]] - pd.offsets.BDay(2), np.ones((1, 3, 2)), lag=1, carry=3).align(panel)
    # Usable one session before the first; three more sessions from there.
    assert np.flatnonzero(np.isfinite(before.values[:, 0, 0])).tolist() == [0, 1, 2]


def test_a_missing_value_leaves_the_last_one_in_force() -> None:
    panel = prices()
    values = np.ones((2, 3, 2))
    values[1, 0] = np.nan
    values[1, 1] = 5.0
    aligned = signals(panel.dates[[10, 11]], values, lag=0, carry=4).align(panel).values[..., 0]
    assert aligned[11].tolist() == [1.0, 5.0, 1.0]
    assert np.isnan(aligned[15, 0])
    assert aligned[15, 1] == 5.0


@settings(max_examples=25, deadline=None)
@given(day=st.integers(40, DAYS - 2), seed=st.integers(0, 10**6), lag=st.integers(0, 3), gone=st.booleans())
def test_features_up_to_a_day_do_not_know_later_stamps(day: int, seed: int, lag: int, gone: bool) -> None:
    panel, own = prices(), daily(lag=lag)
    later = own.values.copy()
    rng = np.random.default_rng(seed)
    later[day - lag + 1 :] = np.nan if gone else rng.normal(-7, 9, later[day - lag + 1 :].shape)
    other = signals(own.dates, later, lag)
    names = ("ret_1", *own.features)
    one, two = (compute_features(panel.with_signals([item]), names) for item in (own, other))
    np.testing.assert_array_equal(one.values[: day + 1], two.values[: day + 1])
    assert one.parity.tolist() == [-1, -1, 1]
    if not gone:
        assert not np.array_equal(one.values[day + 1 :], two.values[day + 1 :])


def test_scaling_keeps_parity_and_the_order_of_assets_and_needs_no_earlier_history() -> None:
    values = daily().values[..., 0]
    np.testing.assert_array_equal(scaled(-values, -1), -scaled(values, -1))
    order = [2, 0, 1]
    for parity in (-1, 1):
        whole = scaled(values, parity)
        np.testing.assert_array_equal(scaled(values[:, order], parity), whole[:, order])
        np.testing.assert_array_equal(scaled(values[30:], parity)[SCALE_WINDOW:], whole[30 + SCALE_WINDOW :])
        assert np.abs(whole[:20]).max() == 0
        assert 0.5 < np.std(whole[50:]) < 2
    even = scaled(values, 1)
    assert abs(even[SCALE_WINDOW:].mean()) < 0.1


def test_missing_and_constant_signals_are_neutral() -> None:
    values = daily().values[..., 0]
    values[100:110, 1] = np.nan
    for parity in (-1, 1):
        found = scaled(values, parity)
        assert (found[100:110, 1] == 0).all()
        assert (found[100:110, 0] != 0).all()
    assert (scaled(np.full((DAYS, 3), 0.1), 1) == 0).all()
    assert (scaled(np.zeros((DAYS, 3)), -1) == 0).all()
    assert (scaled(np.full((DAYS, 3), np.nan), 1) == 0).all()


def test_signals_follow_selected_symbols_and_dates() -> None:
    panel = prices().with_signals([daily()])
    part = panel.select(["C", "A"]).between(panel.dates[50], panel.dates[99])
    np.testing.assert_array_equal(part.signals[0].values, panel.signals[0].values[50:100][:, [2, 0]])
    assert part.inputs_hash != part.hash == prices().select(["C", "A"]).between(*part.dates[[0, -1]]).hash
    assert panel.inputs_hash != prices().with_signals([daily(2)]).inputs_hash


def test_history_of_a_decision_covers_all_that_its_features_depend_on() -> None:
    panel, own = prices(), daily(lag=21, carry=63)
    names = own.features
    whole = compute_features(panel.with_signals([own]), names).values[-1]
    short = panel.between(panel.dates[-SIGNAL_HISTORY], None)
    kept = own.dates >= short.dates[0]
    recent = signals(own.dates[kept], own.values[kept], 21, 63)
    np.testing.assert_array_equal(compute_features(short.with_signals([recent]), names).values[-1], whole)


def test_signals_that_ended_are_refused_with_column_and_dates() -> None:
    panel, own = prices(), daily()
    ended = own.until(panel.dates[199])
    panel = panel.with_signals([ended])
    panel.check_signals(0, 205)
    with pytest.raises(
        DataError, match=rf"column 'up' ends on {panel.dates[199].date()}.*{panel.dates[206].date()}"
    ):
        panel.check_signals(100, 206)


def test_other_symbols_double_names_and_unknown_columns_are_refused() -> None:
    panel = prices()
    own = daily()
    with pytest.raises(DataError, match="other symbols: they lack B, C"):
        panel.with_signals([Signals("own", own.dates, ("A",), {"up": -1}, own.values[:, :1, :1])])
    with pytest.raises(DataError, match="'own' are named twice"):
        panel.with_signals([own, own])
    with pytest.raises(DataError, match=r"no signal 'own:down'.*own:up, own:size"):
        compute_features(panel.with_signals([own]), ["own:down"])
    with pytest.raises(DataError, match=r"no signal 'own:up'.*none"):
        compute_features(panel, ["own:up"])
    with pytest.raises(DataError, match="--lag is -1"):
        daily(lag=-1)
    with pytest.raises(DataError, match="--carry is 64"):
        daily(carry=64)
