"""Tests of stored signals: versions, damage, and the version that a run may use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from data import DataError, load_prices
from data.cli import app
from data.signals.store import SignalStore, recorded_references
from data.signals.values import Signals

DATES = pd.bdate_range("2021-03-01", periods=60)
DETAILS = {"prices": {"name": "made"}, "provider": {}, "repairs": []}


def made(days: int = 60, seed: int = 0, name: str = "own") -> Signals:
    values = np.random.default_rng(seed).normal(size=(60, 2, 2))[:days]
    values[3, 0, 1] = np.nan
    return Signals(name, DATES[:days], ("A", "B"), {"up": -1, "size": 1}, values)


def test_signals_come_back_the_same_and_equal_ones_are_not_written_twice(tmp_path: Path) -> None:
    store = SignalStore(tmp_path)
    one = store.save(made(), DETAILS)
    assert (one.reference, one.written) == ("own", True)
    assert store.load("own").hash == made().hash == one.manifest["hash"]
    np.testing.assert_array_equal(store.load("own").values, made().values)
    assert not store.save(made(), DETAILS).written
    two = store.save(made(seed=1), DETAILS)
    assert two.reference == "own@2"
    assert two.differences == (
        f"239 values were revised (first on {DATES[0].date()}) and 0 stamps are gone; "
        "runs that recorded own keep using it",
    )
    assert store.load("own@1").hash == made().hash


def test_a_run_may_use_later_stamps_and_never_revised_values(tmp_path: Path) -> None:
    store = SignalStore(tmp_path)
    store.save(made(40), DETAILS)
    record = store.load("own").record()
    longer = store.save(made(60), DETAILS)
    assert longer.differences == (f"20 new stamps, {DATES[40].date()} to {DATES[59].date()}",)
    assert recorded_references([record], tmp_path) == ("own@2",)
    store.save(made(60, seed=5), DETAILS)
    assert recorded_references([record], tmp_path) == ("own@2",)
    with pytest.raises(
        DataError, match=r"signals 'own' with hash 000000000000.*import the file of that time again"
    ):
        recorded_references([{**record, "hash": "0" * 64}], tmp_path)


def test_damaged_and_missing_signals_are_refused(tmp_path: Path) -> None:
    store = SignalStore(tmp_path)
    with pytest.raises(DataError, match=r"no signals 'own' .*none yet"):
        store.load("own")
    path = store.save(made(), DETAILS).path
    file = path / "signals.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="corrupted"):
        store.load("own")
    (path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="manifest is corrupted"):
        store.open("own")
    with pytest.raises(DataError, match="not a valid signals name"):
        store.save(made(name="a/b"), DETAILS)


def test_import_and_list_commands(tmp_path: Path) -> None:
    prices = load_prices("factors-5")
    values = np.log(prices.close).diff(5).round(6)
    values.to_csv(tmp_path / "momentum.csv")

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--home", str(tmp_path)], catch_exceptions=code == 0)
        assert (result.exit_code == 0) == (code == 0), result.output
        return result.stdout

    command = ["import-signals", str(tmp_path / "momentum.csv"), "--prices", "factors-5", "--odd", "momentum"]
    text = run(*command)
    assert "momentum odd; lag 1, carried 5 sessions" in text
    assert "signals momentum written to" in text
    again = json.loads(run(*command, "--json"))
    assert (again["snapshot"], again["written"], again["columns"]) == ("momentum", False, {"momentum": "odd"})
    assert again["prices"] == {"name": "factors-5", "hash": prices.hash}
    listed = json.loads(run("list", "--json"))["signals"]
    assert [row["reference"] for row in listed] == ["momentum"]
    assert "momentum (odd)" in run("list")
    loaded = load_prices("factors-5", home=tmp_path, signals=["momentum"])
    assert loaded.signals[0].source.hash == again["hash"]
    assert loaded.hash == prices.hash
