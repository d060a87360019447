"""Rate limits: a moving window for each budget and each key."""

from __future__ import annotations

import pytest

from service.auth.rate_limits import RateLimits
from service.core.problems import Problem
from service.core.settings import ServiceSettings


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [600.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    return now


@pytest.fixture
def limits(clock: list[float]) -> RateLimits:
    return RateLimits(ServiceSettings(rate_limit="5/minute", failure_limit="5/minute"))


def refusal(limits: RateLimits) -> Problem | None:
    try:
        limits.spend("requests", "me")
    except Problem as problem:
        return problem
    return None


def test_budgets_and_keys_are_counted_apart(limits: RateLimits) -> None:
    for _ in range(5):
        limits.spend("requests", "me")
    with pytest.raises(Problem):
        limits.spend("requests", "me")
    with pytest.raises(Problem):
        limits.check("requests", "me")
    limits.spend("requests", "you")
    limits.spend("failures", "me")


def test_waiting_as_long_as_told_is_enough_for_one_more(limits: RateLimits, clock: list[float]) -> None:
    while (problem := refusal(limits)) is None:
        clock[0] += 3.0
    for _ in range(3):
        assert problem is not None
        assert problem.kind == "too-many-requests"
        clock[0] += int(problem.headers["Retry-After"]) + 1e-3
        assert refusal(limits) is None
        problem = refusal(limits)


def test_checking_spends_nothing(limits: RateLimits) -> None:
    for _ in range(20):
        limits.check("requests", "me")
    limits.spend("requests", "me")
