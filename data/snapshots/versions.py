"""Versions of named content: immutable, hashed folders ``NAME``, ``NAME@2``, ``NAME@3``, … with a manifest.

Each is made in one rename and never changed: a reader sees a whole version or none, and of two simultaneous writers
each gets a version of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import DataError
from equitrade.atomic import atomic_directory, remove_leftovers

FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_REFERENCE = re.compile(rf"(?P<name>{_NAME.pattern})(?:@(?P<version>[1-9][0-9]*))?")
# A day: no write takes that long, so older leftovers belong to a killed process.
_LEFTOVER_SECONDS = 86_400.0


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
        False if saving found the same content in the newest version.
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


class VersionStore:
    """Versions of snapshots in a folder.

    Parameters
    ----------
    directory
        The folder. Nothing is created before the first version.
    kind
        Word for a snapshot in messages.
    """

    def __init__(self, directory: Path, kind: str = "snapshot") -> None:
        self.directory, self.kind = directory, kind

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
        """Read the manifest of ``NAME`` (its newest version) or ``NAME@2``, without the content.

        Raises
        ------
        DataError
            If there is no such snapshot or its manifest is damaged.
        """
        match = _REFERENCE.fullmatch(reference)
        if match is None or not self.has(reference):
            known = ", ".join(self.names()) or "none yet"
            raise DataError(f"no {self.kind} '{reference}' in {self.directory} (available: {known})")
        name = match["name"]
        version = int(match["version"]) if match["version"] else self.versions(name)[-1]
        path = self.directory / _reference(name, version)
        return Snapshot(name, version, path, _read_manifest(path))

    def references(self) -> list[str]:
        """Return every version of every snapshot (``NAME``, ``NAME@2``), by name, then version."""
        return [_reference(name, version) for name, version in sorted(self._entries())]

    def add(
        self,
        manifest: Mapping[str, Any],
        write: Callable[[Path], str],
        differences: Callable[[Snapshot], list[str]],
    ) -> Snapshot:
        """Add a version, unless the newest one has the same content hash; that one is returned then.

        Parameters
        ----------
        manifest
            Its manifest, with ``name`` and ``hash``; format, version, differences and checksums are added.
        write
            Writes the content into a folder; returns the SHA-256 (hex) of the file.
        differences
            Returns the changes from an earlier version, one line each.

        Raises
        ------
        DataError
            If it cannot be written; earlier versions are untouched.
        """
        name = str(manifest["name"])
        remove_leftovers(self.directory, older_than=time.time() - _LEFTOVER_SECONDS)
        while True:
            versions = self.versions(name)
            version = versions[-1] + 1 if versions else 1
            content: dict[str, Any] = {"format": FORMAT, "name": name, "version": version, **manifest}
            content["differences"] = []
            if versions:
                previous = self.open(_reference(name, versions[-1]))
                if previous.manifest["hash"] == manifest["hash"]:
                    return previous
                content["differences"] = differences(previous)
            path = self.directory / _reference(name, version)
            try:
                with atomic_directory(path) as folder:
                    content["file_sha256"] = write(folder)
                    content["checksum"] = _checksum(content)
                    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
                    (folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
            except FileExistsError:
                # Another process wrote this version first: this one becomes the next, or is the same.
                continue
            except OSError as error:
                reason = error.strerror or str(error)
                raise DataError(f"{path}: {self.kind} not written: {reason}; nothing was changed") from error
            return Snapshot(name, version, path, content, written=True)

    def _entries(self) -> list[tuple[str, int]]:
        entries = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self.directory.iterdir():
                match = _REFERENCE.fullmatch(path.name)
                if match is not None and path.is_dir():
                    entries.append((match["name"], int(match["version"] or 1)))
        return entries


def check_snapshot_name(name: str, kind: str = "snapshot") -> None:
    """Raise DataError if `name` cannot be the name of a snapshot."""
    if _NAME.fullmatch(name) is None:
        raise DataError(
            f"'{name}' is not a valid {kind} name: use letters, digits, '.', '_', '-' (at most 64)"
        )


def _reference(name: str, version: int) -> str:
    return name if version == 1 else f"{name}@{version}"


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
