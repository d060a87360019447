"""Database: SQLite in write-ahead mode by default, PostgreSQL by URL; migrated at the start."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, and_, create_engine, event, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DataError as StatementDataError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from data.errors import DataError
from service.core.tables import events, revision

logger = logging.getLogger("equitrade.database")

# Longest wait for the lock of a SQLite file; requests that find it held are answered with 503.
BUSY_SECONDS = 2.0
# After such a wait, other writers fail at once for this long instead of waiting one after another.
PAUSE_SECONDS = 1.0
_MIGRATION_SECONDS = 30.0
# Administrative acts are those of commands.
ACTOR = "command line"
# One migration at a time over all processes of a PostgreSQL cluster; the number only has to be ours.
MIGRATION_LOCK = 0x6571_7472
_REVISION = select(revision.c.value)
_REVISION_TEXT = str(_REVISION)
# FULL: a committed transaction survives a power cut, not only a killed process.
_PRAGMAS = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")


class DatabaseError(DataError):
    """The database cannot be used; another attempt may succeed after `retry_after` seconds.

    `reason` has no path, URL or password, for answers to clients; the message names the database too.
    """

    def __init__(self, name: str, reason: str, *, retry_after: int = 10) -> None:
        super().__init__(f"database {name}: {reason}")
        self.reason = reason
        self.retry_after = retry_after


class Database:
    """Connections for reading and for writing; every fault of the database is a `DatabaseError`.

    URLs are ``sqlite:///FILE`` or ``postgresql+pg8000://USER:PASSWORD@HOST/NAME``.
    """

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(url, BUSY_SECONDS)
        self._reading = (
            self.engine if self.sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )
        self._file = Path(self.url.database or "") if self.sqlite else None
        self._file_id: tuple[int, int] | None = None
        self._instant: sqlite3.Connection | None = None
        self._paused_until = 0.0

    @property
    def name(self) -> str:
        """URL without the password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection whose statements each see the data committed when they start.

        Raises `DatabaseError` if the database cannot be used.
        """
        self._check_file()
        with self._faults(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a connection in a transaction, committed at the end, rolled back on an error.

        Raises `DatabaseError` if the database cannot be used.
        """
        self._check_file()
        if time.monotonic() < self._paused_until:
            raise DatabaseError(self.name, _LOCKED, retry_after=1)
        with (
            self._faults(),
            self.engine.connect().execution_options(equitrade_write=True) as connection,
            connection.begin(),
        ):
            yield connection

    def check_writable(self) -> None:
        """Write and commit a row without changing it. Raises `DatabaseError` if that fails."""
        with self.write() as connection:
            connection.execute(update(revision).values(value=revision.c.value))

    def revision(self) -> int:
        """Return the number of changes to keys and models; values read at one number are valid until the next."""
        with self.read() as connection:
            return int(connection.execute(_REVISION).scalar_one())

    def instant_revision(self) -> int | None:
        """Return `revision` if it can be read without waiting, else None; for the event loop.

        It is read before almost every answer, by a connection of the driver in a tenth of SQLAlchemy's time.
        """
        if self._file is None:
            return None
        try:
            self._check_file()
            if self._instant is None:
                self._instant = sqlite3.connect(self._file, timeout=0.0, check_same_thread=False)
            return int(self._instant.execute(_REVISION_TEXT).fetchone()[0])
        except (DatabaseError, sqlite3.Error):
            return None  # the caller asks again on a thread, which reports the fault

    def migrate(self) -> None:
        """Migrate the tables to this version; safe when several processes start at once.

        Raises `DatabaseError` if the database cannot be used.
        """
        if self._file is not None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
        engine = _engine(self.url, _MIGRATION_SECONDS)
        try:
            with self._faults():
                _migrate(engine)
        finally:
            engine.dispose()

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, StatementDataError):
            raise
        except (SQLAlchemyError, sqlite3.Error) as error:
            reason = _reason(error)
            if reason == _LOCKED:
                self._paused_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("database %s: %s (%s)", self.name, reason, _cause(error))
            raise DatabaseError(self.name, reason, retry_after=1 if reason == _LOCKED else 10) from error

    def _check_file(self) -> None:
        """Close the connections to a SQLite file that was deleted or replaced: they would write to the old one."""
        if self._file is None:
            return
        try:
            status = self._file.stat()
        except OSError:
            self.close()
            raise DatabaseError(self.name, "its file does not exist; restore it from a backup") from None
        file_id = (status.st_dev, status.st_ino)
        if file_id != self._file_id:
            self.close()
            self._file_id = file_id

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()
        instant, self._instant = self._instant, None
        if instant is not None:
            instant.close()


def bump_revision(connection: Connection) -> None:
    """Announce to every process that this transaction changes keys or models."""
    connection.execute(update(revision).values(value=revision.c.value + 1))


def insert_missing(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, except those whose primary key exists."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Update the row of a primary key, or insert it."""
    same = and_(*(table.c[name] == value for name, value in key.items()))
    if connection.execute(update(table).where(same).values(values)).rowcount == 0:
        connection.execute(insert(table).values(**key, **values))


def record_event(connection: Connection, action: str, subject: str, detail: str = "") -> None:
    """Record an administrative act in the transaction that performs it."""
    values = {"at": datetime.now(UTC), "actor": ACTOR, "action": action, "subject": subject, "detail": detail}
    connection.execute(insert(events).values(values))


def _engine(url: str | URL, busy_seconds: float) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_timeout=busy_seconds)
    engine = create_engine(
        url, pool_timeout=busy_seconds, max_overflow=64, connect_args={"timeout": busy_seconds}
    )

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: `_begin` opens the right kind.
        connection.isolation_level = None
        cursor = connection.cursor()
        _write_ahead(cursor, busy_seconds)
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


def _write_ahead(cursor: sqlite3.Cursor, busy_seconds: float) -> None:
    """Set the file's journal mode; processes that open a new file at the same time wait for each other.

    SQLite's busy timeout does not cover this statement.
    """
    until = time.monotonic() + busy_seconds
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


_LOCKED = "it is locked by another process"
_SQLITE_REASONS = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "its file or folder is read-only",
    "SQLITE_CANTOPEN": "its file cannot be opened",
    "SQLITE_PERM": "its file cannot be opened",
    "SQLITE_IOERR": "its disk reports an error",
    "SQLITE_CORRUPT": "its file is damaged; restore it from a backup",
    "SQLITE_NOTADB": "its file is damaged; restore it from a backup",
}


def _reason(error: Exception) -> str:
    """Return the reason of a fault in words that hold no path, URL or password."""
    cause = getattr(error, "orig", None) or error
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", "") or ""
        found = (reason for prefix, reason in _SQLITE_REASONS.items() if name.startswith(prefix))
        return next(found, "it cannot be used")
    if isinstance(error, PoolTimeoutError):
        return "all its connections are in use"
    return "its server cannot be reached or refuses the connection"


def _cause(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split())[:300]
