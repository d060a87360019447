"""Prices by name: bundled datasets and snapshots, with a cache in memory; never by path.

Signals of the user's own are put beside them for models that were trained on some.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from data import Prices, SnapshotStore, load_prices
from data.errors import DataError
from data.signals.store import SignalStore
from data.signals.values import Signals
from service.core.problems import Problem

_PANELS = 8


class Snapshots:
    """Prices by name, loaded once; a name without a version is looked up again when the folder changes."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._store = SnapshotStore(home)
        self._path = str(self._store.directory)
        self._panels: LRUCache[str, Prices] = LRUCache(_PANELS)
        self._signals = SignalStore(home)
        self._joined: LRUCache[tuple[Any, ...], Prices] = LRUCache(_PANELS)
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
            if reference is None or _folder_stamp(self._path) != self._stamp:
                return None
            return self._panels.get(reference)
        finally:
            self._lock.release()

    def require_signals(self, references: Sequence[str]) -> None:
        """Check that signals ``NAME`` or ``NAME@VERSION`` are stored.

        Raises
        ------
        Problem
            ``unknown-signals`` if some are missing or damaged.
        """
        try:
            for reference in references:
                self._signals.open(reference)
        except DataError as error:
            raise Problem("unknown-signals", str(error)) from None

    def joined(self, prices: Prices, symbols: Sequence[str], records: Sequence[Mapping[str, Any]]) -> Prices:
        """Return prices with the signals that a model recorded, newer stamps included, beside its symbols.

        Raises
        ------
        Problem
            ``unknown-signals`` if they are missing, damaged, revised, or for other symbols.
        """
        if not records:
            return prices
        with self._lock:
            key = self._joined_key(prices, symbols, records)
            panel = self._joined.get(key)
            if panel is None:
                panel = self._joined[key] = self._join(prices, symbols, records, self._signals.recorded)
            return panel

    def joined_from_memory(
        self, prices: Prices, symbols: Sequence[str], records: Sequence[Mapping[str, Any]]
    ) -> Prices | None:
        """Return what `joined` returns if that takes no waiting, else None; for the event loop."""
        if not records:
            return prices
        if not self._lock.acquire(blocking=False):
            return None
        try:
            return self._joined.get(self._joined_key(prices, symbols, records))
        finally:
            self._lock.release()

    def joined_by_hash(
        self, prices: Prices, symbols: Sequence[str], records: Sequence[Mapping[str, Any]]
    ) -> Prices:
        """Return prices with exactly the signals that an answer recorded beside its symbols.

        Raises
        ------
        Problem
            ``unknown-signals`` if no version has that hash.
        """
        if not records:
            return prices
        return self._join(prices, symbols, records, lambda r: self._signals.by_hash(r["name"], r["hash"]))

    def _joined_key(
        self, prices: Prices, symbols: Sequence[str], records: Sequence[Mapping[str, Any]]
    ) -> tuple[Any, ...]:
        # The folder changes with every new version.
        stamp = _folder_stamp(str(self._signals.directory))
        return prices.hash, tuple(symbols), tuple(record["hash"] for record in records), stamp

    def _join(
        self,
        prices: Prices,
        symbols: Sequence[str],
        records: Sequence[Mapping[str, Any]],
        load: Callable[[Mapping[str, Any]], Signals],
    ) -> Prices:
        if not set(symbols) <= set(prices.symbols):
            return prices  # refused where the symbols are checked
        try:
            return prices.select(symbols).with_signals([load(record) for record in records])
        except DataError as error:
            raise Problem("unknown-signals", str(error)) from None

    def by_hash(self, name: str, content: str, symbols: Sequence[str]) -> Prices:
        """Return the version of a snapshot with this content hash, whether newer ones exist or not.

        The hash is that of the model's symbols, of which the snapshot may have more.

        Raises `Problem` ``unknown-data`` if no version has this hash.
        """
        base = name.partition("@")[0]
        versions = [f"{base}@{number}" for number in reversed(self._store.versions(base))]
        for reference in versions or [name]:
            prices = self._load(reference) if versions else self.get(reference)
            if set(symbols) <= set(prices.symbols):
                prices = prices.select(symbols)
            if prices.hash == content:
                return prices
        raise Problem("unknown-data", f"no version of {base!r} has the content hash {content[:16]}…")

    def _resolve(self, name: str) -> str:
        stamp = _folder_stamp(self._path)
        if stamp != self._stamp:
            self._references.clear()
            self._stamp = stamp
        reference = self._references.get(name)
        if reference is None:
            reference = self._find(name)
            self._references[name] = reference
        return reference

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


def _folder_stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
