"""Tables of the database; created by the migrations under ``migrations/``, which a test compares with them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.engine import Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A point in time in UTC, aware in Python on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store in UTC."""
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return an aware time."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


# Number of changes to keys and models; cached values are valid while it stays the same.
revision = Table(
    "revision", metadata, Column("id", Integer, primary_key=True), Column("value", Integer, nullable=False)
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("scopes", String(100), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
)

users = Table(
    "users",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("password", String(300), nullable=False),
    Column("scopes", String(100), nullable=False),
    Column("created_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("user", String(100), ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("expires_at", Moment, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", String(100), primary_key=True),
    # The served version; null if the model is retired.
    Column("version", String(64)),
    Column("changed_at", Moment, nullable=False),
)

model_versions = Table(
    "model_versions",
    metadata,
    Column("model_id", String(100), ForeignKey("models.id"), primary_key=True),
    Column("version", String(64), primary_key=True),
    Column("run", String(200), nullable=False),
    Column("details", Text, nullable=False),
    Column("promoted_at", Moment, nullable=False),
    Column("promoted_by", String(200), nullable=False),
)

panels = Table(
    "panels",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

allocations = Table(
    "allocations",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("kind", String(20), nullable=False),
    Column("key_id", String(120), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("request_hash", String(64), nullable=False),
    Column("request", Text, nullable=False),
    Column("panel_hash", String(64), ForeignKey("panels.hash")),
    Column("model_id", String(100), nullable=False),
    Column("version", String(64), nullable=False),
    Column("data_hash", String(64), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("answer", Text, nullable=False),
    Index(None, "created_at"),
    Index(None, "model_id", "created_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("status", String(12), nullable=False),
    Column("parameters", Text, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("heartbeat_at", Moment),
    Column("owner", String(200)),
    Column("attempt", Integer, nullable=False, default=0),
    Column("deaths", Integer, nullable=False, default=0),
    Column("cancel", Boolean, nullable=False, default=False),
    Column("timeout_seconds", Float, nullable=False),
    Column("progress", Float, nullable=False, default=0.0),
    Column("message", Text, nullable=False, default=""),
    # Of earlier versions; results are in files now.
    Column("result", Text),
    Index(None, "status", "created_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("action", String(40), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "at"),
)
