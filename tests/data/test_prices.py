"""Tests of the panel: validation, adjusted prices, selections and the hash."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import DataError, Prices

DATES = pd.DatetimeIndex(["2024-01-02", "2024-01-03", "2024-01-04"])


def panel(values: list[list[float]], **fields: list[list[float]]) -> Prices:
    def frame(rows: list[list[float]]) -> pd.DataFrame:
        return pd.DataFrame(rows, DATES[: len(rows)], ["A", "B"][: len(rows[0])])

    return Prices.from_frames("panel", close=frame(values), **{k: frame(v) for k, v in fields.items()})


def test_panel_has_the_given_values() -> None:
    prices = panel([[1, 10], [2, np.nan], [3, 30]], open=[[1, 1], [np.nan, 2], [3, 3]])
    assert prices.symbols == ("A", "B")
    assert len(prices) == 3
    assert prices.has_opens
    assert list(prices.fields) == ["open", "close"]
    assert np.isnan(prices.close.loc["2024-01-03", "B"])
    assert "panel" in repr(prices)


def test_arrays_cannot_be_changed() -> None:
    prices = panel([[1, 10], [2, 20]])
    with pytest.raises(ValueError, match="read-only"):
        prices.close.to_numpy()[0, 0] = 5
    with pytest.raises(ValueError, match="read-only"):
        prices.fields["close"].iloc[0, 0] = 5.0
    with pytest.raises(TypeError):
        prices.fields["open"] = prices.close  # type: ignore[index]
    assert prices.close.iloc[0, 0] == 1


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "is 0"), (-3.0, "is -3"), (np.inf, "is inf"), (-np.inf, "is -inf")]
)
def test_impossible_prices_are_refused_with_their_place(value: float, shown: str) -> None:
    with pytest.raises(DataError, match=rf"close of B on 2024-01-03 {shown}"):
        panel([[1, 10], [2, value]])


def test_negative_volumes_are_refused_and_zero_is_not() -> None:
    panel([[1, 10]], volume=[[0, 5]])
    with pytest.raises(DataError, match="volume of A on 2024-01-02 is -1"):
        panel([[1, 10]], volume=[[-1, 5]])


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        (["2024-01-03", "2024-01-02"], "2024-01-02 comes after 2024-01-03"),
        (["2024-01-02", "2024-01-02"], "2024-01-02 appears twice"),
        (["2024-01-02", None], "a date is missing at row 1"),
        (["2024-01-02 16:00", "2024-01-03 16:00"], "has a time of day"),
    ],
)
def test_wrong_dates_are_refused(dates: list[str], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        Prices.from_frames("x", close=pd.DataFrame({"A": [1.0, 2.0]}, pd.DatetimeIndex(dates)))


def test_time_zones_wrong_symbols_and_fields_are_refused() -> None:
    frame = pd.DataFrame({"A": [1.0, 2.0]}, DATES[:2])
    with pytest.raises(DataError, match="time zone"):
        Prices.from_frames("x", close=frame.tz_localize("UTC"))
    with pytest.raises(DataError, match="twice"):
        Prices.from_frames("x", close=pd.concat([frame, frame], axis=1))
    with pytest.raises(DataError, match="unknown field 'clsoe'"):
        Prices.from_frames("x", close=frame, clsoe=frame)
    with pytest.raises(DataError, match="no field 'close'"):
        Prices.from_frames("x", open=frame)
    with pytest.raises(DataError, match="other dates"):
        Prices.from_frames("x", close=frame, open=frame.set_axis(DATES[1:]))
    with pytest.raises(DataError, match="every close is missing"):
        Prices.from_frames("x", close=frame * np.nan)
    with pytest.raises(DataError, match="not numeric"):
        Prices.from_frames("x", close=frame.astype(object).replace(1.0, "abc"))


def test_selection_and_range() -> None:
    prices = panel([[1, 10], [2, 20], [3, 30]])
    assert prices.select(["B", "A"]).symbols == ("B", "A")
    assert prices.select(["B"]).close["B"].tolist() == [10, 20, 30]
    assert list(prices.between("2024-01-03", "2024-01-04").dates) == list(DATES[1:])
    assert prices.between(None, None) is prices
    with pytest.raises(DataError, match=r"no symbol C \(symbols: A, B\)"):
        prices.select(["A", "C"])
    with pytest.raises(
        DataError, match=r"no session from 2025-01-01 to 2025-02-01 .*2024-01-02 to 2024-01-04"
    ):
        prices.between("2025-01-01", "2025-02-01")
    with pytest.raises(DataError, match="start: 'yesterdy' is not a date"):
        prices.between("yesterdy")


def test_adjusted_prices_scale_by_the_adjusted_close() -> None:
    prices = panel([[10, 10], [20, 20]], open=[[9, 9], [18, np.nan]], adj_close=[[5, 10], [20, 20]])
    assert prices.adjusted("close").iloc[0].tolist() == [5, 10]
    assert prices.adjusted("open").iloc[0].tolist() == [4.5, 9]
    assert np.isnan(prices.adjusted("open").iloc[1, 1])
    plain = panel([[1, 2]])
    assert plain.adjusted() is plain.close
    with pytest.raises(DataError, match="no field 'open'"):
        plain.adjusted("open")
    with pytest.raises(DataError, match="not 'volume'"):
        plain.adjusted("volume")


def test_symbol_without_adjusted_closes_is_not_adjusted() -> None:
    nan = np.nan
    prices = panel(
        [[10, 10], [20, 20]],
        open=[[9, 9], [18, 19]],
        adj_close=[[5, nan], [20, nan]],
        volume=[[1, 1], [1, 1]],
    )
    assert prices.adjusted("close").to_numpy().tolist() == [[5, 10], [20, 20]]
    assert prices.adjusted("open").to_numpy().tolist() == [[4.5, 9], [18, 19]]


def test_missing_adjusted_closes_take_the_last_known_factor_and_one_before_the_first() -> None:
    nan = np.nan
    prices = panel(
        [[10, 10], [20, 20], [30, 40]],
        open=[[10, 10], [20, nan], [30, 40]],
        adj_close=[[nan, 5], [10, nan], [15, 40]],
    )
    assert prices.adjusted("close").to_numpy().tolist() == [[10, 5], [10, 10], [15, 40]]
    np.testing.assert_array_equal(prices.adjusted("open"), [[10, 5], [10, nan], [15, 40]])


def test_adjusted_prices_do_not_depend_on_later_rows(make_prices: Callable[..., Prices]) -> None:
    prices = make_prices(5, 300, 2)
    adjusted = prices.fields["adj_close"].copy()
    adjusted.iloc[:200, 1] = np.nan
    adjusted.iloc[40:60, 0] = np.nan

    def panel_with(later: float) -> Prices:
        frames = {name: frame.copy() for name, frame in prices.fields.items()} | {
            "adj_close": adjusted.copy()
        }
        for frame in frames.values():
            frame.iloc[151:] *= later
        frames["adj_close"].iloc[151:] *= later
        return Prices.from_frames("later", **frames)

    base, changed = panel_with(1.0), panel_with(1.7)
    for field in ("open", "close"):
        before, after = base.adjusted(field).iloc[:151], changed.adjusted(field).iloc[:151]
        pd.testing.assert_frame_equal(before, after, check_exact=True)
        assert base.adjusted(field).notna().all().all()


def test_hash_depends_on_values_dates_symbols_and_fields_alone() -> None:
    base = panel([[1, 10], [2, np.nan]])
    same = Prices.from_frames(
        "another name",
        close=pd.DataFrame(
            np.asfortranarray([[1.0, 10.0], [2.0, -np.nan]]), DATES[:2].as_unit("s"), ["A", "B"]
        ),
        notes=["a note"],
    )
    assert base.hash == same.hash
    assert base == same
    others = [
        panel([[1, 10], [2, 20]]),
        panel([[1, 10], [2, np.nan]], volume=[[1, 1], [1, 1]]),
        base.select(["B", "A"]),
        base.between("2024-01-03"),
        Prices.from_frames("x", close=base.close.set_axis(["A", "C"], axis=1)),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 6


def test_the_hash_of_a_small_panel_is_golden() -> None:
    prices = panel([[1, 10], [2, np.nan]], volume=[[0, 1], [2, 3]])
    assert prices.hash == "e7d11f2dfaa8dd666e1332a64e5b0858a09cc55cf8a97d158c8273a387558f03"


cells = st.one_of(st.just(np.nan), st.floats(1e-6, 1e6))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_long_and_wide_forms_are_equal(data: st.DataObject) -> None:
    length, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    rows = st.lists(st.lists(cells, min_size=width, max_size=width), min_size=length, max_size=length)
    dates = pd.date_range("2024-01-01", periods=length)
    symbols = [f"S{index}" for index in range(width)]
    close = np.array(data.draw(rows))
    if np.isnan(close).all():
        close[0, 0] = 1.0
    prices = Prices.from_frames(
        "drawn",
        close=pd.DataFrame(close, dates, symbols),
        open=pd.DataFrame(np.array(data.draw(rows)), dates, symbols),
    )
    long = prices.to_long().sample(frac=1, random_state=data.draw(st.integers(0, 100)))
    assert Prices.from_long(long, "drawn", symbols=prices.symbols).hash == prices.hash


def test_long_frames_with_holes_and_repeats() -> None:
    long = pd.DataFrame({"date": DATES[[0, 0, 1]], "symbol": ["A", "B", "A"], "close": [1.0, 2.0, 3.0]})
    assert np.isnan(Prices.from_long(long, "x").close.loc["2024-01-03", "B"])
    with pytest.raises(DataError, match="A has 2 rows on 2024-01-02"):
        Prices.from_long(pd.concat([long, long.iloc[:1]]), "x")
    with pytest.raises(DataError, match="no column 'close'"):
        Prices.from_long(long.drop(columns="close"), "x")
    with pytest.raises(DataError, match="row 1 lacks its date or symbol"):
        Prices.from_long(long.assign(symbol=["A", None, "A"]), "x")


def test_panels_can_be_sent_to_other_processes(make_prices: Callable[..., Prices]) -> None:
    prices = make_prices(0, 20, 3)
    assert pickle.loads(pickle.dumps(prices)) == prices  # noqa: S301
