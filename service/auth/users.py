"""Dashboard users and their sessions: argon2 hashes, random session tokens, one CSRF token per session."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from data.errors import DataError
from service.auth.scopes import Principal, format_scopes, parse_scopes
from service.core.clock import Clock, utc_now
from service.core.database import Database, record_event
from service.core.settings import is_placeholder
from service.core.tables import sessions, users

if TYPE_CHECKING:
    from pwdlib import PasswordHash

SHORTEST_PASSWORD = 12


@dataclass(frozen=True)
class Session:
    """A login: its user, and the token that each of its forms must contain."""

    principal: Principal
    csrf: str


class Users:
    """Users of the dashboards; a login lasts for some hours."""

    def __init__(self, database: Database, *, hours: float = 12.0, clock: Clock = utc_now) -> None:
        self._database = database
        self._lifetime = timedelta(hours=hours)
        self._clock = clock

    @cached_property
    def _hasher(self) -> PasswordHash:
        from pwdlib import PasswordHash

        return PasswordHash.recommended()

    @cached_property
    def _nobody(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe(32))

    def create(self, name: str, password: str, scopes: Iterable[str] = ("read",)) -> None:
        """Create a user, or change password and scopes of an existing one and end its sessions.

        Raises `DataError` for a name that cannot be used or a password that is short or a placeholder.
        """
        held = format_scopes(parse_scopes(scopes))
        if not 0 < len(name) <= 100 or not name.isprintable() or name != name.strip():
            raise DataError("name: use 1 to 100 printable characters")
        if len(password) < SHORTEST_PASSWORD or is_placeholder(password) or len(password) > 1000:
            raise DataError(f"password: use {SHORTEST_PASSWORD} to 1000 characters and no placeholder")
        values = {"password": self._hasher.hash(password), "scopes": held}
        with self._database.write() as connection:
            if connection.execute(update(users).where(users.c.name == name).values(values)).rowcount == 0:
                connection.execute(insert(users).values(name=name, created_at=self._clock(), **values))
            connection.execute(delete(sessions).where(sessions.c.user == name))
            record_event(connection, "user set", name, held)

    def remove(self, name: str) -> None:
        """Remove a user and end its sessions. Raises `DataError` if there is no such user."""
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.user == name))
            if connection.execute(delete(users).where(users.c.name == name)).rowcount == 0:
                raise DataError(f"user {name!r} does not exist; `equitrade users list` shows the names")
            record_event(connection, "user removed", name)

    def all(self) -> list[tuple[str, str, datetime]]:
        """Return name, scopes and time of creation of each user."""
        with self._database.read() as connection:
            rows = connection.execute(select(users).order_by(users.c.name)).all()
        return [(row.name, row.scopes, row.created_at) for row in rows]

    def log_in(self, name: str, password: str) -> str | None:
        """Check a password, in the same time for unknown names; return the token of a new session, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(users.c.password).where(users.c.name == name)).first()
        good = self._hasher.verify(password[:1000], row.password if row else self._nobody)
        if not good or row is None:
            return None
        token = secrets.token_urlsafe(32)
        now = self._clock()
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(
                insert(sessions).values(
                    digest=_digest(token),
                    user=name,
                    csrf=secrets.token_urlsafe(32),
                    expires_at=now + self._lifetime,
                )
            )
        return token

    def session(self, token: str) -> Session | None:
        """Return the session of a token, or None if there is none or it has ended."""
        query = select(sessions.c.user, sessions.c.csrf, sessions.c.expires_at, users.c.scopes).join(users)
        with self._database.read() as connection:
            row = connection.execute(query.where(sessions.c.digest == _digest(token))).first()
        if row is None or row.expires_at <= self._clock():
            return None
        return Session(Principal(f"user:{row.user}", row.user, frozenset(row.scopes.split(","))), row.csrf)

    def log_out(self, token: str) -> None:
        """End a session."""
        with self._database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.digest == _digest(token)))


def same(expected: str, given: str) -> bool:
    """Return whether two tokens are equal, in constant time."""
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape"))


def _digest(token: str) -> bytes:
    # The token has 256 random bits, so a plain hash is enough.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
