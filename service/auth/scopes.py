"""Scopes of keys and logins: what each may do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from data.errors import DataError

# Each scope includes those before it.
SCOPES = ("read", "run", "admin")


@dataclass(frozen=True)
class Principal:
    """Who asks: a key or a logged-in user, and what it may do."""

    id: str
    name: str
    scopes: frozenset[str]
    expires_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """Tell whether a scope is held, directly or through a wider one."""
        return any(held in self.scopes for held in SCOPES[SCOPES.index(scope) :])


def parse_scopes(names: Iterable[str]) -> frozenset[str]:
    """Check scope names.

    Raises
    ------
    DataError
        For an unknown scope or none at all.
    """
    scopes = frozenset(name.strip() for name in names)
    for name in sorted(scopes):
        if name not in SCOPES:
            raise DataError(f"scope {name!r}: unknown; there are {', '.join(SCOPES)}")
    if not scopes:
        raise DataError(f"scope: at least one of {', '.join(SCOPES)} is needed")
    return scopes


def format_scopes(scopes: Iterable[str]) -> str:
    """Scopes as stored and shown, narrowest first."""
    return ",".join(name for name in SCOPES if name in set(scopes))
