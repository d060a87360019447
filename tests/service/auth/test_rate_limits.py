"""Counts of requests in one process: the rule is that of the library's sliding window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from service.auth.rate_limits import LocalCounts

ITEM = parse("5/minute")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [600.0]
    monkeypatch.setattr("limits.storage.memory.time.time", lambda: now[0])
    return now


def test_decides_as_the_library_at_any_times(clock: list[float]) -> None:
    own = LocalCounts(lambda: clock[0])
    storage = MemoryStorage()
    theirs = SlidingWindowCounterRateLimiter(storage)
    rng = np.random.default_rng(0)
    answers = []
    for step in rng.exponential(8.0, 400):
        clock[0] += float(step)
        assert own.test(ITEM, "requests", "me") == theirs.test(ITEM, "requests", "me")
        answers.append(own.hit(ITEM, "requests", "me"))
        assert answers[-1] == theirs.hit(ITEM, "requests", "me")
    assert 50 < sum(answers) < 350


def test_waiting_as_long_as_told_is_enough_for_one_more() -> None:
    now = [600.0]
    counts = LocalCounts(lambda: now[0])
    while counts.hit(ITEM, "requests", "me"):
        now[0] += 3.0
    for _ in range(3):
        now[0] += counts.wait(ITEM, "requests", "me") + 1e-6
    assert counts.hit(ITEM, "requests", "me")


def test_budgets_and_holders_are_counted_apart_and_forgotten() -> None:
    now = [0.0]
    counts = LocalCounts(lambda: now[0])
    for _ in range(5):
        assert counts.hit(ITEM, "requests", "me")
    assert not counts.hit(ITEM, "requests", "me")
    assert counts.hit(ITEM, "requests", "you")
    assert counts.hit(ITEM, "failures", "me")
    now[0] = 1e6
    for number in range(10_000):
        counts.hit(ITEM, "requests", str(number))
    assert ("failures", "me") not in counts._windows


def test_many_threads_spend_no_more_than_there_is() -> None:
    from concurrent.futures import ThreadPoolExecutor

    counts = LocalCounts(lambda: 0.0)
    item: Any = parse("1000/hour")
    with ThreadPoolExecutor(8) as pool:
        given = sum(pool.map(lambda _: counts.hit(item, "requests", "me"), range(3000)))
    assert given == 1000
