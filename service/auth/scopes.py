"""Scopes of keys and logins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from data.errors import DataError

# Each scope includes those before it.
SCOPES = ("read", "run", "admin")


@dataclass(frozen=True)
class Principal:
    """A key or a logged-in user, and its scopes."""

    id: str
    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """Return whether the scopes include this one, directly or through a wider one."""
        return any(held in self.scopes for held in SCOPES[SCOPES.index(scope) :])


def parse_scopes(names: Iterable[str]) -> frozenset[str]:
    """Return checked scopes. Raises `DataError` for an unknown scope or none at all."""
    scopes = frozenset(name.strip() for name in names)
    for name in sorted(scopes):
        if name not in SCOPES:
            raise DataError(f"scope {name!r} does not exist; use {', '.join(SCOPES)}")
    if not scopes:
        raise DataError(f"scope: give at least one of {', '.join(SCOPES)}")
    return scopes


def format_scopes(scopes: Iterable[str]) -> str:
    """Return scopes as one text, narrowest first."""
    return ",".join(name for name in SCOPES if name in set(scopes))
