"""Audit: every answer is recorded before it is sent, and can be shown and recomputed."""

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

from sqlalchemy import delete, insert, select

from service.core.database import Database, insert_missing, record_event
from service.core.problems import Problem
from service.core.tables import allocations, panels
from service.schemas.decisions import AllocationRequest, DecisionRequest

_BATCH = 256


class AuditEntry(NamedTuple):
    """A new row of the audit, and the prices in the request, compressed."""

    row: Mapping[str, Any]
    panel: bytes | None


def make_entry(
    request: DecisionRequest,
    answer: bytes,
    members: Mapping[str, Any],
    *,
    now: datetime,
    key_id: str,
    request_id: str,
) -> AuditEntry:
    """Return the audit entry of a request and its answer.

    Parameters
    ----------
    request
        The request; equal prices of several requests are stored once.
    answer
        The answer as sent.
    members
        The answer's members.
    now
        Time of the request.
    key_id, request_id
        The API key or user, and the HTTP request.
    """
    full = request.model_dump_json(exclude_defaults=True)
    panel, panel_hash, text = None, None, full
    if request.prices is not None:
        content = request.prices.model_dump_json(exclude_defaults=True).encode()
        panel_hash = hashlib.sha256(content).hexdigest()
        panel = zlib.compress(content, 1)
        text = request.model_dump_json(exclude_defaults=True, exclude={"prices"})
    row = {
        "id": members["id"],
        "created_at": now,
        "kind": "allocation" if isinstance(request, AllocationRequest) else "signal",
        "key_id": key_id,
        "request_id": request_id,
        "request_hash": hashlib.sha256(full.encode()).hexdigest(),
        "request": text,
        "panel_hash": panel_hash,
        "model_id": members["model"],
        "version": members["version"],
        "data_hash": members["data_hash"],
        "as_of": date.fromisoformat(members["as_of"]),
        "answer": answer.decode(),
    }
    return AuditEntry(row, panel)


class AuditWriter:
    """Commits entries in a background thread, all that wait in one transaction.

    A disk commits a hundred rows about as fast as one, so the time of an answer does not grow with the load.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[tuple[AuditEntry, Future[None]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, entry: AuditEntry) -> Future[None]:
        """Queue an entry; the future is done once it is committed."""
        if self._thread is None:
            self._start()
        future: Future[None] = Future()
        self._queue.put((entry, future))
        return future

    def close(self) -> None:
        """Commit the entries that wait, then stop."""
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

    def _write(self, batch: Sequence[tuple[AuditEntry, Future[None]]]) -> None:
        try:
            self._insert([entry for entry, _ in batch])
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

    def _insert(self, entries: Sequence[AuditEntry]) -> None:
        contents = {entry.row["panel_hash"]: entry.panel for entry in entries if entry.panel is not None}
        with self._database.write() as connection:
            if contents:
                rows = [{"hash": name, "content": content} for name, content in contents.items()]
                insert_missing(connection, panels, rows)
            connection.execute(insert(allocations), [entry.row for entry in entries])


@dataclass(frozen=True)
class AuditRow:
    """A row of the audit."""

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
    """Reads and deletes rows of the audit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, answer_id: str) -> AuditRow | None:
        """Return the row of an answer, or None."""
        with self._database.read() as connection:
            row = connection.execute(select(allocations).where(allocations.c.id == answer_id)).first()
        return _audit_row(row) if row else None

    def latest(
        self, *, limit: int = 100, key_id: str | None = None, model_id: str | None = None
    ) -> list[AuditRow]:
        """Return the newest rows, of one key or model if given."""
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
            return [_audit_row(row) for row in connection.execute(query)]

    def request(self, row: AuditRow) -> dict[str, Any]:
        """Return the request as it came, its prices included."""
        if row.panel_hash is None:
            return row.request
        with self._database.read() as connection:
            query = select(panels.c.content).where(panels.c.hash == row.panel_hash)
            content = connection.execute(query).scalar_one()
        return {**row.request, "prices": json.loads(zlib.decompress(content))}

    def prune(self, days: int, *, actor: str = "command line") -> int:
        """Delete rows older than a number of days, and prices that no row needs; return the number of rows."""
        if days < 1:
            raise Problem("invalid-request", f"days: {days} is less than 1")
        before = datetime.now(UTC) - timedelta(days=days)
        with self._database.write() as connection:
            count = connection.execute(delete(allocations).where(allocations.c.created_at < before)).rowcount
            used = select(allocations.c.panel_hash).where(allocations.c.panel_hash.is_not(None))
            connection.execute(delete(panels).where(panels.c.hash.not_in(used)))
            record_event(connection, actor, "audit pruned", f"before {before:%Y-%m-%d}", f"{count} rows")
        return count


def _audit_row(row: Any) -> AuditRow:
    values = dict(row._mapping)
    return AuditRow(**{**values, "request": json.loads(values["request"])})
