"""Process of one job: ``python -m service.jobs.worker JOB ATTEMPT``."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
from contextlib import suppress

from equitrade.errors import EquitradeError
from service.core.database import Database, DatabaseError
from service.core.logging import configure_logging
from service.core.processes import receive_settings, when_parent_dies
from service.core.settings import Settings
from service.jobs.queue import RUNNING, JobQueue, JobRecord
from service.jobs.tasks import TASKS, JobContext

logger = logging.getLogger("equitrade.worker")

_PROGRESS_SECONDS = 0.5
# Exit code of a job that a fault of disk or database stopped; it is queued again.
EXIT_TEMPORARY = 75
_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class Reporter:
    """Writes a job's progress to the database, at most twice a second."""

    def __init__(self, queue: JobQueue, job: JobRecord) -> None:
        self._queue = queue
        self._job = job
        self._last = 0.0

    def __call__(self, share: float, message: str) -> None:
        """Report progress, from 0 to 1."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            with suppress(DatabaseError):  # the next report may succeed
                self._queue.progress(self._job.id, self._job.attempt, share, message)


def perform(settings: Settings, queue: JobQueue, job: JobRecord) -> None:
    """Run a job and record its end; the message of an exception becomes its reason.

    Raises `DatabaseError` or `OSError` if the database or the disk cannot be used: the job may succeed later.
    """
    folder = settings.jobs / job.id
    folder.mkdir(parents=True, exist_ok=True)
    work = JobContext(settings, folder, Reporter(queue, job))
    try:
        result = TASKS[job.kind](job.parameters, work)
    except Exception as error:
        if _is_temporary(error):
            raise
        # Not started again: a job that fails for a reason of its own would fail again.
        logger.exception("job %s failed", job.id)
        own = isinstance(error, EquitradeError)
        queue.fail(job.id, job.attempt, str(error) if own else f"{type(error).__name__}: {error}")
        return
    queue.succeed(job.id, job.attempt, result)


def _is_temporary(error: BaseException | None) -> bool:
    if isinstance(error, DatabaseError):
        return True
    if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
        return True
    return error is not None and _is_temporary(error.__cause__)


def main() -> None:
    """Run the job named by the arguments, unless another attempt has taken over."""
    job_id, attempt = sys.argv[1], int(sys.argv[2])
    settings = receive_settings()
    # At once and without clean-up, as a kill would: the next supervisor starts the job again.
    when_parent_dies(lambda: os._exit(1))
    configure_logging(settings.service.log_level)
    database = Database(settings.database_url)
    queue = JobQueue(database, settings.jobs, attempts=settings.service.job_attempts)
    try:
        job = queue.get(job_id)
        if job.attempt == attempt and job.status == RUNNING:
            perform(settings, queue, job)
    except (DatabaseError, OSError) as error:
        logger.error("job %s stops and will start again: %s", job_id, error)
        sys.exit(EXIT_TEMPORARY)
    finally:
        database.close()


if __name__ == "__main__":
    main()
