"""Rate limits by key and, for failed authentications, by address."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal, cast

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from service.problems import Problem
from service.settings import ServiceSettings

_TIDY_TURNS = 10_000
Budget = Literal["requests", "jobs", "failures"]


class LocalStorage(MemoryStorage):
    """Counts in this process, forgotten in passing; the parent starts a thread at nearly every request."""

    STORAGE_SCHEME = ["equitrade-local"]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._turns = 0

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count; once in a while, forget what has expired."""
        self._turns += 1
        if self._turns % _TIDY_TURNS == 0:
            for old in list(self.expirations):
                self.get(old)
        self.get(key)
        with self.locks[key]:
            self.storage[key] += amount
            if self.storage[key] == amount:
                self.expirations[key] = time.time() + expiry
        return self.storage[key]

    def decr(self, key: str, amount: int = 1) -> int:
        """Take a count back."""
        with self.locks[key]:
            self.storage[key] = max(self.get(key) - amount, 0)
        return self.storage[key]


class Rates:
    """Budgets of requests, jobs and failures; each call spends one.

    Parameters
    ----------
    settings : ServiceSettings
        The limits, and where the counts live.
    clock : callable
        Seconds since the epoch, for ``Retry-After``.
    """

    def __init__(self, settings: ServiceSettings, clock: Callable[[], float] = time.time) -> None:
        uri = settings.rate_limit_storage
        storage = LocalStorage() if uri == "memory://" else storage_from_string(uri)
        self._limiter = SlidingWindowCounterRateLimiter(cast(Storage, storage))
        self._clock = clock
        self._items: dict[Budget, RateLimitItem] = {
            "requests": parse(settings.rate_limit),
            "jobs": parse(settings.job_rate_limit),
            "failures": parse(settings.failure_limit),
        }

    def spend(self, budget: Budget, who: str) -> None:
        """Spend one of a budget.

        Raises
        ------
        Problem
            ``too-many-requests`` when nothing is left, with the seconds to wait.
        """
        if not self._limiter.hit(self._items[budget], budget, who):
            raise self._exceeded(budget, who)

    def check(self, budget: Budget, who: str) -> None:
        """Raise as `spend` would, without spending."""
        if not self._limiter.test(self._items[budget], budget, who):
            raise self._exceeded(budget, who)

    def _exceeded(self, budget: Budget, who: str) -> Problem:
        item = self._items[budget]
        reset = self._limiter.get_window_stats(item, budget, who).reset_time
        wait = min(max(1, math.ceil(reset - self._clock())), item.get_expiry())
        detail = f"more than {item} of {budget}; wait {wait} s"
        return Problem("too-many-requests", detail, headers={"Retry-After": str(wait)}, limit=str(item))
