"""Rate limits by key and, for failed authentications, by address."""

from __future__ import annotations

import math
import time
from typing import Literal

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from service.core.problems import Problem
from service.core.settings import ServiceSettings

Budget = Literal["requests", "jobs", "failures"]
_EXPIRY_SECONDS = 5.0


class _Memory(MemoryStorage):
    """Counts in this process; expired ones are deleted every few seconds.

    The library starts a thread for that at almost every request, and waits until it runs.
    """

    STORAGE_SCHEME = ["equitrade-memory"]  # noqa: RUF012  # its base class keeps "memory"
    _next_expiry = 0.0

    def _MemoryStorage__schedule_expiry(self) -> None:
        now = time.monotonic()
        if now >= self._next_expiry:
            self._next_expiry = now + _EXPIRY_SECONDS
            super()._MemoryStorage__schedule_expiry()  # type: ignore[misc]  # private to the library


class RateLimits:
    """Limits of requests, jobs and failed authentications in a moving window of time.

    Counts are stored in the memory of this process or, by the settings, in one that all workers share.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        uri = settings.rate_limit_storage
        storage = _Memory() if uri.startswith("memory:") else storage_from_string(uri)
        self._limiter = MovingWindowRateLimiter(storage)
        self._items: dict[Budget, RateLimitItem] = {
            "requests": parse(settings.rate_limit),
            "jobs": parse(settings.job_rate_limit),
            "failures": parse(settings.failure_limit),
        }

    def spend(self, budget: Budget, who: str) -> None:
        """Count one request, job or failure.

        Raises `Problem` ``too-many-requests`` beyond the limit, with the seconds to wait.
        """
        if not self._limiter.hit(self._items[budget], budget, who):
            raise self._exceeded(budget, who)

    def check(self, budget: Budget, who: str) -> None:
        """Raise as `spend` would, without counting."""
        if not self._limiter.test(self._items[budget], budget, who):
            raise self._exceeded(budget, who)

    def _exceeded(self, budget: Budget, who: str) -> Problem:
        item = self._items[budget]
        reset = self._limiter.get_window_stats(item, budget, who).reset_time
        wait = min(max(1, math.ceil(reset - time.time())), item.get_expiry())
        detail = f"more than {item} of {budget}; wait {wait} s"
        return Problem("too-many-requests", detail, headers={"Retry-After": str(wait)}, limit=str(item))
