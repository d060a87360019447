"""API keys: random, shown once, stored as a keyed hash, scoped, expirable, revocable.

A key has the form ``eq_ID_SECRET``. ID identifies the row and is not secret; SECRET has 256 random bits, so one HMAC
with the service's secret is as strong as a slow password hash, and fast enough for each request.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam, func, insert, or_, select, update

from data.errors import DataError
from service.auth.scopes import Principal, format_scopes, parse_scopes
from service.core.cache import RevisionCache
from service.core.clock import Clock, utc_now
from service.core.database import Database, bump_revision, record_event
from service.core.problems import Problem
from service.core.tables import keys

PATTERN = re.compile(r"eq_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
# Built once: building a statement takes longer than running this one.
_BY_ID = select(
    keys.c.id, keys.c.name, keys.c.digest, keys.c.scopes, keys.c.expires_at, keys.c.revoked_at
).where(keys.c.id == bindparam("key_id"))


@dataclass(frozen=True)
class KeyInfo:
    """A key without its secret."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None

    def state(self, now: datetime) -> str:
        """Return ``active``, ``expired`` or ``revoked``."""
        if self.revoked_at:
            return "revoked"
        return "expired" if self.expires_at and self.expires_at <= now else "active"


class Keyring:
    """The keys in a database; their hashes are keyed by `secret`, without which a stolen one confirms no guess."""

    def __init__(self, database: Database, secret: bytes, clock: Clock = utc_now) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock
        self._own = secrets.token_bytes(32)
        self._nobody = self._digest("", "")
        self._known: RevisionCache[bytes, Principal] = RevisionCache(1000)

    def create(
        self, name: str, scopes: Iterable[str] = ("read",), *, days: float | None = None
    ) -> tuple[str, KeyInfo]:
        """Create a key; the first item is the key itself, which cannot be shown again.

        Raises `DataError` for an empty name, an unknown scope or days that are not positive.
        """
        held = parse_scopes(scopes)
        if not name.strip() or len(name) > 200:
            raise DataError("name: give the key a name of 1 to 200 characters")
        if days is not None and not 0 < days < 36500:
            raise DataError(f"days: {days} is not between 0 and 36500")
        now = self._clock()
        key_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        expires = now + timedelta(days=days) if days is not None else None
        info = KeyInfo(key_id, name.strip(), held, now, expires, None)
        with self._database.write() as connection:
            connection.execute(
                insert(keys).values(
                    id=key_id,
                    name=info.name,
                    digest=self._digest(key_id, secret),
                    scopes=format_scopes(held),
                    created_at=now,
                    expires_at=expires,
                )
            )
            bump_revision(connection)
            record_event(connection, "key created", key_id, f"{info.name}: {format_scopes(held)}")
        return f"eq_{key_id}_{secret}", info

    def revoke(self, key_id: str) -> None:
        """Revoke a key, in every process. Raises `DataError` if there is no such key."""
        with self._database.write() as connection:
            change = update(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
            if connection.execute(change.values(revoked_at=self._clock())).rowcount == 0:
                if connection.execute(select(keys.c.id).where(keys.c.id == key_id)).first() is None:
                    raise DataError(f"key {key_id!r} does not exist; `equitrade keys list` shows the ids")
                return
            bump_revision(connection)
            record_event(connection, "key revoked", key_id)

    def all(self) -> list[KeyInfo]:
        """Return all keys, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id)).all()
        return [
            KeyInfo(r.id, r.name, frozenset(r.scopes.split(",")), r.created_at, r.expires_at, r.revoked_at)
            for r in rows
        ]

    def count_active(self) -> int:
        """Return the number of keys that are neither expired nor revoked."""
        alive = or_(keys.c.expires_at.is_(None), keys.c.expires_at > self._clock())
        with self._database.read() as connection:
            query = select(func.count()).select_from(keys).where(keys.c.revoked_at.is_(None), alive)
            return int(connection.execute(query).scalar_one())

    def authenticate(self, token: str) -> Principal:
        """Return the owner of a key; cached until any process changes a key.

        An unknown id costs the same lookup, hash and comparison as a known one with a wrong secret. Only the holder of
        the whole key learns that it has expired or was revoked.

        Raises `Problem` ``invalid-key``, ``expired-key`` or ``revoked-key``.
        """
        # Read before the row, so that a row is never stored under a newer revision.
        revision = self._database.revision()
        cached_as = self._cache_key(token)
        principal = self._known.get(cached_as, revision)
        if principal is None:
            principal = self._find(token)
            self._known.put(cached_as, principal, revision)
        return self._unexpired(principal)

    def authenticate_from_memory(self, token: str) -> Principal | None:
        """Return the owner of a key if that takes no waiting, else None; for the event loop.

        Raises `Problem` ``expired-key``.
        """
        revision = self._database.instant_revision()
        principal = None if revision is None else self._known.get(self._cache_key(token), revision)
        return None if principal is None else self._unexpired(principal)

    def _cache_key(self, token: str) -> bytes:
        # The cache holds hashes instead of keys.
        return hashlib.blake2b(
            token.encode("utf-8", "surrogateescape"), key=self._own, digest_size=32
        ).digest()

    def _unexpired(self, principal: Principal) -> Principal:
        if principal.expires_at is not None and principal.expires_at <= self._clock():
            when = principal.expires_at.isoformat(timespec="seconds")
            raise Problem("expired-key", f"key {principal.id} expired at {when}", headers=_CHALLENGE)
        return principal

    def _find(self, token: str) -> Principal:
        match = PATTERN.fullmatch(token)
        key_id, secret = match.groups() if match else ("", token)
        digest = self._digest(key_id, secret)
        with self._database.read() as connection:
            row = connection.execute(_BY_ID, {"key_id": key_id}).first()
        if not hmac.compare_digest(digest, bytes(row.digest) if row else self._nobody) or row is None:
            raise Problem("invalid-key", "the API key is malformed or unknown", headers=_CHALLENGE)
        if row.revoked_at is not None:
            raise Problem("revoked-key", f"key {key_id} was revoked", headers=_CHALLENGE)
        return Principal(row.id, row.name, frozenset(row.scopes.split(",")), row.expires_at)

    def _digest(self, key_id: str, secret: str) -> bytes:
        text = f"key:{key_id}:{secret}"
        return hmac.digest(self._secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256)


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="equitrade"'}


def bearer_token(header: str | None) -> str:
    """Return the key in an ``Authorization`` header.

    Raises `Problem` ``missing-key`` without one, ``invalid-key`` for another form of authorization.
    """
    if not header:
        raise Problem("missing-key", "send the header 'Authorization: Bearer KEY'", headers=_CHALLENGE)
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(
            "invalid-key", "the header must have the form 'Authorization: Bearer KEY'", headers=_CHALLENGE
        )
    return token.strip()
