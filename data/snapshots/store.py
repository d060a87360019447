"""Store of price snapshots under ``<home>/data/``: each version has ``prices.parquet`` (long form) and a manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from data.errors import DataError
from data.prices import Prices
from data.snapshots.parquet import read_panel, write_panel
from data.snapshots.versions import Snapshot, VersionStore, check_snapshot_name

__all__ = ["Snapshot", "SnapshotStore", "check_name", "home_directory"]

_RESERVED = ("sp500-20", "factors-5", "sp500-index-ohlc", "industries")


def home_directory() -> Path:
    """Return the state directory: ``EQUITRADE_HOME``, or ``./equitrade_home``."""
    return Path(os.environ.get("EQUITRADE_HOME") or "equitrade_home")


class SnapshotStore(VersionStore):
    """Snapshots under ``<home>/data/``.

    Parameters
    ----------
    home
        State directory; `home_directory()` by default. Nothing is created before the first save.
    """

    def __init__(self, home: Path | str | None = None) -> None:
        super().__init__((Path(home) if home is not None else home_directory()) / "data")

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
        moment = fetched_at if fetched_at is not None else datetime.now(UTC)

        def write(folder: Path) -> str:
            if findings is not None:
                findings.to_csv(folder / "findings.csv", index=False)
            return write_panel(prices, folder / "prices.parquet")

        return self.add(
            _manifest(prices, name, provider, validation, repairs, moment),
            write,
            lambda previous: self._differences(previous, prices),
        )

    def _differences(self, previous: Snapshot, prices: Prices) -> list[str]:
        from data.snapshots.diff import differences

        try:
            before = self.load(previous.reference)
        except DataError as error:
            return [f"not compared with {previous.reference}: {error}"]
        return differences(before, prices, previous.reference)


def check_name(name: str) -> None:
    """Raise DataError if `name` cannot be the name of a price snapshot."""
    check_snapshot_name(name)
    if name in _RESERVED:
        raise DataError(f"'{name}' is the name of a bundled dataset; choose another name for the snapshot")


def _manifest(
    prices: Prices,
    name: str,
    provider: Mapping[str, Any],
    validation: Mapping[str, Any] | None,
    repairs: Sequence[Mapping[str, Any]],
    moment: datetime,
) -> dict[str, Any]:
    return {
        "name": name,
        "provider": dict(provider),
        "fetched_at": moment.astimezone(UTC).isoformat(timespec="seconds"),
        **prices.facts(),
        "validation": dict(validation or {}),
        "repairs": [dict(repair) for repair in repairs],
    }
