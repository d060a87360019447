"""Tests of splits: in order of time, without overlap, with purge and embargo."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import ChronologicalSplitter, DataError, Prices, Split, WalkForwardSplitter, chronological_split

DATES = pd.bdate_range("2010-01-04", periods=1000)
PRICES = Prices.from_frames("x", close=pd.DataFrame({"A": 1.0}, DATES))


def position(date: pd.Timestamp) -> int:
    return int(DATES.get_loc(date))


def test_fractions_cut_the_sessions() -> None:
    cut = chronological_split(PRICES, (0.6, 0.2, 0.2))
    assert cut.train == (DATES[0], DATES[599])
    assert cut.validation == (DATES[600], DATES[799])
    assert cut.test == (DATES[800], DATES[-1])
    assert list(chronological_split(PRICES, (0.7, 0.3)).periods) == ["train", "test"]


def test_purge_and_embargo_leave_a_gap() -> None:
    cut = chronological_split(PRICES, (0.6, 0.2, 0.2), purge=5, embargo=3)
    assert cut.train == (DATES[0], DATES[594])
    assert cut.validation == (DATES[603], DATES[794])
    assert cut.test == (DATES[803], DATES[-1])


@settings(max_examples=80, deadline=None)
@given(
    train=st.integers(1, 400),
    validation=st.integers(0, 200),
    test=st.integers(1, 300),
    purge=st.integers(0, 10),
    embargo=st.integers(0, 10),
    expanding=st.booleans(),
)
def test_walk_forward_never_trains_on_what_it_tests(
    train: int, validation: int, test: int, purge: int, embargo: int, expanding: bool
) -> None:
    try:
        folds = WalkForwardSplitter(
            train=train,
            test=test,
            validation=validation,
            purge=purge,
            embargo=embargo,
            expanding=expanding,
        ).split(PRICES)
    except DataError:
        assert train <= purge or test <= embargo or (validation and validation <= purge + embargo)
        return
    last_test = -1
    for fold in folds:
        bounds = [position(date) for period in fold.periods.values() for date in period]
        assert bounds == sorted(bounds)
        before_test = position((fold.validation or fold.train)[1])
        assert position(fold.test[0]) - before_test > purge + embargo
        assert position(fold.test[0]) > last_test
        last_test = position(fold.test[1])
    assert len(folds) == len({fold.test for fold in folds})


def test_walk_forward_tiles_the_time_line() -> None:
    folds = WalkForwardSplitter(train=500, test=100).split(PRICES)
    assert [position(fold.test[0]) for fold in folds] == [500, 600, 700, 800, 900]
    assert [position(fold.test[1]) for fold in folds] == [599, 699, 799, 899, 999]
    expanding = WalkForwardSplitter(train=500, test=100, expanding=True).split(PRICES)
    assert all(fold.train[0] == DATES[0] for fold in expanding)
    assert position(WalkForwardSplitter(train=500, test=300).split(PRICES)[-1].test[1]) == 999


@pytest.mark.parametrize(
    ("train", "validation", "test", "reason"),
    [
        (
            ("2010-01-01", "2015-01-01"),
            None,
            ("2014-01-01", "2016-01-01"),
            "test starts on 2014-01-01, but train lasts until 2015",
        ),
        (
            ("2010-01-01", "2012-01-01"),
            ("2012-01-01", "2013-01-01"),
            ("2014-01-01", "2016-01-01"),
            "validation starts",
        ),
        (
            ("2010-01-01", "2012-01-01"),
            ("2013-01-01", "2015-01-01"),
            ("2014-01-01", "2016-01-01"),
            "test starts",
        ),
        (
            ("2012-01-01", "2010-01-01"),
            None,
            ("2014-01-01", "2016-01-01"),
            "train ends on 2010-01-01, before it starts",
        ),
        (("2010-01-01", "yes"), None, ("2014-01-01", "2016-01-01"), "train end: 'yes' is not a date"),
    ],
)
def test_overlapping_or_reversed_periods_are_refused(
    train: Any, validation: Any, test: Any, reason: str
) -> None:
    with pytest.raises(DataError, match=reason):
        Split(train, validation, test)


def test_split_takes_dates_as_text() -> None:
    train: Any = ("2010-01-01", "2012-12-31")
    test: Any = ["2013-01-01", "2013-12-31"]
    made = Split(train, None, test)
    assert made.train[0] == pd.Timestamp("2010-01-01")
    assert made.test == (pd.Timestamp("2013-01-01"), pd.Timestamp("2013-12-31"))


def test_both_splitters_return_a_list_of_splits() -> None:
    assert ChronologicalSplitter().split(PRICES) == [chronological_split(PRICES)]
    assert ChronologicalSplitter((0.5, 0.5)).split(PRICES)[0].train == (DATES[0], DATES[499])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"fractions": (0.5, 0.2, 0.2)}, "sum 1"),
        ({"fractions": (1.0, 0.0, 0.0)}, "nothing for train or test"),
        ({"purge": -1}, "negative"),
        ({"purge": 300}, "validation is empty"),
    ],
)
def test_impossible_cuts_are_refused(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        chronological_split(PRICES, **arguments)  # type: ignore[arg-type]


def test_impossible_walks_are_refused() -> None:
    with pytest.raises(DataError, match="too few"):
        WalkForwardSplitter(train=1000, test=10).split(PRICES)
    with pytest.raises(DataError, match="overlap"):
        WalkForwardSplitter(train=100, test=20, step=10).split(PRICES)
    with pytest.raises(DataError, match="positive"):
        WalkForwardSplitter(train=0, test=20).split(PRICES)
