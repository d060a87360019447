"""Tests of the snapshot store: immutable versions, atomic writes, checks on every load."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import DataError, Prices, SnapshotStore, home_directory, load_prices
from data.snapshots import parquet as storage_module

PROVIDER = {"name": "test"}


def save(store: SnapshotStore, prices: Prices, name: str = "snap", **options: Any) -> Any:
    return store.save(prices, name, provider=PROVIDER, **options)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_saved_prices_are_loaded(store: SnapshotStore, make_prices: Callable[..., Prices]) -> None:
    prices = make_prices(0, 60, 4)
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    snapshot = save(store, prices, fetched_at=moment, validation={"counts": {}}, repairs=[{"repair": "sort"}])
    loaded = store.load("snap")
    assert loaded == prices
    assert loaded.symbols == prices.symbols
    assert loaded.name == "snap"
    manifest = json.loads((snapshot.path / "manifest.json").read_text())
    assert manifest["provider"] == PROVIDER
    assert manifest["fetched_at"] == "2024-01-02T03:04:05+00:00"
    assert manifest["hash"] == prices.hash
    assert (manifest["start"], manifest["sessions"]) == (str(prices.dates[0].date()), 60)
    assert manifest["repairs"] == [{"repair": "sort"}]
    long = pd.read_parquet(snapshot.path / "prices.parquet")
    assert list(long.columns) == ["date", "symbol", "open", "high", "low", "close", "adj_close", "volume"]
    assert len(long) == 240


def test_missing_values_empty_days_and_empty_symbols_are_stored(store: SnapshotStore) -> None:
    dates = pd.date_range("2024-01-01", periods=4)
    close = pd.DataFrame(
        {"Z": [np.nan, 1, np.nan, 2], "A": [np.nan, np.nan, np.nan, 3], "M": np.nan}, dates, dtype=float
    )
    prices = Prices.from_frames("holes", close=close, notes=["a note"])
    save(store, prices)
    loaded = store.load("snap")
    pd.testing.assert_frame_equal(loaded.close, prices.close)
    assert loaded.notes == ("a note",)
    # The hash in the manifest is the one that the loaded values give.
    assert Prices.from_frames("again", close=loaded.close).hash == loaded.hash


def test_versions_are_added_and_never_changed(
    store: SnapshotStore, make_prices: Callable[..., Prices]
) -> None:
    prices = make_prices(0, 60, 4)
    first = save(store, prices.select(["S0", "S1", "S2"]).between(None, prices.dates[50]))
    before = tree(first.path)
    same = save(store, prices.select(["S0", "S1", "S2"]).between(None, prices.dates[50]))
    assert (same.reference, same.written) == ("snap", False)
    close = prices.close.copy()
    close.iloc[5, 0] *= 1.01
    second = save(store, Prices.from_frames("x", close=close, open=prices.fields["open"]))
    assert (second.reference, second.written, store.versions("snap")) == ("snap@2", True, [1, 2])
    assert tree(first.path) == before
    text = "\n".join(second.differences)
    assert "1 symbols added since snap: S3" in text
    assert "9 sessions added since snap" in text
    assert "fields removed since snap" in text
    assert "close: 1 values changed since snap, by up to 1.000%; first S0 on 2001-01-09" in text
    assert store.load("snap") == store.load("snap@2")
    assert store.load("snap@1") == prices.select(["S0", "S1", "S2"]).between(None, prices.dates[50])
    assert store.references() == ["snap", "snap@2"]
    assert load_prices("snap@1", home=store.directory.parent).symbols == ("S0", "S1", "S2")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            lambda p: (p / "prices.parquet").write_bytes((p / "prices.parquet").read_bytes()[:-200]),
            "corrupted",
        ),
        (lambda p: (p / "prices.parquet").write_bytes(b""), "corrupted"),
        (lambda p: (p / "prices.parquet").unlink(), "corrupted"),
        (lambda p: flip(p / "prices.parquet"), "corrupted"),
        (lambda p: (p / "manifest.json").write_text('{"format": 1'), "manifest cannot be read"),
        (lambda p: (p / "manifest.json").unlink(), "manifest cannot be read"),
        (lambda p: edit(p / "manifest.json", "hash", "0" * 64), "its checksum differs"),
        (lambda p: edit(p / "manifest.json", "symbols", ["S1", "S0"]), "its checksum differs"),
        (lambda p: (p / "manifest.json").write_text("[]"), "its checksum differs"),
    ],
)
def test_damaged_snapshots_give_one_line(
    store: SnapshotStore, make_prices: Callable[..., Prices], damage: Callable[[Path], Any], reason: str
) -> None:
    snapshot = save(store, make_prices(0, 60, 2))
    damage(snapshot.path)
    with pytest.raises(DataError, match=reason) as caught:
        store.load("snap")
    assert "\n" not in str(caught.value)
    assert "snap" in str(caught.value)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0x10
    path.write_bytes(bytes(content))


def edit(path: Path, key: str, value: Any) -> None:
    manifest = json.loads(path.read_text())
    manifest[key] = value
    path.write_text(json.dumps(manifest))


def test_every_flipped_byte_is_noticed(store: SnapshotStore, make_prices: Callable[..., Prices]) -> None:
    file = save(store, make_prices(0, 12, 2)).path / "prices.parquet"
    content = file.read_bytes()
    for position in range(0, len(content), 97):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        file.write_bytes(bytes(damaged))
        with pytest.raises(DataError, match="corrupted"):
            store.load("snap")


def test_a_new_version_over_a_damaged_one_says_so(
    store: SnapshotStore, make_prices: Callable[..., Prices]
) -> None:
    flip(save(store, make_prices(0, 60, 2)).path / "prices.parquet")
    second = save(store, make_prices(1, 60, 2))
    assert second.written
    assert "not compared with snap" in second.differences[0]


def test_full_disk_leaves_earlier_versions(
    store: SnapshotStore, make_prices: Callable[..., Prices], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(store, make_prices(0, 60, 2))
    before = tree(store.directory)

    def full(_: Prices, path: Path) -> str:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("data.snapshots.store.write_panel", full)
    with pytest.raises(DataError, match="not written: No space left on device; nothing was changed"):
        save(store, make_prices(1, 60, 2))
    assert tree(store.directory) == before
    monkeypatch.setattr("data.snapshots.store.write_panel", storage_module.write_panel)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(DataError, match="not written"):
        save(store, make_prices(1, 60, 2))
    assert tree(store.directory) == before


WRITER = """
import sys, time
import numpy as np, pandas as pd
import data.snapshots.parquet, data.snapshots.store
from pathlib import Path
from data import Prices, SnapshotStore

home, seed, slow = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "slow"
rng = np.random.default_rng(seed)
close = pd.DataFrame(rng.uniform(1, 2, (40, 3)), pd.date_range("2024-01-01", periods=40), list("ABC"))
if slow:
    write = data.snapshots.store.write_panel
    def stuck(prices, path):
        write(prices, path)
        path.write_bytes(path.read_bytes()[:100])
        print("half", flush=True)
        time.sleep(600)
    data.snapshots.store.write_panel = stuck
print("ready", flush=True)
sys.stdin.readline()
snapshot = SnapshotStore(home).save(Prices.from_frames("x", close=close), "snap", provider={})
print(snapshot.reference, flush=True)
"""


def start_writer(home: Path, seed: int, pace: str = "fast") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home), str(seed), pace],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_a_process_killed_in_the_middle_of_a_write_leaves_nothing_half_written(
    store: SnapshotStore, make_prices: Callable[..., Prices]
) -> None:
    save(store, make_prices(0, 60, 2))
    before = tree(store.directory)
    process = start_writer(store.directory.parent, 1, "slow")
    let_go(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert store.versions("snap") == [1]
    assert store.load("snap") == make_prices(0, 60, 2)
    leftovers = list(store.directory.glob(".tmp-*"))
    assert len(leftovers) == 1
    # The next save tidies up what is older than a day, and goes ahead in any case.
    old = time.time() - 200_000
    os.utime(leftovers[0], (old, old))
    assert save(store, make_prices(1, 60, 2)).reference == "snap@2"
    assert not list(store.directory.glob(".tmp-*"))
    assert {key: tree(store.directory)[key] for key in before} == before


def test_two_processes_writing_one_name_get_a_version_each(store: SnapshotStore) -> None:
    home = store.directory.parent
    processes = [start_writer(home, seed) for seed in (1, 2)]
    for process in processes:
        let_go(process)
    references = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert references == ["snap", "snap@2"]
    assert {store.load("snap@1").hash, store.load("snap@2").hash} == {
        Prices.from_frames(
            "x",
            close=pd.DataFrame(
                np.random.default_rng(seed).uniform(1, 2, (40, 3)),
                pd.date_range("2024-01-01", periods=40),
                list("ABC"),
            ),
        ).hash
        for seed in (1, 2)
    }


def test_a_writer_that_loses_the_race_takes_the_next_number(
    store: SnapshotStore, make_prices: Callable[..., Prices], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = make_prices(1, 60, 2), make_prices(2, 60, 2)
    write, raced = storage_module.write_panel, []

    def racing(prices: Prices, path: Path) -> str:
        if not raced:
            raced.append(True)
            save(SnapshotStore(store.directory.parent), theirs)
        return write(prices, path)

    monkeypatch.setattr("data.snapshots.store.write_panel", racing)
    assert save(store, mine).reference == "snap@2"
    assert store.load("snap@1") == theirs
    assert store.load("snap@2") == mine


@pytest.mark.parametrize("name", ["", "../up", "a b", "a@2", ".hidden", "x" * 65, "sp500-20", "a/b"])
def test_impossible_names_are_refused(
    store: SnapshotStore, make_prices: Callable[..., Prices], name: str
) -> None:
    with pytest.raises(DataError, match="name"):
        save(store, make_prices(0, 60, 2), name)
    assert not store.directory.exists()


def test_missing_snapshots_are_answered_with_the_available_ones(
    store: SnapshotStore, make_prices: Callable[..., Prices]
) -> None:
    with pytest.raises(DataError, match="available: none yet"):
        store.load("snap")
    save(store, make_prices(0, 60, 2))
    for reference in ("snip", "snap@2", "snap@0", "../snap"):
        assert not store.has(reference)
        with pytest.raises(DataError, match="available: snap"):
            store.open(reference)


def test_home_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EQUITRADE_HOME", str(tmp_path))
    assert home_directory() == tmp_path
    assert SnapshotStore().directory == tmp_path / "data"
    monkeypatch.delenv("EQUITRADE_HOME")
    assert home_directory() == Path("equitrade_home")


@pytest.mark.slow
def test_500_symbols_over_30_years_load_in_under_two_seconds(store: SnapshotStore) -> None:
    rng = np.random.default_rng(0)
    dates = pd.bdate_range("1994-01-03", periods=30 * 252)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (len(dates), 500)), axis=0))
    frame = pd.DataFrame(close.round(2), dates, [f"S{index}" for index in range(500)])
    fields = {name: frame * factor for name, factor in (("open", 1.0), ("high", 1.01), ("low", 0.99))}
    prices = Prices.from_frames("big", close=frame, adj_close=frame * 0.9, volume=frame.round(), **fields)
    save(store, prices)
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        loaded = store.load("snap")
        seconds.append(time.perf_counter() - begin)
    assert loaded.hash == prices.hash
    assert min(seconds) < 2.0
