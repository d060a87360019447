"""The job queue in the database: filled by requests, claimed by supervisors, run in other processes.

A job is claimed with an attempt number. Whatever a process writes about a job names its attempt, so that a
process which was given up for dead cannot overwrite what its successor found.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.sql.dml import Update

from service.core.database import Database
from service.core.ids import new_id
from service.core.problems import Problem
from service.core.tables import jobs

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
FINISHED = (SUCCEEDED, FAILED, CANCELLED)
KINDS = ("backtest", "training", "refresh")
# Of a process: go on; cancel; it has said how it ended and will exit; another attempt has taken over.
Orders = Literal["go on", "cancel", "end", "give up"]


@dataclass(frozen=True)
class JobRecord:
    """One job as read."""

    id: str
    kind: str
    status: str
    parameters: dict[str, Any]
    created_by: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    heartbeat_at: datetime | None
    owner: str | None
    attempt: int
    deaths: int
    cancel: bool
    timeout_seconds: float
    progress: float
    message: str
    result: dict[str, Any] | None


class JobQueue:
    """Jobs in a database.

    Parameters
    ----------
    database : Database
        Where they are.
    attempts : int
        How often a job is started before its process dying means that it failed.
    clock : callable
        Gives the time, UTC.
    """

    def __init__(
        self, database: Database, *, attempts: int = 3, clock: Callable[[], datetime] | None = None
    ) -> None:
        self._database = database
        self._attempts = attempts
        self._clock = clock or (lambda: datetime.now(UTC))

    def submit(self, kind: str, parameters: Mapping[str, Any], *, by: str, timeout: float) -> JobRecord:
        """Put a job into the queue."""
        job_id = new_id()
        with self._database.write() as connection:
            connection.execute(
                insert(jobs).values(
                    id=job_id,
                    kind=kind,
                    status=QUEUED,
                    parameters=json.dumps(dict(parameters)),
                    created_by=by,
                    created_at=self._clock(),
                    timeout_seconds=timeout,
                )
            )
        return self.get(job_id)

    def get(self, job_id: str) -> JobRecord:
        """Find a job.

        Raises
        ------
        Problem
            ``unknown-job``.
        """
        with self._database.read() as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        if row is None:
            raise Problem("unknown-job", f"no job {job_id!r}")
        return _record(row)

    def newest(self, *, limit: int = 100, status: str | None = None) -> list[JobRecord]:
        """Jobs, newest first."""
        query = select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(jobs.c.status == status)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """Number of jobs in each state."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._database.read() as connection:
            found = {row[0]: int(row[1]) for row in connection.execute(query)}
        return {status: found.get(status, 0) for status in (QUEUED, RUNNING, *FINISHED)}

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once if it waits, soon if it runs; a finished one stays as it is."""
        with self._database.write() as connection:
            waiting = update(jobs).where(jobs.c.id == job_id, jobs.c.status == QUEUED)
            connection.execute(
                waiting.values(
                    status=CANCELLED, finished_at=self._clock(), message="cancelled before it started"
                )
            )
            running = update(jobs).where(jobs.c.id == job_id, jobs.c.status == RUNNING)
            connection.execute(running.values(cancel=True))
        return self.get(job_id)

    def claim(self, owner: str) -> JobRecord | None:
        """Take the oldest job that waits, or None."""
        oldest = (
            select(jobs.c.id)
            .where(jobs.c.status == QUEUED)
            .order_by(jobs.c.created_at, jobs.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        now = self._clock()
        with self._database.write() as connection:
            job_id = connection.execute(oldest).scalar()
            if job_id is None:
                return None
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(
                    status=RUNNING,
                    owner=owner,
                    attempt=jobs.c.attempt + 1,
                    started_at=now,
                    heartbeat_at=now,
                    progress=0.0,
                    message="started",
                )
            )
        return self.get(job_id)

    def beat(self, job_id: str, attempt: int) -> Orders:
        """Say that a job's process lives, and read what it should do."""
        with self._database.write() as connection:
            connection.execute(_of(job_id, attempt).values(heartbeat_at=self._clock()))
            row = connection.execute(
                select(jobs.c.status, jobs.c.attempt, jobs.c.cancel).where(jobs.c.id == job_id)
            ).first()
        if row is None or row.attempt != attempt:
            return "give up"
        if row.status != RUNNING:
            return "end"
        return "cancel" if row.cancel else "go on"

    def progress(self, job_id: str, attempt: int, share: float, message: str) -> None:
        """Say how far a job is, as a share of 1."""
        with self._database.write() as connection:
            connection.execute(
                _of(job_id, attempt).values(progress=min(max(share, 0.0), 1.0), message=message[:500])
            )

    def succeed(self, job_id: str, attempt: int, result: Mapping[str, Any]) -> bool:
        """Keep a job's result; False if the attempt had been given up."""
        text = json.dumps(dict(result), allow_nan=False)
        return self._finish(job_id, attempt, status=SUCCEEDED, progress=1.0, message="done", result=text)

    def fail(self, job_id: str, attempt: int, reason: str, *, status: str = FAILED) -> bool:
        """End a job without a result; the reason is shown to whoever asks."""
        return self._finish(job_id, attempt, status=status, message=reason[:2000])

    def give_back(self, job_id: str, attempt: int, reason: str) -> None:
        """Queue a job again whose process died or was stopped, or fail it when that happened too often."""
        deaths = self.get(job_id).deaths + 1
        if deaths >= self._attempts:
            self.fail(job_id, attempt, f"given up after {deaths} attempts: {reason}")
            return
        message = f"will start again: {reason}"[:2000]
        with self._database.write() as connection:
            connection.execute(
                _of(job_id, attempt).values(status=QUEUED, owner=None, deaths=deaths, message=message)
            )

    def release(self, job_id: str, attempt: int) -> None:
        """Queue a job again that an orderly stop of the service interrupted; it costs no attempt."""
        with self._database.write() as connection:
            connection.execute(
                _of(job_id, attempt).values(
                    status=QUEUED, owner=None, message="waits for the service to start again"
                )
            )

    def lost(self, *, silent_seconds: float) -> list[JobRecord]:
        """Jobs that should run but whose supervisor has not been heard of for some time."""
        before = self._clock() - timedelta(seconds=silent_seconds)
        query = select(jobs).where(jobs.c.status == RUNNING, jobs.c.heartbeat_at < before)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def running(self) -> list[JobRecord]:
        """Jobs that run, or that a dead supervisor left as running."""
        return self.newest(limit=10_000, status=RUNNING)

    def _finish(self, job_id: str, attempt: int, **values: Any) -> bool:
        with self._database.write() as connection:
            done = connection.execute(_of(job_id, attempt).values(finished_at=self._clock(), **values))
        return done.rowcount == 1


def _of(job_id: str, attempt: int) -> Update:
    return update(jobs).where(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == RUNNING)


def _record(row: Any) -> JobRecord:
    values = dict(row._mapping)
    values["parameters"] = json.loads(values["parameters"])
    values["result"] = json.loads(values["result"]) if values["result"] else None
    return JobRecord(**values)
