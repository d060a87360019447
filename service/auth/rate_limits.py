"""Rate limits by key and, for failed authentications, by address."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from limits import RateLimitItem, parse
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from service.core.problems import Problem
from service.core.settings import ServiceSettings

_TIDY_TURNS = 10_000
Budget = Literal["requests", "jobs", "failures"]


class _Counts(Protocol):
    """Where counts live."""

    def hit(self, item: RateLimitItem, budget: str, who: str) -> bool:
        """Spend one, if one is left."""

    def test(self, item: RateLimitItem, budget: str, who: str) -> bool:
        """Whether one is left."""

    def wait(self, item: RateLimitItem, budget: str, who: str) -> float:
        """Seconds until one may be left."""


@dataclass
class _Window:
    """What was spent in the current window of time, numbered from the epoch, and in the one before."""

    number: int = -1
    current: int = 0
    previous: int = 0
    length: int = 1


class LocalCounts:
    """Counts of this process, by the rule of `limits`' sliding window counter at a tenth of its time.

    What was spent in the window before counts by the share of it that still lies within the last window's length.

    Parameters
    ----------
    clock : callable
        Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._turns = 0
        self._lock = threading.Lock()

    def hit(self, item: RateLimitItem, budget: str, who: str) -> bool:
        """Spend one, if one is left."""
        with self._lock:
            window, share = self._at_present(item, budget, who)
            free = math.floor(window.previous * share) + window.current < item.amount
            window.current += free
            return free

    def test(self, item: RateLimitItem, budget: str, who: str) -> bool:
        """Whether one is left."""
        with self._lock:
            window, share = self._at_present(item, budget, who)
            return math.floor(window.previous * share) + window.current < item.amount

    def wait(self, item: RateLimitItem, budget: str, who: str) -> float:
        """Seconds until a count falls: one of the window before goes, or the current window ends."""
        with self._lock:
            window, share = self._at_present(item, budget, who)
            left = share * window.length
            return left % (window.length / window.previous) if window.previous else left

    def _at_present(self, item: RateLimitItem, budget: str, who: str) -> tuple[_Window, float]:
        """The window of now, and which share of it is still to come."""
        self._turns += 1
        now = self._clock()
        if self._turns % _TIDY_TURNS == 0:
            self._tidy(now)
        window = self._windows.get((budget, who))
        if window is None:
            window = self._windows[budget, who] = _Window(length=item.get_expiry())
        number, spent = divmod(now, window.length)
        if number != window.number:
            window.previous = window.current if number == window.number + 1 else 0
            window.number, window.current = int(number), 0
        return window, 1.0 - spent / window.length

    def _tidy(self, now: float) -> None:
        # Whoever never comes back would be kept for ever.
        old = [key for key, window in self._windows.items() if now // window.length > window.number + 1]
        for key in old:
            del self._windows[key]


class SharedCounts:
    """Counts of all workers, in a storage of `limits` such as Redis.

    Parameters
    ----------
    uri : str
        Of the storage.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(self, uri: str, clock: Callable[[], float]) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(storage_from_string(uri))
        self._clock = clock
        self.hit, self.test = self._limiter.hit, self._limiter.test

    def wait(self, item: RateLimitItem, budget: str, who: str) -> float:
        """Seconds until one may be left."""
        return self._limiter.get_window_stats(item, budget, who).reset_time - self._clock()


class Rates:
    """Budgets of requests, jobs and failures; each call spends one.

    Parameters
    ----------
    settings : ServiceSettings
        The limits, and where the counts live.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(self, settings: ServiceSettings, clock: Callable[[], float] = time.time) -> None:
        uri = settings.rate_limit_storage
        self._counts: _Counts = LocalCounts(clock) if uri == "memory://" else SharedCounts(uri, clock)
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
        if not self._counts.hit(self._items[budget], budget, who):
            raise self._exceeded(budget, who)

    def check(self, budget: Budget, who: str) -> None:
        """Raise as `spend` would, without spending."""
        if not self._counts.test(self._items[budget], budget, who):
            raise self._exceeded(budget, who)

    def _exceeded(self, budget: Budget, who: str) -> Problem:
        item = self._items[budget]
        wait = min(max(1, math.ceil(self._counts.wait(item, budget, who))), item.get_expiry())
        detail = f"more than {item} of {budget}; wait {wait} s"
        return Problem("too-many-requests", detail, headers={"Retry-After": str(wait)}, limit=str(item))
