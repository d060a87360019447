"""State of one process of the service, made by the application factory and passed to routes."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from service.auth.keys import Keyring
from service.auth.rate_limits import RateLimits
from service.auth.scopes import Principal
from service.auth.users import Users
from service.core.clock import Clock, utc_now
from service.core.database import Database
from service.core.problems import Problem
from service.core.settings import Settings
from service.core.telemetry import Telemetry
from service.decisions.audit import AuditTrail
from service.decisions.batching import Batcher
from service.decisions.service import DecisionResult, DecisionService
from service.decisions.snapshots import Snapshots
from service.jobs.queue import JobQueue
from service.models.admission import Evidence, read_evidence
from service.models.registry import Registry
from service.models.serving import Loader, load_trained
from service.schemas.decisions import DecisionRequest
from trading_app.files import RunError
from trading_app.runs.run import Run, list_runs, open_run, runs_directory

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
CHECK_SECONDS = 1.0


class State:
    """Objects that all requests share; `load` loads a policy, `inspect` reads the evidence of a run."""

    def __init__(
        self,
        settings: Settings,
        *,
        load: Loader = load_trained,
        inspect: Callable[[Path], Evidence] = read_evidence,
        clock: Clock = utc_now,
    ) -> None:
        self.settings = settings
        self.clock = clock
        service = settings.service
        self.database = Database(settings.database_url)
        self.keys = Keyring(self.database, settings.secret_bytes(), clock)
        self.users = Users(self.database, hours=service.session_hours, clock=clock)
        self.rate_limits = RateLimits(service)
        self.telemetry = Telemetry()
        self.snapshots = Snapshots(settings.home)
        self.registry = Registry(self.database, settings.models, load=load, inspect=inspect)
        self.audit = AuditTrail(self.database)
        self.decisions = DecisionService(
            self.registry,
            self.snapshots,
            service.calendar,
            self.audit,
            max_age_days=service.max_age_days,
            clock=clock,
        )
        self._batcher = Batcher(lambda prepared: self.run(self.decisions.decide_together, prepared))
        self.jobs = JobQueue(self.database, settings.jobs, attempts=service.job_attempts, clock=clock)
        self._check_lock = threading.Lock()
        self._checked_at = -math.inf
        self._large_executor = ThreadPoolExecutor(1, thread_name_prefix="large")
        self._executor = ThreadPoolExecutor(service.threads, thread_name_prefix="answer")

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a function that waits or computes on a thread, without blocking other requests."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    async def run_large(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a function on a large request, one at a time: others wait for the interpreter's lock meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._large_executor, lambda: function(*args, **kwargs))

    async def authenticate(self, token: str) -> Principal:
        """Return the owner of a key. Raises `Problem` ``invalid-key``, ``expired-key`` or ``revoked-key``."""
        known = self.keys.authenticate_from_memory(token)
        return known if known is not None else await self.run(self.keys.authenticate, token)

    async def decide(self, request: DecisionRequest, *, key_id: str, request_id: str) -> DecisionResult:
        """Decide on a request, together with concurrent ones; return once the answer is in the audit.

        Raises `Problem` if the request cannot be decided.
        """
        # Handing a request to a thread takes longer than preparing it, once everything is in memory.
        prepared = self.decisions.prepare_from_memory(request, key_id=key_id, request_id=request_id)
        if prepared is None:
            run = self.run if request.prices is None else self.run_large
            prepared = await run(self.decisions.prepare, request, key_id=key_id, request_id=request_id)
        return await self._batcher.decide(prepared)

    def check_database(self) -> None:
        """Check, at most once a second, that the database can be written to.

        Raises `DatabaseError` if it cannot.
        """
        with self._check_lock:
            if time.monotonic() - self._checked_at > CHECK_SECONDS:
                self.database.check_writable()
                self._checked_at = time.monotonic()

    def runs(self) -> list[Run]:
        """Return all runs, newest first."""
        return list_runs(self.settings.home)

    def open_run(self, name: str) -> Run:
        """Return a run by its name, never by a path. Raises `Problem` ``unknown-run``."""
        with suppress(RunError):
            run = open_run(name, self.settings.home)
            if run.path == runs_directory(self.settings.home) / name:
                return run
        raise Problem("unknown-run", f"no run {name!r}", advice="GET /api/v1/runs lists them")

    def warm(self) -> None:
        """Load models and prices, so that the first requests are as fast as the next."""
        for promoted in self.registry.served():
            self.decisions.warm(promoted.id)

    def close(self) -> None:
        """Stop the threads and close connections."""
        for executor in (self._executor, self._large_executor):
            executor.shutdown(wait=False, cancel_futures=True)
        self.database.close()
