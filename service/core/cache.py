"""LRU cache of values read from the database."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from cachetools import LRUCache

Key = TypeVar("Key")
Value = TypeVar("Value")


class RevisionCache(Generic[Key, Value]):
    """LRU cache of at most `size` entries, emptied when the database changes."""

    def __init__(self, size: int) -> None:
        self._revision = -1
        self._values: LRUCache[Key, Value] = LRUCache(size)
        self._lock = threading.Lock()

    def get(self, key: Key, revision: int) -> Value | None:
        """Return the value stored at this revision of the database, or None."""
        with self._lock:
            if revision != self._revision:
                self._values.clear()
                self._revision = revision
            return self._values.get(key)

    def put(self, key: Key, value: Value, revision: int) -> None:
        """Store a value that was read after this revision; ignored if the database has changed since."""
        with self._lock:
            if revision == self._revision:
                self._values[key] = value
