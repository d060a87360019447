"""Store of snapshots: immutable, hashed folders of prices under ``<home>/data/``.

``NAME`` is the first version of a snapshot and ``NAME@2``, ``NAME@3``, … are later ones. Each is a folder
with ``prices.parquet`` (long form) and ``manifest.json``, made in one rename and never changed: a reader sees a whole
version or none, and of two simultaneous writers each gets a version of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import DataError
from data.prices import Prices
from data.snapshots.parquet import read_panel, write_panel
from equitrade.atomic import atomic_directory, remove_leftovers

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REFERENCE = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<version>[1-9][0-9]*))?")
_RESERVED = ("sp500-20", "factors-5", "sp500-index-ohlc")
# A day: no write takes that long, so older leftovers belong to a killed process.
_LEFTOVER_SECONDS = 86_400.0


def home_directory() -> Path:
    """Return the state directory: ``EQUITRADE_HOME``, or ``./equitrade_home``."""
    return Path(os.environ.get("EQUITRADE_HOME") or "equitrade_home")


@dataclass(frozen=True)
class Snapshot:
    """A version of a snapshot.

    Attributes
    ----------
    name, version
        `reference` joins them to ``NAME`` or ``NAME@2``, as commands take it.
    path
        Its folder.
    manifest
        The contents of ``manifest.json``.
    written
        False if `SnapshotStore.save` found the same prices in the newest version.
    """

    name: str
    version: int
    path: Path
    manifest: Mapping[str, Any]
    written: bool = False

    @property
    def reference(self) -> str:
        """``NAME`` for the first version, ``NAME@2`` and so on for later ones."""
        return _reference(self.name, self.version)

    @property
    def differences(self) -> tuple[str, ...]:
        """Changes from the previous version, one line each."""
        return tuple(self.manifest.get("differences", ()))


class SnapshotStore:
    """Snapshots under ``<home>/data/``.

    Parameters
    ----------
    home
        State directory; `home_directory()` by default. Nothing is created before the first save.
    """

    def __init__(self, home: Path | str | None = None) -> None:
        self.directory = (Path(home) if home is not None else home_directory()) / "data"

    def names(self) -> list[str]:
        """Return the names of the snapshots, sorted."""
        return sorted({name for name, _ in self._entries()})

    def versions(self, name: str) -> list[int]:
        """Return the versions of a snapshot, increasing; empty if there is none."""
        return sorted(version for entry, version in self._entries() if entry == name)

    def has(self, reference: str) -> bool:
        """Return True if ``NAME`` or ``NAME@2`` exists."""
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            return False
        versions = self.versions(match["name"])
        return int(match["version"]) in versions if match["version"] else bool(versions)

    def open(self, reference: str) -> Snapshot:
        """Read the manifest of ``NAME`` (its newest version) or ``NAME@2``, without the prices.

        Raises
        ------
        DataError
            If there is no such snapshot or its manifest is damaged.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None or not self.has(reference):
            known = ", ".join(self.names()) or "none yet"
            raise DataError(f"no snapshot '{reference}' in {self.directory} (available: {known})")
        name = match["name"]
        version = int(match["version"]) if match["version"] else self.versions(name)[-1]
        path = self.directory / _reference(name, version)
        return Snapshot(name, version, path, _read_manifest(path))

    def load(self, reference: str) -> Prices:
        """Load the prices of a snapshot and check them against the hash in its manifest.

        Raises
        ------
        DataError
            If there is no such snapshot, or its content has changed since it was written.
        """
        snapshot = self.open(reference)
        manifest = snapshot.manifest
        prices = read_panel(
            snapshot.path / "prices.parquet",
            snapshot.name,
            symbols=manifest["symbols"],
            notes=manifest["notes"],
            file_sha256=manifest["file_sha256"],
        )
        # The SHA-256 of the file was checked, so the content hash need not be computed again.
        prices.__dict__["hash"] = manifest["hash"]
        return prices

    def references(self) -> list[str]:
        """Return every version of every snapshot (``NAME``, ``NAME@2``), by name, then version."""
        return [_reference(name, version) for name, version in sorted(self._entries())]

    def save(
        self,
        prices: Prices,
        name: str,
        *,
        provider: Mapping[str, Any],
        validation: Mapping[str, Any] | None = None,
        repairs: Sequence[Mapping[str, Any]] = (),
        findings: pd.DataFrame | None = None,
        fetched_at: datetime | None = None,
    ) -> Snapshot:
        """Write prices as a new version of `name`.

        If the newest version has the same prices, nothing is written and that version is returned.

        Parameters
        ----------
        prices
            The prices.
        name
            Letters, digits, ``.``, ``_``, ``-``; not the name of a bundled dataset.
        provider
            Name and options of the source.
        validation
            Summary of the validation report.
        repairs
            Changes that repairs made to the values of the source.
        findings
            All findings of the validation, stored as ``findings.csv``.
        fetched_at
            Time at which the source was read; now by default.

        Raises
        ------
        DataError
            If the name is not allowed or the snapshot cannot be written; earlier versions are untouched.
        """
        check_name(name)
        remove_leftovers(self.directory, older_than=time.time() - _LEFTOVER_SECONDS)
        moment = fetched_at if fetched_at is not None else datetime.now(UTC)
        while True:
            versions = self.versions(name)
            version = versions[-1] + 1 if versions else 1
            manifest = _manifest(prices, name, version, provider, validation, repairs, moment)
            if versions:
                previous = self.open(_reference(name, versions[-1]))
                if previous.manifest["hash"] == prices.hash:
                    return previous
                manifest["differences"] = self._differences(previous, prices)
            path = self.directory / _reference(name, version)
            try:
                with atomic_directory(path) as folder:
                    if findings is not None:
                        findings.to_csv(folder / "findings.csv", index=False)
                    manifest["file_sha256"] = write_panel(prices, folder / "prices.parquet")
                    manifest["checksum"] = _checksum(manifest)
                    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
                    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
            except FileExistsError:
                # Another process wrote this version first: this one becomes the next, or is the same.
                continue
            except OSError as error:
                reason = error.strerror or str(error)
                raise DataError(f"{path}: snapshot not written: {reason}; nothing was changed") from error
            return Snapshot(name, version, path, manifest, written=True)

    def _differences(self, previous: Snapshot, prices: Prices) -> list[str]:
        from data.snapshots.diff import differences

        try:
            before = self.load(previous.reference)
        except DataError as error:
            return [f"not compared with {previous.reference}: {error}"]
        return differences(before, prices, previous.reference)

    def _entries(self) -> list[tuple[str, int]]:
        entries = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self.directory.iterdir():
                match = _REFERENCE.fullmatch(path.name)
                if match is not None and path.is_dir():
                    entries.append((match["name"], int(match["version"] or 1)))
        return entries


def check_name(name: str) -> None:
    """Raise DataError if `name` cannot be the name of a snapshot."""
    if _NAME.fullmatch(name) is None:
        raise DataError(
            f"'{name}' is not a valid snapshot name: use letters, digits, '.', '_', '-' (at most 64)"
        )
    if name in _RESERVED:
        raise DataError(f"'{name}' is the name of a bundled dataset; choose another name for the snapshot")


def _reference(name: str, version: int) -> str:
    return name if version == 1 else f"{name}@{version}"


def _manifest(
    prices: Prices,
    name: str,
    version: int,
    provider: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    repairs: Sequence[Mapping[str, Any]],
    moment: datetime,
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": name,
        "version": version,
        "provider": dict(provider),
        "fetched_at": moment.astimezone(UTC).isoformat(timespec="seconds"),
        "start": str(prices.dates[0].date()),
        "end": str(prices.dates[-1].date()),
        "sessions": len(prices.dates),
        "symbols": list(prices.symbols),
        "fields": list(prices.fields),
        "rows": int(prices.close.notna().to_numpy().sum()),
        "hash": prices.hash,
        "notes": list(prices.notes),
        "validation": dict(validation or {}),
        "repairs": [dict(repair) for repair in repairs],
        "differences": [],
    }


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{file}: the manifest cannot be read ({error}); import or fetch the data again"
        ) from error
    if not isinstance(manifest, dict) or manifest.get("checksum") != _checksum(manifest):
        raise DataError(f"{file}: the manifest is corrupted (its checksum differs); import or fetch it again")
    if manifest["format"] != FORMAT:
        raise DataError(
            f"{file}: format {manifest['format']} is not supported (this version reads format {FORMAT})"
        )
    return manifest


def _checksum(manifest: Mapping[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
