"""Database: SQLite in write-ahead mode by default, PostgreSQL by URL; migrated at the start."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from data.errors import DataError
from service.core.tables import events, revision

BUSY_SECONDS = 30
# One migration at a time over all processes of a PostgreSQL cluster; the number only has to be ours.
MIGRATION_LOCK = 0x6571_7472
_REVISION = select(revision.c.value)
# FULL: a committed transaction survives a power cut, not only a killed process.
_PRAGMAS = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


class DatabaseError(DataError):
    """The database cannot be reached or used; the message says which, without its password."""


class Database:
    """Connections for reading and for writing.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE`` or ``postgresql+pg8000://USER:PASSWORD@HOST/NAME``.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if self.sqlite:
            Path(self.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        self.engine = _sqlite_engine(url) if self.sqlite else create_engine(url, pool_pre_ping=True)
        self._reading = (
            self.engine if self.sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @property
    def name(self) -> str:
        """URL without the password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection whose statements each see the data committed when they start."""
        with self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection in a transaction, committed at the end, rolled back on an error."""
        with self.engine.connect().execution_options(equitrade_write=True) as connection, connection.begin():
            yield connection

    def revision(self) -> int:
        """Return the number of changes to keys and models; values read at one number are valid until the next."""
        with self.read() as connection:
            return int(connection.execute(_REVISION).scalar_one())

    def migrate(self) -> None:
        """Migrate the tables to this version; safe when several processes start at once."""
        try:
            _migrate(self.engine)
        except SQLAlchemyError as error:
            raise DatabaseError(f"database {self.name}: {_cause(error)}") from None

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def bump_revision(connection: Connection) -> None:
    """Announce to every process that this transaction changes keys or models."""
    connection.execute(update(revision).values(value=revision.c.value + 1))


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, except those whose primary key exists."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def record_event(connection: Connection, actor: str, action: str, subject: str, detail: str = "") -> None:
    """Record an administrative act in the transaction that performs it."""
    values = {"at": datetime.now(UTC), "actor": actor, "action": action, "subject": subject, "detail": detail}
    connection.execute(insert(events).values(values))


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: `_begin` opens the right kind.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor)
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: upgrading a read transaction fails under contention.
        # A reader needs no transaction: each of its statements sees one committed state.
        if connection.get_execution_options().get("equitrade_write", False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Set the file's journal mode; processes that open a new file at the same time wait for each other.

    SQLite's busy timeout does not cover this statement.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _migrate(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%")
    )
    with engine.connect().execution_options(equitrade_write=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _cause(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:300]
