"""Runs jobs: claims them, gives each a process, watches, cancels, starts again what a crash ended."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from service.core.database import Database
from service.core.logging import configure_logging, event
from service.core.processes import Child, is_alive, receive_settings, when_parent_dies
from service.core.settings import Settings
from service.jobs.queue import CANCELLED, QUEUED, RUNNING, JobQueue, JobRecord

logger = logging.getLogger("equitrade.jobs")

_POLL_SECONDS = 0.25
_SILENT_SECONDS = 30.0
_GRACE_SECONDS = 5.0


@dataclass
class Running:
    """A job and its process."""

    job: JobRecord
    child: Child
    deadline: float


class Supervisor:
    """Watches over the jobs of one service.

    Parameters
    ----------
    settings : Settings
        The settings.
    queue : JobQueue
        The jobs.
    spawn : callable, optional
        Starts the process of a job.
    """

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
        """Queue again the jobs that a supervisor of this machine left behind when it died."""
        for job in self._queue.running():
            host, _, rest = (job.owner or "").partition(":")
            pid = rest.partition(":")[0]
            if job.owner != self._owner and host == self._host and pid.isdigit() and not is_alive(int(pid)):
                self._queue.give_back(job.id, job.attempt, "the service died while it ran")

    def step(self) -> None:
        """Look at everything once."""
        for job in self._queue.lost(silent_seconds=_SILENT_SECONDS):
            if job.owner != self._owner:
                self._queue.give_back(job.id, job.attempt, "nothing was heard of it any more")
        for item in list(self._running):
            if self._finished(item):
                item.child.close()
                self._running.remove(item)
        while len(self._running) < self._settings.service.job_workers:
            fresh = self._queue.claim(self._owner)
            if fresh is None:
                break
            event(logger, logging.INFO, "job started", job=fresh.id, kind=fresh.kind, attempt=fresh.attempt)
            child = self._spawn(self._settings, fresh)
            self._running.append(Running(fresh, child, time.monotonic() + fresh.timeout_seconds))

    def run(self, stop: threading.Event) -> None:
        """Look again and again until told to stop, then stop the jobs so that they go on later."""
        self.recover()
        while not stop.wait(_POLL_SECONDS):
            try:
                refresh_when_due(self._settings, self._queue)
                self.step()
            except SQLAlchemyError:
                logger.exception("the database cannot be used; the jobs wait")
                time.sleep(1.0)
        self.shut_down()

    def shut_down(self) -> None:
        """Stop every process and queue its job again."""
        for item in self._running:
            item.child.terminate()
        for item in self._running:
            item.child.wait(_GRACE_SECONDS)
            self._queue.release(item.job.id, item.job.attempt)
            item.child.close()
        self._running.clear()

    def _finished(self, item: Running) -> bool:
        job, code = item.job, item.child.exit_code
        if code is not None:
            # A job that said how it ended is not running any more, so this changes nothing for it.
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
    """Queue the fetching of fresh prices, where it is asked for and long enough ago."""
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
    """Run until told to stop, or until the parent is gone."""
    settings = receive_settings()
    configure_logging(settings.service.log_level)
    database = Database(settings.database_url)
    queue = JobQueue(database, attempts=settings.service.job_attempts)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    when_parent_dies(stop.set)
    Supervisor(settings, queue).run(stop)
    database.close()


if __name__ == "__main__":
    main()
