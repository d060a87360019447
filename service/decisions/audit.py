"""Audit: every answer is recorded before it is sent, and can be shown and recomputed."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select

from service.core.database import Database, insert_missing, record_event
from service.core.problems import Problem
from service.core.tables import allocations, panels
from service.schemas.decisions import AllocationRequest, DecisionRequest


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
    """The rows of the audit in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, entries: Sequence[AuditEntry]) -> None:
        """Commit entries in one transaction; when it returns, they are on the disk."""
        contents = {entry.row["panel_hash"]: entry.panel for entry in entries if entry.panel is not None}
        with self._database.write() as connection:
            if contents:
                rows = [{"hash": name, "content": content} for name, content in contents.items()]
                insert_missing(connection, panels, rows)
            connection.execute(insert(allocations), [entry.row for entry in entries])

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

    def prune(self, days: int) -> int:
        """Delete rows older than a number of days, and prices that no row needs; return the number of rows."""
        if days < 1:
            raise Problem("invalid-request", f"days: {days} is less than 1")
        before = datetime.now(UTC) - timedelta(days=days)
        with self._database.write() as connection:
            count = connection.execute(delete(allocations).where(allocations.c.created_at < before)).rowcount
            used = select(allocations.c.panel_hash).where(allocations.c.panel_hash.is_not(None))
            connection.execute(delete(panels).where(panels.c.hash.not_in(used)))
            record_event(connection, "audit pruned", f"before {before:%Y-%m-%d}", f"{count} rows")
        return count


def _audit_row(row: Any) -> AuditRow:
    values = dict(row._mapping)
    return AuditRow(**{**values, "request": json.loads(values["request"])})
