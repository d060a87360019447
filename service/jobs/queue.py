"""Job queue: rows in the database, results in files; supervisors claim jobs and run them in other processes.

A job is claimed with an attempt number. Every update of a job names its attempt, so that a process that was given up
cannot overwrite the result of its successor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.sql.dml import Update

from equitrade.atomic import atomic_write
from service.core.clock import Clock, utc_now
from service.core.database import Database
from service.core.ids import new_id
from service.core.problems import Problem
from service.core.tables import jobs

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
FINISHED = (SUCCEEDED, FAILED, CANCELLED)
KINDS = ("backtest", "training", "refresh")
# For a process: go on; cancel; its end is recorded and it will exit; another attempt has taken over.
Orders = Literal["go on", "cancel", "end", "give up"]


# Everything but results, of which earlier versions stored up to a megabyte each.
_SELECT = select(*(column for column in jobs.c if column.name != "result"))


@dataclass(frozen=True)
class JobRecord:
    """One job, without its result."""

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


class JobQueue:
    """Jobs in a database, and their results in a folder.

    Parameters
    ----------
    database : Database
        The database.
    folder : Path
        Folder of the jobs' own folders.
    attempts : int
        Number of attempts after which a job whose process dies has failed.
    clock : callable
        Returns the time in UTC.
    """

    def __init__(
        self, database: Database, folder: Path, *, attempts: int = 3, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._folder = folder
        self._attempts = attempts
        self._clock = clock

    def submit(self, kind: str, parameters: Mapping[str, Any], *, by: str, timeout: float) -> JobRecord:
        """Queue a job."""
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
        """Return a job.

        Raises
        ------
        Problem
            ``unknown-job``.
        """
        with self._database.read() as connection:
            row = connection.execute(_SELECT.where(jobs.c.id == job_id)).first()
        if row is None:
            raise Problem("unknown-job", f"no job {job_id!r}")
        return _record(row)

    def result(self, job: JobRecord) -> dict[str, Any] | None:
        """Return the result of a job, or None."""
        try:
            return dict(json.loads(self._result_path(job.id, job.attempt).read_bytes()))
        except FileNotFoundError:
            # Jobs of earlier versions have their results in the database.
            with self._database.read() as connection:
                text = connection.execute(select(jobs.c.result).where(jobs.c.id == job.id)).scalar()
            return dict(json.loads(text)) if text else None

    def newest(self, *, limit: int = 100, status: str | None = None) -> list[JobRecord]:
        """Return jobs, newest first."""
        query = _SELECT.order_by(jobs.c.created_at.desc(), jobs.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(jobs.c.status == status)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def counts(self) -> dict[str, int]:
        """Return the number of jobs in each state."""
        query = select(jobs.c.status, func.count()).group_by(jobs.c.status)
        with self._database.read() as connection:
            found = {row[0]: int(row[1]) for row in connection.execute(query)}
        return {status: found.get(status, 0) for status in (QUEUED, RUNNING, *FINISHED)}

    def cancel(self, job_id: str) -> JobRecord:
        """Cancel a job: at once if it is queued, soon if it is running; a finished job does not change."""
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
        """Claim the oldest queued job; return None if there is none."""
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
        """Record that a job's process is alive; return what it should do."""
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
        """Record the progress of a job, from 0 to 1."""
        self._update(job_id, attempt, progress=min(max(share, 0.0), 1.0), message=message[:500])

    def succeed(self, job_id: str, attempt: int, result: Mapping[str, Any]) -> bool:
        """Store a job's result; return False if the attempt was given up."""
        path = self._result_path(job_id, attempt)
        atomic_write(path, json.dumps(dict(result), allow_nan=False))
        done = self._finish(job_id, attempt, status=SUCCEEDED, progress=1.0, message="done")
        if not done:
            path.unlink()
        return done

    def fail(self, job_id: str, attempt: int, reason: str, *, status: str = FAILED) -> bool:
        """End a job without a result; the reason becomes its message."""
        return self._finish(job_id, attempt, status=status, message=reason[:2000])

    def give_back(self, job_id: str, attempt: int, reason: str) -> None:
        """Queue a job again whose process died, or fail it after too many attempts."""
        deaths = self.get(job_id).deaths + 1
        if deaths >= self._attempts:
            self.fail(job_id, attempt, f"failed after {deaths} attempts: {reason}")
            return
        self._queue_again(job_id, attempt, reason, deaths=deaths)

    def release(self, job_id: str, attempt: int, reason: str = "the service stopped") -> None:
        """Queue a job again that was interrupted through no fault of its own; the attempt does not count."""
        self._queue_again(job_id, attempt, reason)

    def lost(self, *, silent_seconds: float) -> list[JobRecord]:
        """Return running jobs whose supervisor has not reported for so many seconds."""
        before = self._clock() - timedelta(seconds=silent_seconds)
        query = _SELECT.where(jobs.c.status == RUNNING, jobs.c.heartbeat_at < before)
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query)]

    def _result_path(self, job_id: str, attempt: int) -> Path:
        return self._folder / job_id / f"result-{attempt}.json"

    def _finish(self, job_id: str, attempt: int, **values: Any) -> bool:
        return self._update(job_id, attempt, finished_at=self._clock(), **values)

    def _queue_again(self, job_id: str, attempt: int, reason: str, **values: Any) -> None:
        message = f"will start again: {reason}"[:2000]
        self._update(job_id, attempt, status=QUEUED, owner=None, message=message, **values)

    def _update(self, job_id: str, attempt: int, **values: Any) -> bool:
        with self._database.write() as connection:
            return connection.execute(_of(job_id, attempt).values(**values)).rowcount == 1


def _of(job_id: str, attempt: int) -> Update:
    return update(jobs).where(jobs.c.id == job_id, jobs.c.attempt == attempt, jobs.c.status == RUNNING)


def _record(row: Any) -> JobRecord:
    values = dict(row._mapping)
    values["parameters"] = json.loads(values["parameters"])
    return JobRecord(**values)
