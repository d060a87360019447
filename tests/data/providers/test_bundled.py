"""Tests of the bundled datasets: real, offline, and equal on every machine."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from data import DataError, load_prices
from data.providers.bundled import bundled_manifest, bundled_names, load_bundled
from data.snapshots.store import check_name

# Computed from the files that the pinned versions of the packages ship.
GOLDEN = {
    "sp500-20": (
        "50f35ce6e4e751f121cc1538c9b4a59e17b398b73000271cad6b15077c98faff",
        8313,
        20,
        "1990-01-02",
        "2022-12-28",
    ),
    "factors-5": (
        "d4a5950e4bf3ec19d07e4321f7d8d23d423032f82f4495ca7a1ba9021947d421",
        2264,
        5,
        "2014-01-02",
        "2022-12-28",
    ),
    "sp500-index-ohlc": (
        "2764af80fc365ed564c84eea64e60688f4c845c40f6443b8c92e3cb26d65df23",
        5031,
        1,
        "1999-01-04",
        "2018-12-31",
    ),
    "industries": (
        "9dc81f1709350b28526462f5d47bfa1dccbd9449aa721e929e68187d19f5d3b4",
        820,
        30,
        "1948-12-31",
        "2017-03-31",
    ),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a bundled dataset uses the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", GOLDEN)
def test_bundled_datasets_are_golden(name: str) -> None:
    prices = load_bundled(name)
    digest, length, width, start, end = GOLDEN[name]
    assert (len(prices.dates), len(prices.symbols)) == (length, width)
    assert (str(prices.dates[0].date()), str(prices.dates[-1].date())) == (start, end)
    assert prices.hash == digest
    assert prices.notes
    assert prices.name == name


def test_every_bundled_dataset_has_a_golden_row() -> None:
    assert set(bundled_names()) == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_no_snapshot_can_hide_a_bundled_dataset(name: str) -> None:
    with pytest.raises(DataError, match="name of a bundled dataset"):
        check_name(name)


def test_survivorship_note() -> None:
    assert any("survivor" in note.lower() for note in load_prices("sp500-20").notes)
    assert any("survivor" in note.lower() for note in load_prices("sp500-20", symbols=["AAPL"]).notes)


def test_opens_are_there_only_where_the_source_has_them() -> None:
    assert not load_bundled("factors-5").has_opens
    assert load_bundled("sp500-index-ohlc").has_opens


def test_ranges_and_symbols_are_cut() -> None:
    prices = load_prices("sp500-20", start="2000-01-01", end="2000-12-31", symbols=["XOM", "AAPL"])
    assert prices.symbols == ("XOM", "AAPL")
    assert prices.dates[0].year == prices.dates[-1].year == 2000


def test_wrong_names_are_answered_with_the_available_ones(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sp500-2'.*available: sp500-20.*did you mean 'sp500-20'"):
        load_prices("sp500-2", home=tmp_path)
    with pytest.raises(DataError, match="no symbol NOPE"):
        load_prices("sp500-20", symbols=["NOPE"])
    with pytest.raises(DataError, match="'nothing' is not one of sp500-20"):
        bundled_manifest("nothing", tmp_path)
    assert not list(tmp_path.iterdir())


def test_manifest_is_stored_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = bundled_manifest("factors-5", tmp_path)
    prices = load_bundled("factors-5")
    assert manifest["hash"] == prices.hash
    assert manifest["symbol_dates"][0] == [prices.symbols[0], "2014-01-02", "2022-12-28", 2264]
    assert manifest["validation"]["calendar"] == "XNYS"
    assert sum(manifest["validation"]["counts"].values()) == len(manifest["findings"])
    monkeypatch.setattr("data.providers.bundled._manifest", None)
    assert bundled_manifest("factors-5", tmp_path) == manifest


def test_manifest_of_other_package_versions_is_computed_again(tmp_path: Path) -> None:
    manifest = bundled_manifest("factors-5", tmp_path)
    file = tmp_path / "cache" / "factors-5.json"
    stored = json.loads(file.read_text())
    stored["sources"]["skfolio"] = "0"
    file.write_text(json.dumps({**stored, "manifest": {}}))
    assert bundled_manifest("factors-5", tmp_path) == manifest
    for damaged in ("{", "[]", "null", json.dumps({**stored, "manifest": None})):
        file.write_text(damaged)
        assert bundled_manifest("factors-5", tmp_path) == manifest


def test_manifest_of_another_form_is_computed_again(tmp_path: Path) -> None:
    manifest = bundled_manifest("factors-5", tmp_path)
    file = tmp_path / "cache" / "factors-5.json"
    stored = json.loads(file.read_text())
    del stored["sources"]["format"]
    file.write_text(json.dumps({**stored, "manifest": {"findings": []}}))
    assert bundled_manifest("factors-5", tmp_path) == manifest


def test_manifest_needs_no_writable_home(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file, no folder")
    assert bundled_manifest("factors-5", tmp_path / "home")["sessions"] == 2264
