"""Tests of signal files: layouts that mean the same, and bad input refused in one line with place and advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import DataError, Prices
from data.signals.files import SignalImport, read_signals
from data.signals.options import SignalOptions

Write = Callable[..., Path]
DATES = pd.bdate_range("2021-03-01", periods=60)
SYMBOLS = ("A", "B")
BOTH = SignalOptions(odd=("up",), even=("size",))


@pytest.fixture(scope="module")
def prices() -> Prices:
    return Prices.from_frames("made", close=pd.DataFrame(10.0, DATES, list(SYMBOLS)))


def values(column: str) -> pd.DataFrame:
    seed = {"up": 1, "size": 2}[column]
    found = pd.DataFrame(np.random.default_rng(seed).normal(size=(60, 2)).round(4), DATES, list(SYMBOLS))
    found.index.name = "date"
    return found


def long() -> pd.DataFrame:
    parts = {
        name: values(name).melt(ignore_index=False, var_name="symbol", value_name=name)
        for name in ("up", "size")
    }
    return parts["up"].assign(size=parts["size"]["size"]).reset_index()


def lines(*rows: str) -> str:
    return "date,symbol,up,size\n" + "\n".join(rows) + "\n"


def test_every_layout_gives_the_same_signals(tmp_path: Path, prices: Prices) -> None:
    long().to_csv(tmp_path / "long.csv", index=False)
    long().sample(frac=1, random_state=0).to_parquet(tmp_path / "long.parquet")
    levels = pd.concat({name: values(name) for name in ("up", "size")}, axis=1)
    levels.to_csv(tmp_path / "levels.csv")
    levels.swaplevel(axis=1).to_parquet(tmp_path / "levels.parquet")
    for name in ("up", "size"):
        values(name).to_csv(tmp_path / f"{name}.csv")
    files = [["long.csv"], ["long.parquet"], ["levels.csv"], ["levels.parquet"], ["up.csv", "size.csv"]]
    found = [read_signals([tmp_path / f for f in group], prices, BOTH, name="own").signals for group in files]
    assert len({item.hash for item in found}) == 1
    np.testing.assert_array_equal(found[0].values[..., 0], values("up").to_numpy())
    assert dict(found[0].parity) == {"up": -1, "size": 1}
    alone = SignalOptions(odd=("anything",))
    one = read_signals([tmp_path / "up.csv"], prices, alone)
    assert one.signals.features == ("up:anything",)
    assert one.details["coverage"] == pytest.approx(59 / 60)


BAD = {
    "unknown symbol": (
        lines("2021-03-01,A,1,2", "2021-03-01,ABC,1,2"),
        {},
        "file.csv line 3: ABC 2021-03-01: .*no symbol 'ABC'.*--repair drop-symbols",
    ),
    "twice": (
        lines("2021-03-01,A,1,2", "2021-03-02,A,1,2", "2021-03-01,A,3,4"),
        {},
        "file.csv line 4: A 2021-03-01: up has a second row.*--repair keep-first or --repair keep-last",
    ),
    "before": (
        lines("2021-02-26,A,1,2"),
        {},
        "line 2: A 2021-02-26: .*outside of the prices.*2021-03-01.*--repair drop-outside",
    ),
    "after": (
        lines("2021-03-01,A,1,2", "2021-06-01,A,1,2"),
        {},
        "line 3: A 2021-06-01.*outside of the prices",
    ),
    "future": (lines("2221-03-01,A,1,2"), {}, "stamp 2221-03-01 lies in the future"),
    "no such year": (lines("2921-03-01,A,1,2"), {}, "line 2.*no readable date"),
    "text": (
        lines("2021-03-01,A,1,2", "2021-03-02,B,high,2"),
        {},
        "line 3: B 2021-03-02: up 'high' is not a finite number.*--repair blank-bad-values",
    ),
    "infinite": (lines("2021-03-01,A,inf,2"), {}, "up 'inf' is not a finite number"),
    "no date": (lines("soon,A,1,2", "2021-03-01,A,1,2"), {}, "line 2.*no readable date.*drop-bad-rows"),
    "no symbol": (lines("2021-03-01,,1,2"), {}, "line 2.*no symbol.*drop-bad-rows"),
    "day or month": (
        lines("02/03/2021,A,1,2", "03/03/2021,A,1,2"),
        {},
        "line 2: date .*--date-format %m/%d/%Y or --date-format %d/%m/%Y",
    ),
    "time of day": (
        lines("2021-03-01 16:30,A,1,2"),
        {},
        "line 2: the stamp '2021-03-01 16:30' has a time of day",
    ),
    "short row": (lines("2021-03-01,A,1", "2021-03-02,A,1,2"), {}, "line 2.*--repair drop-bad-rows"),
    "no date column": (
        "symbol,up,size\nA,1,2\n",
        {},
        "no date column among symbol, up, size; .*--map date=COLUMN",
    ),
    "missing column": (lines("2021-03-01,A,1,2"), {"odd": ("down",)}, "no column 'down' .columns: up, size"),
    "no symbol column": ("date,up,size\n2021-03-01,1,2\n", {}, "no symbol column .*--map symbol=COLUMN"),
    "wide without its name": ("date,A,B\n2021-03-01,1,2\n", {}, "'file' is none of those declared"),
    "nothing left": (lines("2021-03-01,A,,2"), {}, "up: no value is left"),
    "wrong map": (lines("2021-03-01,A,1,2"), {"mapping": {"date": "day"}}, "no column 'day' for the date"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_refused_in_one_line(case: str, write: Write, prices: Prices) -> None:
    text, changes, message = BAD[case]
    options = SignalOptions(**{"odd": ("up",), "even": ("size",), **changes})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        read_signals([write(text)], prices, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"odd": ("a", "b"), "even": ("b",)}, "'b' is declared odd and even"),
        ({"odd": ("a", "a")}, "'a' is named twice"),
        ({}, "no signal is declared"),
        ({"odd": ("a:b",)}, "'a:b' cannot be the name of a signal"),
        ({"odd": ("date",)}, "'date' cannot be the name"),
        ({"odd": ("a",), "repair": ("magic",)}, "'magic' is not one of"),
        ({"odd": ("a",), "repair": ("keep-first", "keep-last")}, "exclude each other"),
    ],
)
def test_bad_options_are_refused(changes: dict[str, tuple[str, ...]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SignalOptions(**changes)  # type: ignore[arg-type]


def read(path: Path, prices: Prices, *repair: str) -> SignalImport:
    return read_signals([path], prices, SignalOptions(("up",), ("size",), repair=repair))


def test_repairs_are_made_on_request_and_recorded(write: Write, prices: Prices) -> None:
    path = write(
        lines(
            "2021-03-01,A,1,2",
            "2021-03-01,A,3,4",
            "2021-03-02,X,1,2",
            "2021-02-01,A,1,2",
            "2021-03-02,A,oops,2",
            ",B,1,2",
            "2021-03-03,B,1,1",
        )
    )
    others = ("drop-symbols", "drop-outside", "blank-bad-values", "drop-bad-rows")
    first, last = (read(path, prices, keep, *others) for keep in ("keep-first", "keep-last"))
    assert first.signals.values[0, 0].tolist() == [1, 2]
    assert last.signals.values[0, 0].tolist() == [3, 4]
    assert np.isnan(first.signals.values[1, 0, 0])
    counts = {entry["repair"]: entry["count"] for entry in first.details["repairs"]}
    assert counts == {
        "keep-first": 2,
        "drop-symbols": 2,
        "drop-outside": 2,
        "blank-bad-values": 1,
        "drop-bad-rows": 2,
    }
