"""Options of a fetch of prices, and the clock and callbacks that tests replace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from data.fields import DateLike


@dataclass(frozen=True)
class FetchOptions:
    """Options of a fetch: symbols, dates and pace.

    Attributes
    ----------
    symbols
        As Yahoo writes them (``AAPL``, ``BRK-B``, ``SAP.DE``).
    start
        First date.
    end
        Last date, included; by default, and at most, yesterday, because the close of today is not final.
    pause
        Least seconds between two requests.
    attempts
        Attempts per symbol, the first included.
    first_wait
        Seconds before the second attempt; doubled for each further one, up to two minutes. A longer ``Retry-After`` of
        the server is respected.
    timeout
        Longest time of an answer, in seconds.
    skip_missing
        Leave out symbols without prices, with a note, instead of failing.
    base_url
        Address of a server with Yahoo's API, instead of Yahoo's.
    """

    symbols: tuple[str, ...]
    start: DateLike
    end: DateLike | None = None
    pause: float = 0.5
    attempts: int = 6
    first_wait: float = 2.0
    timeout: float = 30.0
    skip_missing: bool = False
    base_url: str | None = None


@dataclass(frozen=True)
class FetchHooks:
    """Clock and callbacks of a fetch, which tests replace.

    Attributes
    ----------
    sleep, clock
        Functions that wait some seconds, and return the time in seconds.
    now
        Function that returns date and time.
    on_progress
        Called after each symbol with (symbol, symbols done, symbols in all, outcome).
    """

    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    on_progress: Callable[[str, int, int, str], None] = field(default=lambda *_: None)
