"""The audit: every answer is written down before it is given, and can be shown and recomputed."""

from __future__ import annotations

import hashlib
import json
import queue
import threading
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, select

from service.api.schemas.decisions import DecisionRequest
from service.core.database import BUSY_SECONDS, BusyError, Database, record_event
from service.core.problems import Problem
from service.core.tables import allocations, panels

_BATCH = 256
_PATIENCE = 0.005


class Entry(NamedTuple):
    """One row of the audit, and the prices that came with the request."""

    row: Mapping[str, Any]
    panel: bytes | None


def entry(
    request: DecisionRequest,
    answer: bytes,
    common: Mapping[str, Any],
    *,
    now: datetime,
    kind: str,
    key_id: str,
    request_id: str,
) -> Entry:
    """Make a row of a request and its answer.

    Parameters
    ----------
    request
        The request; its prices are stored once for all requests that send the same.
    answer
        The answer as sent.
    common
        The members of the answer that have columns of their own.
    now
        When it was computed.
    kind
        ``allocation`` or ``signal``.
    key_id, request_id
        Who asked, and in which request.
    """
    full = request.model_dump_json(exclude_defaults=True)
    panel, panel_hash, text = None, None, full
    if request.prices is not None:
        content = request.prices.model_dump_json(exclude_defaults=True).encode()
        panel_hash = hashlib.sha256(content).hexdigest()
        panel = zlib.compress(content, 1)
        text = request.model_dump_json(exclude_defaults=True, exclude={"prices"})
    row = {
        "id": common["id"],
        "created_at": now,
        "kind": kind,
        "key_id": key_id,
        "request_id": request_id,
        "request_hash": hashlib.sha256(full.encode()).hexdigest(),
        "request": text,
        "panel_hash": panel_hash,
        "model_id": common["model"],
        "version": common["version"],
        "data_hash": common["data_hash"],
        "as_of": date.fromisoformat(common["as_of"]),
        "answer": answer.decode(),
    }
    return Entry(row, panel)


class AuditWriter:
    """Writes rows in the background, those that wait together in one transaction.

    A disk commits a hundred rows about as fast as one, so the time of an answer does not grow with the load.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[tuple[Entry, Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, item: Entry) -> Future[None]:
        """Hand over a row; the future is done once it is committed."""
        if self._thread is None:
            self._start()
        future: Future[None] = Future()
        self._queue.put((item, future))
        return future

    def write_now(self, items: Sequence[Entry]) -> bool:
        """Commit rows on this thread if others do not write; False if they do, with nothing written.

        Handing a row to another thread and waiting for it costs more than writing it to a SQLite file.
        Another process that writes for long, or a server elsewhere, is waited for on the thread.
        """
        if not self._database.sqlite:
            return False
        try:
            self._append(items, _PATIENCE)
        except BusyError:
            return False
        return True

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            last = False
            while len(batch) < _BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    last = True
                    break
                batch.append(item)
            self._write(batch)
            if last:
                return

    def _write(self, batch: Sequence[tuple[Entry, Future[None]]]) -> None:
        try:
            self._append([item for item, _ in batch])
        except Exception as error:
            if len(batch) > 1:  # one bad row must not take the others with it
                for pair in batch:
                    self._write([pair])
            elif batch[0][1].set_running_or_notify_cancel():
                batch[0][1].set_exception(error)
            return
        for _, future in batch:
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _append(self, items: Sequence[Entry], patience: float = BUSY_SECONDS) -> None:
        fresh = {item.row["panel_hash"]: item.panel for item in items if item.panel is not None}
        contents = [{"hash": content_hash, "content": content} for content_hash, content in fresh.items()]
        rows = [item.row for item in items]
        with self._database.append(patience) as add:
            if contents:
                add(panels, contents, True)
            add(allocations, rows, False)


@dataclass(frozen=True)
class Recorded:
    """A row of the audit as read."""

    id: str
    created_at: datetime
    kind: str
    key_id: str
    request_id: str
    request_hash: str
    request: dict[str, Any]
    panel_hash: str | None
    model_id: str
    version: str
    data_hash: str
    as_of: date
    answer: str


class AuditTrail:
    """Reading and deleting what was written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, answer_id: str) -> Recorded | None:
        """Find a row by the id of the answer."""
        with self._database.read() as connection:
            row = connection.execute(select(allocations).where(allocations.c.id == answer_id)).first()
        return _recorded(row) if row else None

    def latest(
        self, *, limit: int = 100, key_id: str | None = None, model_id: str | None = None
    ) -> list[Recorded]:
        """The newest rows, of one key or model if given."""
        query = (
            select(allocations)
            .order_by(allocations.c.created_at.desc(), allocations.c.id.desc())
            .limit(limit)
        )
        if key_id is not None:
            query = query.where(allocations.c.key_id == key_id)
        if model_id is not None:
            query = query.where(allocations.c.model_id == model_id)
        with self._database.read() as connection:
            return [_recorded(row) for row in connection.execute(query)]

    def request(self, record: Recorded) -> dict[str, Any]:
        """The request as it came, its prices included."""
        if record.panel_hash is None:
            return record.request
        with self._database.read() as connection:
            query = select(panels.c.content).where(panels.c.hash == record.panel_hash)
            content = connection.execute(query).scalar_one()
        return {**record.request, "prices": json.loads(zlib.decompress(content))}

    def prune(self, days: int, *, actor: str = "command line") -> int:
        """Delete rows older than a number of days, and prices that no row needs; give how many rows."""
        if days < 1:
            raise Problem("invalid-request", f"days: {days} is less than 1")
        before = datetime.now(UTC) - timedelta(days=days)
        with self._database.write() as connection:
            count = connection.execute(delete(allocations).where(allocations.c.created_at < before)).rowcount
            used = select(allocations.c.panel_hash).where(allocations.c.panel_hash.is_not(None))
            connection.execute(delete(panels).where(panels.c.hash.not_in(used)))
            record_event(connection, actor, "audit pruned", f"before {before:%Y-%m-%d}", f"{count} rows")
        return count


def _recorded(row: Any) -> Recorded:
    values = dict(row._mapping)
    return Recorded(**{**values, "request": json.loads(values["request"])})
