"""Store of signals under ``<home>/signals/``: each version has ``signals.parquet`` (long form) and a manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.prices import Prices
from data.signals.values import Signals
from data.snapshots.parquet import file_digest
from data.snapshots.store import home_directory
from data.snapshots.versions import Snapshot, VersionStore, check_snapshot_name

__all__ = ["SignalStore", "recorded_references", "with_signals"]

_FILE = "signals.parquet"


class SignalStore(VersionStore):
    """Signals under ``<home>/signals/``.

    Parameters
    ----------
    home
        State directory; `home_directory()` by default. Nothing is created before the first save.
    """

    def __init__(self, home: Path | str | None = None) -> None:
        super().__init__((Path(home) if home is not None else home_directory()) / "signals", "signals")

    def save(self, signals: Signals, details: Mapping[str, Any]) -> Snapshot:
        """Write signals as a new version, unless the newest one has the same content; that one is returned then.

        Stamps without any value are left out.

        Parameters
        ----------
        signals
            The signals.
        details
            Further members of the manifest: source, prices, repairs, notes.

        Raises
        ------
        DataError
            If the name is not allowed or they cannot be written; earlier versions are untouched.
        """
        check_snapshot_name(signals.name, "signals")
        known = np.isfinite(signals.values).any(axis=(1, 2))
        signals = replace(signals, dates=signals.dates[known], values=signals.values[known])
        record = signals.record()
        manifest = {
            "name": signals.name,
            "imported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "start": str(signals.dates[0].date()),
            "stamps": len(signals.dates),
            "symbols": list(signals.symbols),
            **{key: record[key] for key in ("end", "columns", "lag", "carry", "hash")},
            **details,
        }

        def write(folder: Path) -> str:
            _long(signals).to_parquet(folder / _FILE, compression="zstd")
            return file_digest(folder / _FILE)

        return self.add(manifest, write, lambda previous: self._differences(previous, signals))

    def load(self, reference: str) -> Signals:
        """Load the signals of ``NAME`` (its newest version) or ``NAME@2``.

        Raises
        ------
        DataError
            If there are none, or their file has changed since it was written.
        """
        snapshot = self.open(reference)
        file, manifest = snapshot.path / _FILE, snapshot.manifest
        try:
            intact = file_digest(file) == manifest["file_sha256"]
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror}); import the signals again") from None
        if not intact:
            raise DataError(f"{file}: the signals are corrupted (their checksum differs); import them again")
        return _from_long(pd.read_parquet(file), snapshot)

    def recorded(self, record: Mapping[str, Any]) -> Signals:
        """Load the newest version that begins with exactly the values which a run recorded.

        A version with later stamps serves: what the run saw is the same. One in which earlier values were revised does
        not.

        Parameters
        ----------
        record
            See `Signals.record`.

        Raises
        ------
        DataError
            If there is none.
        """
        name, end = str(record["name"]), pd.Timestamp(record["end"])
        for version in reversed(self.versions(name)):
            manifest = self.open(f"{name}@{version}").manifest
            if manifest["hash"] == record["hash"]:
                return self.load(f"{name}@{version}")
            if manifest["end"] > record["end"] and manifest["columns"] == record["columns"]:
                found = self.load(f"{name}@{version}")
                if found.until(end).hash == record["hash"]:
                    return found
        raise DataError(
            f"signals '{name}' with hash {record['hash'][:12]}… (until {record['end']}) are not in {self.directory}; "
            "import the file of that time again with the same options: a later file may add stamps, not change values"
        )

    def by_hash(self, name: str, content: str) -> Signals:
        """Load the version with exactly this content hash.

        Raises
        ------
        DataError
            If there is none.
        """
        for version in reversed(self.versions(name)):
            if self.open(f"{name}@{version}").manifest["hash"] == content:
                return self.load(f"{name}@{version}")
        raise DataError(f"no version of signals '{name}' in {self.directory} has the hash {content[:12]}…")

    def _differences(self, previous: Snapshot, signals: Signals) -> list[str]:
        try:
            before = self.load(previous.reference)
        except DataError as error:
            return [f"not compared with {previous.reference}: {error}"]
        return differences(before, signals, previous.reference)


def differences(before: Signals, after: Signals, reference: str) -> list[str]:
    """Return the changes between two versions, one line each."""
    lines = []
    if (before.lag, before.carry) != (after.lag, after.carry):
        lines.append(
            f"lag {after.lag} and carry {after.carry} instead of {before.lag} and {before.carry} in {reference}"
        )
    if before.symbols != after.symbols or dict(before.parity) != dict(after.parity):
        return [*lines, f"other symbols, columns or parities than {reference}"]
    added = after.dates.difference(before.dates)
    if len(added):
        lines.append(f"{len(added)} new stamps, {added[0].date()} to {added[-1].date()}")
    common = before.dates.intersection(after.dates)
    old, new = (item.values[item.dates.isin(common)] for item in (before, after))
    changed = (old != new) & ~(np.isnan(old) & np.isnan(new))
    gone = len(before.dates) - len(common)
    if changed.any() or gone:
        day = common[int(changed.any(axis=(1, 2)).argmax())].date() if changed.any() else "none"
        lines.append(
            f"{int(changed.sum())} values were revised (first on {day}) and {gone} stamps are gone; "
            f"runs that recorded {reference} keep using it"
        )
    return lines


def with_signals(prices: Prices, references: Iterable[str], home: Path | None = None) -> Prices:
    """Return prices with signals beside them, by ``NAME`` (the newest version) or ``NAME@2``.

    Raises
    ------
    DataError
        If there are none of that name, they are damaged, or they are for other symbols.
    """
    store = SignalStore(home)
    found = [store.load(reference) for reference in references]
    return prices.with_signals(found) if found else prices


def recorded_references(records: Iterable[Mapping[str, Any]], home: Path | None = None) -> tuple[str, ...]:
    """Return the references of the signals that a run recorded; see `SignalStore.recorded`.

    Raises
    ------
    DataError
        If they are missing or damaged.
    """
    store = SignalStore(home)
    found = [store.recorded(record) for record in records]
    return tuple(f"{signals.name}@{signals.version}" for signals in found)


def _long(signals: Signals) -> pd.DataFrame:
    known = np.isfinite(signals.values).any(axis=2)
    rows, columns = np.nonzero(known)
    names = np.array(signals.symbols, dtype=object)[columns]
    frame = pd.DataFrame({"date": signals.dates[rows], "symbol": pd.Series(names, dtype="str")})
    for index, column in enumerate(signals.parity):
        frame[column] = signals.values[rows, columns, index]
    return frame


def _from_long(frame: pd.DataFrame, snapshot: Snapshot) -> Signals:
    manifest = snapshot.manifest
    parity = {column: -1 if word == "odd" else 1 for column, word in manifest["columns"].items()}
    symbols = tuple(manifest["symbols"])
    dates = pd.DatetimeIndex(np.unique(frame["date"].to_numpy()))
    values = np.full((len(dates), len(symbols), len(parity)), np.nan)
    rows, columns = (
        dates.get_indexer(pd.Index(frame["date"])),
        pd.Index(symbols).get_indexer(pd.Index(frame["symbol"])),
    )
    for index, column in enumerate(parity):
        values[rows, columns, index] = frame[column].to_numpy(dtype=np.float64)
    signals = Signals(snapshot.name, dates, symbols, parity, values, manifest["lag"], manifest["carry"])
    return replace(signals, version=snapshot.version)
