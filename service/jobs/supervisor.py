"""Supervisor of jobs: claims them, runs each in a process, cancels, and starts again after a crash."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.core.database import Database, DatabaseError
from service.core.logging import configure_logging, event
from service.core.processes import Child, is_alive, receive_settings, when_parent_dies
from service.core.settings import Settings
from service.jobs.queue import CANCELLED, QUEUED, RUNNING, JobQueue, JobRecord
from service.jobs.worker import EXIT_TEMPORARY

logger = logging.getLogger("equitrade.jobs")

_POLL_SECONDS = 0.25
_SILENT_SECONDS = 30.0
_GRACE_SECONDS = 5.0
# Wait after a fault of disk or database.
_FAULT_SECONDS = 5.0


@dataclass
class Running:
    """A job and its process."""

    job: JobRecord
    child: Child
    deadline: float


class Supervisor:
    """Runs the jobs of one service; `spawn` starts the process of a job."""

    def __init__(
        self,
        settings: Settings,
        queue: JobQueue,
        *,
        spawn: Callable[[Settings, JobRecord], Child] | None = None,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._spawn = spawn or spawn_worker
        self._running: list[Running] = []
        self._host = socket.gethostname()
        self._owner = f"{self._host}:{os.getpid()}:{secrets.token_hex(4)}"

    def recover(self) -> None:
        """Queue again the running jobs of dead supervisors of this machine."""
        for job in self._queue.newest(limit=10_000, status=RUNNING):
            host, _, rest = (job.owner or "").partition(":")
            pid = rest.partition(":")[0]
            if job.owner != self._owner and host == self._host and pid.isdigit() and not is_alive(int(pid)):
                self._queue.give_back(job.id, job.attempt, "the service died while it ran")

    def step(self) -> None:
        """Check every job once."""
        for job in self._queue.lost(silent_seconds=_SILENT_SECONDS):
            if job.owner != self._owner:
                self._queue.give_back(job.id, job.attempt, "its supervisor no longer reports")
        for item in list(self._running):
            if self._finished(item):
                item.child.close()
                self._running.remove(item)
        while len(self._running) < self._settings.service.job_workers:
            fresh = self._queue.claim(self._owner)
            if fresh is None:
                break
            try:
                child = self._spawn(self._settings, fresh)
            except OSError as error:
                self._queue.release(
                    fresh.id, fresh.attempt, f"its process cannot be started: {error.strerror}"
                )
                raise
            event(logger, logging.INFO, "job started", job=fresh.id, kind=fresh.kind, attempt=fresh.attempt)
            self._running.append(Running(fresh, child, time.monotonic() + fresh.timeout_seconds))

    def run(self, stop: threading.Event) -> None:
        """Check again and again until stopped, then stop the jobs so that they continue later."""
        recovered = False
        while not stop.wait(_POLL_SECONDS):
            try:
                if not recovered:
                    self.recover()
                    recovered = True
                refresh_when_due(self._settings, self._queue)
                self.step()
            except (DatabaseError, OSError) as error:
                logger.error("jobs wait: %s", error)
                stop.wait(_FAULT_SECONDS)
        self.shut_down()

    def shut_down(self) -> None:
        """Stop every process and queue its job again."""
        for item in self._running:
            item.child.terminate()
        for item in self._running:
            item.child.wait(_GRACE_SECONDS)
            with suppress(DatabaseError):  # the next supervisor recovers the job
                self._queue.release(item.job.id, item.job.attempt)
            item.child.close()
        self._running.clear()

    def _finished(self, item: Running) -> bool:
        job, code = item.job, item.child.exit_code
        if code is not None:
            # Without effect on a job that has recorded its end: it is no longer running.
            if code == EXIT_TEMPORARY:
                self._queue.release(job.id, job.attempt, "the disk or the database could not be used")
            else:
                self._queue.give_back(job.id, job.attempt, _cause(code))
            event(logger, logging.INFO, "job ended", job=job.id, kind=job.kind, exit_code=code)
            return True
        orders = self._queue.beat(job.id, job.attempt)
        if orders in ("cancel", "give up"):
            self._stop(item, CANCELLED, "cancelled while it ran")
            return True
        if time.monotonic() > item.deadline:
            self._stop(item, "failed", f"took longer than {job.timeout_seconds:g} s")
            return True
        return False

    def _stop(self, item: Running, status: str, reason: str) -> None:
        item.child.terminate()
        item.child.wait(_GRACE_SECONDS)
        self._queue.fail(item.job.id, item.job.attempt, reason, status=status)
        event(logger, logging.INFO, "job stopped", job=item.job.id, kind=item.job.kind, reason=reason)


def spawn_worker(settings: Settings, job: JobRecord) -> Child:
    """Start the process of a job, with its output in the job's folder."""
    folder = settings.jobs / job.id
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.txt").open("ab"))
        return Child("service.jobs.worker", [job.id, str(job.attempt)], settings, log=log)


def refresh_when_due(settings: Settings, queue: JobQueue, now: datetime | None = None) -> None:
    """Queue downloads of new prices where the setting asks for them and the last one is old enough."""
    hours = settings.service.refresh_hours
    if hours is None:
        return
    recent = [job for job in queue.newest(limit=1000) if job.kind == "refresh"]
    for name in settings.service.refresh_snapshots:
        last = next((job for job in recent if job.parameters.get("snapshot") == name), None)
        if last is not None:
            moment = now or datetime.now(last.created_at.tzinfo)
            if last.status in (QUEUED, RUNNING) or moment - last.created_at < timedelta(hours=hours):
                continue
        timeout = settings.service.job_seconds
        queue.submit("refresh", {"snapshot": name}, by="schedule", timeout=timeout)


def _cause(code: int) -> str:
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process ended with code {code} and no result"


def main() -> None:
    """Run until stopped, or until the parent dies."""
    settings = receive_settings()
    configure_logging(settings.service.log_level)
    database = Database(settings.database_url)
    queue = JobQueue(database, settings.jobs, attempts=settings.service.job_attempts)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_parent_dies(stop.set)
    Supervisor(settings, queue).run(stop)
    database.close()


if __name__ == "__main__":
    main()
