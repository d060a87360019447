"""The database: SQLite in write-ahead mode by default, PostgreSQL by URL; migrated at the start."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Date, Engine, Executable, Table, create_engine, event, insert, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from data.errors import DataError
from service.core.tables import Moment, events, revision

BUSY_SECONDS = 30
# One migration at a time over all processes of a PostgreSQL cluster; the number only has to be ours.
MIGRATION_LOCK = 0x6571_7472
_REVISION = "SELECT value FROM revision"
# Seconds after which additions are on the disk, and copied from the write-ahead log to the file, in the background.
_SOON = 0.25
# FULL: what is committed survives a power cut, not only a killed process. See `Database` for what is added.
_PRAGMAS = ("PRAGMA synchronous=FULL", "PRAGMA foreign_keys=ON")
Add = Callable[[Table, Sequence[Mapping[str, Any]], bool], object]


class DatabaseError(DataError):
    """The database cannot be reached or used; the message says which, without its password."""


class BusyError(DatabaseError):
    """Others were writing for longer than the caller would wait."""


class Database:
    """Connections for reading and for writing.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE`` or ``postgresql+pg8000://USER:PASSWORD@HOST/NAME``.
    sync_each : bool
        Whether what `append` adds to a SQLite file is on the disk when it returns. Otherwise it is with the operating
        system then, which keeps it whatever happens to this process, and on the disk a quarter of a second later: a
        disk may take longer for each of its answers than everything else about a request. All other changes are on
        the disk when they return.
    """

    def __init__(self, url: str, *, sync_each: bool = False) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if self.sqlite:
            Path(self.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        self.engine = _sqlite_engine(url) if self.sqlite else create_engine(url, pool_pre_ping=True)
        self._local = threading.local()
        self._sync_each = sync_each
        self._copying = False
        self._closing = threading.Event()
        self._background = ThreadPoolExecutor(1, thread_name_prefix="copier")
        self._turn: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._reading = (
            self.engine if self.sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        )

    @property
    def name(self) -> str:
        """Where the database is, without its password."""
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection whose statements each see what is committed when they start."""
        with self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection in a transaction, committed at the end, rolled back on an error."""
        with self.engine.connect().execution_options(equitrade_write=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def append(self, patience: float = BUSY_SECONDS) -> Iterator[Add]:
        """Give a function that adds rows in a transaction; told to skip, it leaves those that are there.

        Rows are mappings from columns to values, all of one table with the same columns. For SQLite it goes
        to the driver, which takes a tenth of the time: a row is added before each answer.

        Parameters
        ----------
        patience
            Seconds to wait for other writers of a SQLite file.

        Raises
        ------
        BusyError
            If others wrote for longer than that; nothing is added.
        """
        if not self.sqlite:
            with self.write() as connection:
                yield lambda table, rows, skip: connection.execute(_insert(table, skip), rows)
            return
        driver = self._driver(f"appender {patience}", patience)
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise BusyError(f"database {self.name}: {error}") from None
        try:
            yield lambda table, rows, skip: driver.executemany(*_plain_insert(table, rows, skip))
            driver.execute("COMMIT")
        except BaseException:
            driver.execute("ROLLBACK")
            raise
        if not self._copying:
            self._copying = True
            self._background.submit(self._checkpoint)

    def _checkpoint(self) -> None:
        """Soon, see to it that the log is on the disk, and copy it to the file.

        The log starts anew only when all of it is copied, hence the second attempt.
        """
        self._closing.wait(_SOON)
        self._copying = False
        for _ in range(3):
            _, written, copied = self._driver("copier").execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if written == copied:
                return

    def revision(self) -> int:
        """Count of changes to keys and models so far; what was read at one count holds until it moves.

        On a thread with an event loop it is read once a turn: a request that is read in a turn was sent before it, and
        one that is sent after the count has moved is read in a later turn.
        """
        loop = asyncio._get_running_loop()
        if loop is None:
            return self._revision()
        if self._turn is None or self._turn[0] is not loop:
            self._turn = loop, self._revision()
            loop.call_soon(self._end_turn)
        return self._turn[1]

    def _end_turn(self) -> None:
        self._turn = None

    def _revision(self) -> int:
        if not self.sqlite:
            with self.read() as connection:
                return int(connection.exec_driver_sql(_REVISION).scalar_one())
        # Asked at nearly each request, so it goes to the driver: a tenth of the time of a pooled connection.
        return int(self._driver("reader").execute(_REVISION).fetchone()[0])

    def _driver(self, name: str, patience: float = BUSY_SECONDS) -> sqlite3.Connection:
        """A connection of the driver's own, one for each thread and use."""
        connection: sqlite3.Connection | None = getattr(self._local, name, None)
        if connection is None:
            self.engine.connect().close()  # sets the file's journal mode where it is new
            connection = sqlite3.connect(
                str(self.url.database), timeout=patience, isolation_level=None, check_same_thread=False
            )
            for pragma in _PRAGMAS:
                connection.execute(pragma)
            if name.startswith("appender"):
                connection.execute("PRAGMA wal_autocheckpoint=0")  # see `_checkpoint`: nobody waits for it
                if not self._sync_each:
                    connection.execute("PRAGMA synchronous=NORMAL")
            setattr(self._local, name, connection)
        return connection

    def migrate(self) -> None:
        """Bring the tables to this version's form; safe when several processes start at once."""
        try:
            _migrate(self.engine)
        except SQLAlchemyError as error:
            raise DatabaseError(f"database {self.name}: {_cause(error)}") from None

    def close(self) -> None:
        """Close every connection."""
        self._closing.set()
        self._background.shutdown()
        self.engine.dispose()


def bump_revision(connection: Connection) -> None:
    """Tell every process that keys or models change with this transaction."""
    connection.execute(update(revision).values(value=revision.c.value + 1))


def record_event(connection: Connection, actor: str, action: str, subject: str, detail: str = "") -> None:
    """Write down an administrative act in the transaction that performs it."""
    values = {"at": datetime.now(UTC), "actor": actor, "action": action, "subject": subject, "detail": detail}
    connection.execute(insert(events).values(values))


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver must not open transactions by itself: `_begin` says which kind.
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
    """Set the file's journal mode; several that open a new file at once wait for each other.

    This one statement fails at once where another connection holds a lock: SQLite's own waiting leaves it out.
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


def _insert(table: Table, skip: bool) -> Executable:
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table).on_conflict_do_nothing() if skip else insert(table)


def _plain_insert(table: Table, rows: Sequence[Mapping[str, Any]], skip: bool) -> tuple[str, list[list[Any]]]:
    names = tuple(rows[0])
    statement, pick, typed = _plan(table, names, skip)
    values = [list(pick(row)) for row in rows]
    for place, stored in typed:
        for row in values:
            row[place] = stored(row[place])
    return statement, values


@lru_cache(maxsize=64)
def _plan(
    table: Table, names: tuple[str, ...], skip: bool
) -> tuple[str, Callable[[Mapping[str, Any]], tuple[Any, ...]], list[tuple[int, Callable[[Any], Any]]]]:
    """The statement, what takes the values out of a row, and how those are stored that SQLite has no type for."""
    marks = ", ".join("?" for _ in names)
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({marks})"
    if skip:
        statement += " ON CONFLICT DO NOTHING"
    kinds = [(place, table.c[name].type) for place, name in enumerate(names)]
    stored = [(place, _STORED[type(kind)]) for place, kind in kinds if type(kind) in _STORED]
    return statement, lambda row: tuple([row[name] for name in names]), stored


def _moment(value: datetime | None) -> str | None:
    if value is None:
        return None
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _day(value: date | None) -> str | None:
    return value if value is None else value.isoformat()


# As SQLAlchemy's types store them in SQLite.
_STORED: dict[type, Callable[[Any], Any]] = {Moment: _moment, Date: _day}


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
