"""Prices by name: bundled datasets and snapshots, with a cache in memory; never by path."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from cachetools import LRUCache

from data import Prices, SnapshotStore, load_prices
from data.errors import DataError
from service.core.problems import Problem


class Snapshots:
    """Prices by name, loaded once; a name without a version is looked up again when the folder changes.

    Parameters
    ----------
    home : Path
        Home of all state; snapshots are in ``data/`` below it.
    size : int
        Price panels in memory.
    """

    def __init__(self, home: Path, size: int = 8) -> None:
        self._home = home
        self._store = SnapshotStore(home)
        self._path = str(self._store.directory)
        self._panels: LRUCache[str, Prices] = LRUCache(size)
        self._references: dict[str, str] = {}
        self._stamp = -1
        self._lock = threading.Lock()

    def get(self, name: str) -> Prices:
        """Return prices by ``NAME`` (the newest version) or ``NAME@VERSION``.

        Raises `Problem` ``unknown-data`` if there is no such snapshot, or it is damaged.
        """
        with self._lock:
            reference = self._resolve(name)
            panel = self._panels.get(reference)
            if panel is None:
                panel = self._panels[reference] = self._load(reference)
            return panel

    def from_memory(self, name: str) -> Prices | None:
        """Return prices if that takes no waiting, else None; for the event loop."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            reference = self._references.get(name)
            if reference is None or self._folder_stamp() != self._stamp:
                return None
            return self._panels.get(reference)
        finally:
            self._lock.release()

    def by_hash(self, name: str, content: str) -> Prices:
        """Return the version of a snapshot with this content hash, whether newer ones exist or not.

        Raises `Problem` ``unknown-data`` if no version has this hash.
        """
        base = name.partition("@")[0]
        versions = [f"{base}@{number}" for number in reversed(self._store.versions(base))]
        for reference in versions or [name]:
            prices = self._load(reference) if versions else self.get(reference)
            if prices.hash == content:
                return prices
        raise Problem("unknown-data", f"no version of {base!r} has the content hash {content[:16]}…")

    def _resolve(self, name: str) -> str:
        stamp = self._folder_stamp()
        if stamp != self._stamp:
            self._references.clear()
            self._stamp = stamp
        reference = self._references.get(name)
        if reference is None:
            reference = self._find(name)
            self._references[name] = reference
        return reference

    def _folder_stamp(self) -> int:
        try:
            return os.stat(self._path).st_mtime_ns
        except OSError:
            return 0

    def _find(self, name: str) -> str:
        from data.providers.bundled import bundled_names

        bundled = bundled_names()
        if name in bundled:
            return name
        try:
            found = self._store.open(name)
        except DataError:
            known = ", ".join([*bundled, *self._store.names()])
            raise Problem("unknown-data", f"no snapshot {name!r}; available: {known}") from None
        # A name and its first version share a reference, so the number is kept apart.
        return f"{found.name}@{found.version}"

    def _load(self, reference: str) -> Prices:
        try:
            if self._store.has(reference):
                return self._store.load(reference)
            return load_prices(reference, home=self._home)
        except DataError as error:
            raise Problem("unknown-data", str(error)) from None
