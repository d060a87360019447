"""Tests of dated membership files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from data import DataError
from data.membership import read_membership

Write = Callable[..., Path]
HEADER = "symbol,from,to\n"


def test_members_of_a_date_and_mask(cases: Path) -> None:
    membership = read_membership(cases / "membership.csv")
    assert membership.members("2019-12-31") == ("AAA", "BBB")
    assert membership.members("2020-06-30") == ("AAA", "BBB")
    assert membership.members("2020-07-01") == ("AAA",)
    assert membership.members("2023-01-02") == ("AAA", "BBB", "CCC")
    dates = pd.DatetimeIndex(["2014-12-31", "2015-01-02", "2020-06-30", "2020-07-01", "2022-03-01"])
    mask = membership.mask(dates, ("BBB", "ZZZ", "AAA"))
    assert mask.T.tolist() == [[False, True, True, False, True], [False] * 5, [False, True, True, True, True]]


def test_other_names_of_columns_are_accepted(write: Write) -> None:
    path = write("ticker,start_date,end_date\nAMD,1996-01-02,2013-09-20\nAMD,2017-03-20,\n", "sp500.csv")
    membership = read_membership(path)
    assert membership.members("2013-09-20") == membership.members("2017-03-20") == ("AMD",)
    assert membership.members("2015-01-02") == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "symbol,from\nA,2020-01-02\n",
            "there is no column 'to'; a membership file has the columns symbol, from and to",
        ),
        ("symbol,ticker,from,to\nA,A,2020-01-02,\n", "both 'symbol' and 'ticker' may be the column 'symbol'"),
        (HEADER, "no row"),
        (HEADER + "A,,2020-01-02\n", "m.csv line 2: 'from' is empty"),
        (HEADER + "A,soon,\n", "m.csv line 2: from 'soon' is not a date"),
        (HEADER + "A,2020-01-02,\nB,2020-01-02,never\n", "m.csv line 3: to 'never' is not a date"),
        (HEADER + "A,02/03/2020,\n", "line 2: from .*YYYY-MM-DD"),
        (HEADER + ",2020-01-02,\n", "m.csv line 2: the symbol is empty"),
        (
            HEADER + "A,2020-01-02,2019-01-02\n",
            "line 2: A leaves on 2019-01-02, before it joins on 2020-01-02",
        ),
        (
            HEADER + "A,2021-01-04,\nA,2020-01-02,2021-01-04\n",
            "line 2: A joins on 2021-01-04, .* by m.csv line 3",
        ),
        (HEADER + "A,2020-01-02,\nA,2021-01-04,\n", "line 3: A joins on 2021-01-04, .* by m.csv line 2"),
    ],
)
def test_files_that_are_wrong_are_refused_with_one_line(write: Write, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        read_membership(write(text, "m.csv"))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_membership(tmp_path / "none.csv")


def test_dates_that_are_not_clear_are_read_in_a_given_format(write: Write) -> None:
    path = write(HEADER + "A,02/03/2020,\n", "m.csv")
    assert read_membership(path, date_format="%d/%m/%Y").members("2020-03-02") == ("A",)
