"""The process of one job: ``python -m service.jobs.worker JOB ATTEMPT``."""

from __future__ import annotations

import logging
import os
import sys
import time

from equitrade.errors import EquitradeError
from service.core.database import Database
from service.core.logging import configure_logging
from service.core.processes import receive_settings, when_parent_dies
from service.core.settings import Settings
from service.jobs.queue import RUNNING, JobQueue, JobRecord
from service.jobs.tasks import TASKS, Workplace

logger = logging.getLogger("equitrade.worker")

_PROGRESS_SECONDS = 0.5


class Reporter:
    """Writes a job's progress to the database, not more often than somebody could look.

    Parameters
    ----------
    queue : JobQueue
        The jobs.
    job : JobRecord
        This one.
    """

    def __init__(self, queue: JobQueue, job: JobRecord) -> None:
        self._queue = queue
        self._job = job
        self._last = 0.0

    def __call__(self, share: float, message: str) -> None:
        """Say how far the job is."""
        now = time.monotonic()
        if now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            self._queue.progress(self._job.id, self._job.attempt, share, message)


def perform(settings: Settings, queue: JobQueue, job: JobRecord) -> None:
    """Do a job and write down how it ended; what it raises is its reason."""
    folder = settings.jobs / job.id
    folder.mkdir(parents=True, exist_ok=True)
    place = Workplace(settings, folder, Reporter(queue, job))
    try:
        result = TASKS[job.kind](job.parameters, place)
    except Exception as error:
        # Not started again: what failed for a reason of its own would fail again.
        logger.exception("job %s failed", job.id)
        unforeseen = not isinstance(error, EquitradeError)
        queue.fail(job.id, job.attempt, f"{type(error).__name__}: {error}" if unforeseen else str(error))
        return
    queue.succeed(job.id, job.attempt, result)


def main() -> None:
    """Do the job named by the arguments, unless it is another process's by now."""
    job_id, attempt = sys.argv[1], int(sys.argv[2])
    settings = receive_settings()
    # At once and without clean-up, as a kill would: the supervisor that comes next starts the job again.
    when_parent_dies(lambda: os._exit(1))
    configure_logging(settings.service.log_level)
    database = Database(settings.database_url)
    queue = JobQueue(database, attempts=settings.service.job_attempts)
    job = queue.get(job_id)
    if job.attempt == attempt and job.status == RUNNING:
        perform(settings, queue, job)
    database.close()


if __name__ == "__main__":
    main()
