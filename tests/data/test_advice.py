"""Tests that follow the advice of refused imports on the command line, and check the prices."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data import DataError, load_prices
from data.cli import app
from tests.data.quality.tables import walk


@pytest.fixture
def table(sessions: Any) -> pd.DataFrame:
    """Return a year of bars without a fault."""
    days = sessions("2022-01-03", "2022-12-30")
    close = walk(len(days)).round(4)
    return pd.DataFrame(
        {"date": days.strftime("%Y-%m-%d"), "high": 1.01 * close, "low": 0.99 * close, "close": close}
    )


def split(table: pd.DataFrame) -> pd.DataFrame:
    prices = ["high", "low", "close"]
    return pd.concat([table[:150].assign(**{name: table[:150][name] * 4 for name in prices}), table[150:]])


def duplicate(table: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([table[:100], table[99:]])


def intraday(table: pd.DataFrame) -> pd.DataFrame:
    rows = [
        table.assign(date=table["date"] + f" {hour}:00", close=table["close"] * factor)
        for hour, factor in ((10, 0.999), (12, 1.001), (16, 1.0))
    ]
    return pd.concat(rows).sort_values("date")


def shuffled(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=0)


FAULTS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "split-jump": split,
    "duplicate": duplicate,
    "intraday": intraday,
    "unsorted": shuffled,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_repair_that_is_advised_gives_the_prices_back(
    tmp_path: Path, table: pd.DataFrame, fault: str
) -> None:
    path = tmp_path / "A.csv"
    FAULTS[fault](table).to_csv(path, index=False)
    command = ["import", str(path), "--name", "a", "--strict", "--home", str(tmp_path / "home")]
    error = CliRunner().invoke(app, command).exception
    assert isinstance(error, DataError)
    assert fault in str(error)
    advised = re.findall(r"--repair [a-z-]+", str(error).split("; to continue")[-1])
    assert advised
    for number, advice in enumerate(advised):
        repaired = [*command[:3], f"a{number}", *command[4:], *advice.split()]
        result = CliRunner().invoke(app, repaired)
        assert result.exit_code == 0, result.output
        prices = load_prices(f"a{number}", home=tmp_path / "home")
        np.testing.assert_allclose(prices.close["A"], table["close"], rtol=1e-12)


@pytest.mark.parametrize(
    ("case", "options", "lowest"),
    [
        ("true-crash.csv", "--allow large-move", -0.51),
        ("price-spike.csv", "--repair blank-spikes (or --allow spike) --allow missing-value", -0.02),
    ],
)
def test_strict_imports_of_large_moves_continue_with_the_advised_options(
    cases: Path, tmp_path: Path, case: str, options: str, lowest: float
) -> None:
    home = tmp_path / "home"
    command = ["import", str(cases / case), "--name", "a", "--strict", "--home", str(home)]
    error = CliRunner().invoke(app, command).exception
    assert str(error).endswith(f"; to continue, import with {options}")
    result = CliRunner().invoke(app, [*command, *re.sub(r"\(.*?\)", "", options).split()])
    assert result.exit_code == 0, result.output
    returns = load_prices("a", home=home).adjusted().ffill().pct_change()
    assert returns.min().min() == pytest.approx(lowest, abs=0.01)
