"""Tests of number formats: one decimal mark for a file, decided by all its cells."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import DataError
from data.quality.pipeline import CheckOptions
from data.readers.files import ReadOptions, read_prices
from data.readers.numbers import NumberFormat, find_format, parse_numbers

Write = Callable[..., Path]
NO_CALENDAR = CheckOptions(calendar="none")


def read(texts: list[str], delimiter: str = ";") -> list[float]:
    column = pd.Series(texts, dtype="str")
    return [float(value) for value in parse_numbers(column, find_format([column], delimiter)).values]


@pytest.mark.parametrize(
    ("texts", "delimiter", "values"),
    [
        (["1,005", "988", "1,012"], ",", [1005, 988, 1012]),
        (["1,005", "988", "1,012"], ";", [1005, 988, 1012]),
        (["1,005", "0,998", "1,012"], ";", [1.005, 0.998, 1.012]),
        (["1,005", "1,01", "1"], ";", [1.005, 1.01, 1]),
        (["1.234,5", "15.733"], ";", [1234.5, 15733]),
        (["1,234.5", "15,733"], ";", [1234.5, 15733]),
        (["1.234.567", "15.733"], ";", [1234567, 15733]),
        (["15.733", "15.73"], ";", [15.733, 15.73]),
        (["0.391", "0.812"], ";", [0.391, 0.812]),
        (["15.733", "16.002"], ",", [15.733, 16.002]),
        (["145.123", "145.456"], "\t", [145.123, 145.456]),
        (["1 234,5", "1\u00a0005"], ";", [1234.5, 1005]),
        (["1'234.50", "988.10"], ";", [1234.5, 988.1]),
        (["$1,005.50", "1.2M", "EUR 3"], ",", [1005.5, 1.2e6, 3]),
        (["-1,5", "2,25"], ";", [-1.5, 2.25]),
    ],
)
def test_one_format_decided_by_all_cells(texts: list[str], delimiter: str, values: list[float]) -> None:
    np.testing.assert_allclose(read(texts, delimiter), values, rtol=1e-15)


def test_format_of_another_column_decides(cases: Path) -> None:
    prices = read_prices([cases / "semicolon-dot-thousands.csv"]).prices
    assert prices.close["DAX"].iloc[0] == 15733
    assert prices.close["TECDAX"].iloc[0] == 3353.34


def test_cells_that_contradict_the_format_are_unreadable() -> None:
    column = pd.Series(["1,5", "2,25", "3.75"], dtype="str")
    assert parse_numbers(column, find_format([column], ";")).unreadable.tolist() == [False, False, True]
    assert parse_numbers(column, NumberFormat(".")).unreadable.tolist() == [True, True, False]


@pytest.mark.parametrize(("decimal", "value"), [(".", 15.733), (",", 15733.0)])
def test_ambiguous_numbers_are_refused_and_the_advice_settles_them(
    write: Write, decimal: str, value: float
) -> None:
    path = write("Date;DAX\n02.01.2024;15.733\n03.01.2024;15.737\n")
    with pytest.raises(DataError, match=r"'15.733' may have a decimal mark.*--decimal '.', or --decimal ','"):
        read_prices([path], checks=NO_CALENDAR)
    prices = read_prices([path], options=ReadOptions(decimal=decimal), checks=NO_CALENDAR).prices
    assert prices.close["DAX"].iloc[0] == value
