"""Rate limits by key and, for failed authentications, by address."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal, cast

from limits import RateLimitItem, parse
from limits.storage import Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from service.problems import Problem
from service.settings import ServiceSettings

Budget = Literal["requests", "jobs", "failures"]


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
        storage = cast(Storage, storage_from_string(settings.rate_limit_storage))
        self._limiter = SlidingWindowCounterRateLimiter(storage)
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
