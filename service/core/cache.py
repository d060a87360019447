"""What a process may remember of the database until the database's revision moves."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Kept(Generic[Key, Value]):
    """A bounded memory that forgets everything when the revision it is asked at is a new one.

    Parameters
    ----------
    size : int
        Entries to hold; the one used longest ago goes first.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._revision = -1
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key, revision: int) -> Value | None:
        """Give what is kept at this revision, or None."""
        with self._lock:
            if revision != self._revision:
                self._values.clear()
                self._revision = revision
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Key, value: Value, revision: int) -> None:
        """Keep a value read after the revision was; refused when the revision has moved since."""
        with self._lock:
            if revision == self._revision:
                self._values[key] = value
                if len(self._values) > self._size:
                    self._values.popitem(last=False)
