"""Tests of features: causal, independent of scale, odd or even as declared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DEFAULT_FEATURES, DataError, Prices, compute_features, load_prices, market_features
from data.features import FEATURES
from data.rolling import rolling_sum

LENGTH, WIDTH = 300, 3


def closes(seed: int, length: int = LENGTH, width: int = WIDTH) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = 20 * np.exp(np.cumsum(rng.standard_t(4, (length, width)) * 0.01, axis=0))
    return pd.DataFrame(values, pd.bdate_range("2020-01-01", periods=length), list("ABCDEFGH")[:width])


def prices_of(frame: pd.DataFrame, missing: int | None = None) -> Prices:
    """Bars around closes: highs and lows that do not depend on the closes to come, and volumes."""
    rng = np.random.default_rng(9)
    # Row by row, so that shorter frames have the same bars.
    up, down = rng.uniform(0, 0.02, (3000, 2, 8))[: len(frame), :, : frame.shape[1]].swapaxes(0, 1)
    volume = pd.DataFrame(np.exp(rng.normal(10, 1, up.shape)), frame.index, frame.columns)
    if missing is not None:
        volume.iloc[missing:] = np.nan
    return Prices.from_frames(
        "x", close=frame, high=frame * np.exp(up), low=frame * np.exp(-down), volume=volume
    )


def mirrored(prices: Prices) -> Prices:
    """The panel of opposite returns: highs become lows, volumes stay."""
    first = prices.close.iloc[0] ** 2
    return Prices.from_frames(
        "mirrored",
        close=first / prices.close,
        high=first / prices.field("low"),
        low=first / prices.field("high"),
        volume=prices.field("volume"),
    )


def test_shapes_names_and_warmup() -> None:
    table = compute_features(prices_of(closes(0)))
    assert table.values.shape == (LENGTH, WIDTH, 8)
    assert table.values.dtype == np.float32
    assert table.names == DEFAULT_FEATURES
    assert table.parity.dtype == np.int8
    assert set(table.parity.tolist()) == {-1, 1}
    assert table.warmup == 126
    assert np.isfinite(table.values).all()
    # After the warm-up every feature of every asset is there.
    assert (table.values[table.warmup :] != 0).mean() > 0.999
    market = market_features(prices_of(closes(0)))
    assert market.values.shape == (LENGTH, len(market.names))
    assert (market.values[market.warmup :] != 0).mean() > 0.95


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 1000),
    day=st.integers(0, LENGTH - 2),
    change=st.sampled_from(["shock", "scale all", "drop", "truncate"]),
)
def test_no_feature_sees_the_future(seed: int, day: int, change: str) -> None:
    frame = closes(seed)
    altered = frame.copy()
    rng = np.random.default_rng(seed + 1)
    if change == "shock":
        row = int(rng.integers(day + 1, LENGTH))
        altered.iloc[row, int(rng.integers(WIDTH))] *= 3.0
    elif change == "scale all":
        altered.iloc[day + 1 :] *= rng.uniform(0.5, 2.0, altered.iloc[day + 1 :].shape)
    elif change == "drop":
        altered.iloc[day + 1 :, int(rng.integers(WIDTH))] = np.nan
    else:
        altered = altered.iloc[: day + 1]
    for function in (lambda p: compute_features(p, tuple(FEATURES)), market_features):
        before = function(prices_of(frame)).values[: day + 1]
        missing = day + 1 if change == "drop" else None
        after = function(prices_of(altered, missing)).values[: day + 1]
        np.testing.assert_array_equal(before, after)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scales=st.lists(st.floats(1e-3, 1e4), min_size=WIDTH, max_size=WIDTH))
def test_the_unit_of_a_price_does_not_matter(seed: int, scales: list[float]) -> None:
    frame = closes(seed)
    for function in (lambda p: compute_features(p, tuple(FEATURES)), market_features):
        plain, scaled = function(prices_of(frame)), function(prices_of(frame * scales))
        np.testing.assert_allclose(plain.values, scaled.values, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_the_mirror_flips_odd_features_and_keeps_even_ones(seed: int) -> None:
    frame = closes(seed)
    prices = prices_of(frame)
    for function in (lambda p: compute_features(p, tuple(FEATURES)), market_features):
        table, image = function(prices), function(mirrored(prices))
        np.testing.assert_allclose(image.values, table.values * table.parity, atol=1e-4)


def test_each_asset_has_its_own_features_and_the_market_none_of_their_order() -> None:
    frame = closes(5)
    table = compute_features(prices_of(frame))
    alone = compute_features(prices_of(frame[["B"]]))
    np.testing.assert_array_equal(table.values[:, 1:2], alone.values)
    order = ["C", "A", "B"]
    np.testing.assert_array_equal(
        market_features(prices_of(frame)).values, market_features(prices_of(frame[order])).values
    )


def test_random_walks_have_features_of_unit_size() -> None:
    rng = np.random.default_rng(0)
    values = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (3000, 6)), axis=0))
    table = compute_features(
        prices_of(
            pd.DataFrame(values, pd.bdate_range("2000-01-03", periods=3000)).set_axis(list("ABCDEF"), axis=1)
        )
    )
    after = table.values[table.warmup :].reshape(-1, 8)
    odd = table.parity < 0
    np.testing.assert_allclose(after[:, odd].std(axis=0), 1.0, atol=0.1)
    np.testing.assert_allclose(after[:, odd].mean(axis=0), 0.0, atol=0.25)


def test_missing_prices_give_zero_and_gaps_are_days_without_a_move() -> None:
    frame = closes(6)
    frame.iloc[:40, 0] = np.nan
    frame.iloc[200:203, 1] = np.nan
    frame.iloc[250:, 2] = np.nan
    table = compute_features(prices_of(frame))
    assert np.isfinite(table.values).all()
    assert not table.values[:40, 0].any()
    assert not table.values[200:203, 1].any()
    assert table.values[203:, 1].any(axis=1).all()
    assert not table.values[250:, 2].any()
    assert np.isfinite(market_features(prices_of(frame)).values).all()


def test_a_price_that_never_moves_gives_finite_features() -> None:
    frame = closes(7)
    frame["A"] = 5.0
    table = compute_features(prices_of(frame))
    assert np.isfinite(table.values).all()
    assert np.abs(table.values).max() <= 10


def test_adjusted_closes_are_used_where_they_are() -> None:
    frame = closes(8)
    raw = frame.copy()
    raw.iloc[:150] *= 4.0
    with_split = Prices.from_frames("x", close=raw, adj_close=frame)
    np.testing.assert_array_equal(
        compute_features(with_split).values, compute_features(prices_of(frame)).values
    )


def test_unknown_and_repeated_features_are_refused() -> None:
    with pytest.raises(DataError, match=r"no feature 'ret_2' \(features: ret_1"):
        compute_features(prices_of(closes(0)), ["ret_2"])
    with pytest.raises(DataError, match="once each"):
        compute_features(prices_of(closes(0)), ["ret_1", "ret_1"])
    with pytest.raises(DataError, match="at least one"):
        compute_features(prices_of(closes(0)), [])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100), days=st.integers(1, 40))
def test_rolling_sums_are_those_of_pandas(seed: int, days: int) -> None:
    values = np.random.default_rng(seed).normal(size=(30, 2))
    values[seed % 30, 0] = np.nan
    expected = pd.DataFrame(values).rolling(days).sum().to_numpy()
    np.testing.assert_allclose(rolling_sum(values, days), expected, atol=1e-12)


def test_features_of_real_prices_follow_their_definitions() -> None:
    prices = load_prices("sp500-20", end="1992-12-31")
    table = compute_features(prices)
    log = np.log(prices.close["AMD"])
    returns = log.diff()

    def volatility(days: int) -> pd.Series:
        return np.sqrt((returns**2).rolling(days).mean())

    expected = {
        **{f"ret_{n}": returns.rolling(n).sum() / volatility(63) / np.sqrt(n) for n in (1, 5, 21, 126)},
        "ma_gap_63": (log - log.rolling(63).mean()) / volatility(63) / np.sqrt(62 * 125 / (6 * 63)),
        "abs_ret": returns.abs() / volatility(63) - np.sqrt(2 / np.pi),
        "vol_ratio": np.log(np.maximum(volatility(5) / volatility(63), 0.05)),
        "vol_trend": np.log(volatility(21) / volatility(126)),
    }
    column = prices.symbols.index("AMD")
    for index, name in enumerate(table.names):
        found = table.values[table.warmup :, column, index]
        np.testing.assert_allclose(found, expected[name].to_numpy()[table.warmup :], atol=2e-5, err_msg=name)


BARS = ("volume_ratio", "volume_change", "range_ratio", "close_location")


def test_bar_features_have_known_values_and_no_unit() -> None:
    frame = closes(0)
    prices = prices_of(frame)
    table = compute_features(prices, BARS)
    assert table.parity.tolist() == [1, 1, 1, -1]
    volume = np.log(prices.field("volume")["B"])
    assert table.values[100, 1, 0] == pytest.approx(volume.iloc[100] - volume.iloc[38:101].mean(), abs=1e-5)
    change = volume.diff()
    usual = np.sqrt((change.iloc[38:101] ** 2).mean())
    assert table.values[100, 1, 1] == pytest.approx(change.iloc[100] / usual, abs=1e-5)
    spread = np.log(prices.field("high") / prices.field("low"))["B"]
    assert table.values[100, 1, 2] == pytest.approx(
        np.log(spread.iloc[100] / spread.iloc[38:101].mean()), abs=1e-5
    )
    assert -1 <= table.values[..., 3].min() < -0.9 < 0.9 < table.values[..., 3].max() <= 1
    scaled = Prices.from_frames("x", **{name: field * 7.0 for name, field in prices.fields.items()})
    np.testing.assert_allclose(compute_features(scaled, BARS).values, table.values, atol=1e-5)


def test_a_split_does_not_look_like_a_surge_of_volume() -> None:
    frame = closes(0)
    plain = prices_of(frame)
    factor = pd.DataFrame(
        np.where(np.arange(LENGTH) < 150, 4.0, 1.0)[:, None] * np.ones(3), frame.index, frame.columns
    )
    split = Prices.from_frames(
        "split",
        close=frame * factor,
        adj_close=frame,
        high=plain.field("high") * factor,
        low=plain.field("low") * factor,
        volume=plain.field("volume") / factor,
    )
    np.testing.assert_allclose(
        compute_features(split, BARS).values, compute_features(plain, BARS).values, atol=1e-5
    )


def test_days_without_volume_or_range_are_quiet_and_missing_fields_are_refused() -> None:
    frame = closes(0)
    plain = prices_of(frame)
    volume, high, low = (plain.field(name).copy() for name in ("volume", "high", "low"))
    volume.iloc[200, 0], volume.iloc[201, 0] = np.nan, 0.0
    volume["C"] = np.nan
    high.iloc[200, 1] = low.iloc[200, 1] = frame.iloc[200, 1]
    table = compute_features(Prices.from_frames("x", close=frame, high=high, low=low, volume=volume), BARS)
    assert np.isfinite(table.values).all()
    assert (table.values[200:202, 0, 1] == 0).all()
    assert (table.values[:, 2, :2] == 0).all()
    assert table.values[200, 1, 3] == 0
    assert table.values[200, 1, 2] == pytest.approx(np.log(0.05), abs=1e-5)
    with pytest.raises(
        DataError, match=r"x: the feature 'range_ratio' needs the field 'high', .*\(fields: close\)"
    ):
        compute_features(Prices.from_frames("x", close=frame), BARS[2:])
