"""Jobs: each is started at least once, ends once, and never twice at a time."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.core.database import Database
from service.core.problems import Problem
from service.core.settings import Settings
from service.jobs.queue import JobQueue
from service.jobs.supervisor import Supervisor, refresh_when_due
from service.jobs.tasks import TASKS
from service.jobs.worker import EXIT_TEMPORARY, perform


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = Database(settings.database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def queue(settings: Settings, database: Database) -> JobQueue:
    return JobQueue(database, settings.jobs)


class Process:
    """A child whose end the test decides on."""

    def __init__(self) -> None:
        self.exit_code: int | None = None
        self.stopped = False

    def terminate(self) -> None:
        self.stopped = True

    def wait(self, seconds: float) -> bool:
        self.exit_code = -signal.SIGTERM
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def watched(settings: Settings, queue: Any) -> tuple[Supervisor, list[Process]]:
    started: list[Process] = []

    def spawn(_settings: Settings, _job: Any) -> Any:
        started.append(Process())
        return started[-1]

    return Supervisor(settings, queue, spawn=spawn), started


def submit(queue: JobQueue, timeout: float = 60.0, **parameters: Any) -> str:
    return queue.submit("backtest", parameters, by="test", timeout=timeout).id


def test_oldest_job_first_and_one_at_a_time(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    first, second = submit(queue), submit(queue)
    supervisor.step()
    supervisor.step()
    assert (queue.get(first).status, queue.get(second).status) == ("running", "queued")
    queue.succeed(first, 1, {"answer": 42})
    started[0].exit_code = 0
    supervisor.step()
    assert queue.result(queue.get(first)) == {"answer": 42}
    assert (queue.get(first).status, queue.get(second).status) == ("succeeded", "running")


def test_a_job_is_claimed_by_one_supervisor_only(queue: JobQueue) -> None:
    submit(queue)
    assert queue.claim("a") is not None
    assert queue.claim("b") is None


def test_killed_process_starts_again_and_at_last_fails_with_the_reason(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    job = submit(queue)
    for attempt in (1, 2, 3):
        supervisor.step()
        assert (queue.get(job).status, queue.get(job).attempt) == ("running", attempt)
        started[-1].exit_code = -signal.SIGKILL
        supervisor.step()
    ended = queue.get(job)
    assert ended.status == "failed"
    assert "SIGKILL" in ended.message
    assert len(started) == 3


def test_an_attempt_that_was_given_up_cannot_overwrite_its_successor(queue: JobQueue) -> None:
    job = submit(queue)
    queue.claim("a")
    queue.give_back(job, 1, "lost")
    queue.claim("b")
    assert not queue.succeed(job, 1, {"from": "the past"})
    queue.progress(job, 1, 0.9, "from the past")
    assert queue.beat(job, 1) == "give up"
    assert queue.beat(job, 2) == "go on"
    assert (queue.get(job).status, queue.get(job).progress) == ("running", 0.0)
    assert queue.succeed(job, 2, {"from": "now"})


def test_a_job_that_has_ended_may_take_its_time_to_exit(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    job = submit(queue)
    supervisor.step()
    queue.succeed(job, 1, {})
    supervisor.step()
    assert not started[0].stopped
    assert queue.get(job).status == "succeeded"


def test_cancelling_while_it_waits_and_while_it_runs(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    running, waiting = submit(queue), submit(queue)
    supervisor.step()
    assert queue.cancel(waiting).status == "cancelled"
    assert queue.cancel(running).status == "running"
    supervisor.step()
    assert started[0].stopped
    assert queue.get(running).status == "cancelled"
    assert queue.cancel(running).status == "cancelled"


def test_job_that_takes_too_long_fails(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    job = submit(queue, timeout=1e-9)
    supervisor.step()
    supervisor.step()
    assert started[0].stopped
    assert (queue.get(job).status, queue.get(job).message) == ("failed", "took longer than 1e-09 s")


def test_orderly_stop_queues_jobs_again_at_no_cost(queue: JobQueue, watched: Any, settings: Settings) -> None:
    supervisor, started = watched
    job = submit(queue)
    for _ in range(5):
        supervisor.step()
        supervisor.shut_down()
        assert (queue.get(job).status, queue.get(job).deaths) == ("queued", 0)
    assert all(process.stopped for process in started)


def test_jobs_of_a_dead_supervisor_are_taken_over(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    job = submit(queue)
    child = os.fork()
    if child == 0:  # a supervisor that dies at once
        os._exit(0)
    os.waitpid(child, 0)
    queue.claim(f"{socket.gethostname()}:{child}:abc")
    supervisor.recover()
    assert queue.get(job).status == "queued"
    supervisor.step()
    assert (queue.get(job).status, queue.get(job).attempt, len(started)) == ("running", 2, 1)


def test_jobs_of_a_silent_machine_are_taken_over(
    settings: Settings, database: Database, queue: JobQueue, watched: Any
) -> None:
    supervisor, _ = watched
    job = submit(queue)
    past = datetime.now(UTC) - timedelta(minutes=5)
    JobQueue(database, settings.jobs, clock=lambda: past).claim("elsewhere:1:abc")
    supervisor.step()
    assert (queue.get(job).status, queue.get(job).attempt) == ("running", 2)


def test_results_survive_a_restart(settings: Settings, queue: JobQueue) -> None:
    job = submit(queue, strategy="equal-weight")
    queue.claim("a")
    queue.succeed(job, 1, {"metrics": {"sharpe": 1.5}})
    database = Database(settings.database_url)
    reopened = JobQueue(database, settings.jobs)
    again = reopened.get(job)
    database.close()
    assert (again.status, reopened.result(again)) == ("succeeded", {"metrics": {"sharpe": 1.5}})
    assert again.parameters == {"strategy": "equal-weight"}


def test_unknown_job(queue: JobQueue) -> None:
    with pytest.raises(Problem, match="no job"):
        queue.get("0" * 32)


def test_refresh_is_queued_when_due_and_not_twice(settings: Settings, queue: JobQueue) -> None:
    service = settings.service.model_copy(update={"refresh_hours": 6.0, "refresh_snapshots": ("toy",)})
    due = settings.model_copy(update={"service": service})
    refresh_when_due(due, queue)
    refresh_when_due(due, queue)
    jobs = queue.newest()
    assert [(job.kind, job.parameters) for job in jobs] == [("refresh", {"snapshot": "toy"})]
    queue.claim("a")
    queue.succeed(jobs[0].id, 1, {})
    refresh_when_due(due, queue)
    assert len(queue.newest()) == 1
    refresh_when_due(due, queue, now=jobs[0].created_at + timedelta(hours=7))
    assert len(queue.newest()) == 2


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def test_baseline_pays_the_configured_costs(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUITRADE_COSTS__COMMISSION_BPS", "7")
    state = service.state
    job = submit(state.jobs, strategy="equal-weight", data="toy")
    perform(state.settings, state.jobs, state.jobs.claim("here"))
    assert state.jobs.result(state.jobs.get(job))["metrics"]["costs"]["commission_bps"] == 7


def test_baseline_runs_in_a_process_and_gives_its_result_by_link(service: Any) -> None:
    header = service.key("run")
    body = {"strategy": "equal-weight", "data": "toy", "costs_bps": 3}
    started = service.client.post("/api/v1/backtests", json=body, headers=header)
    assert started.status_code == 202
    link = started.headers["location"]
    supervisor = Supervisor(service.state.settings, service.state.jobs)

    def ended() -> bool:
        supervisor.step()
        return service.client.get(link, headers=header).json()["status"] not in ("queued", "running")

    wait_for(ended)
    job = service.client.get(link, headers=header).json()
    assert (job["status"], job["progress"]) == ("succeeded", 1.0), job["message"]
    result = service.client.get(job["links"]["result"], headers=header).json()
    assert set(result["metrics"]["strategies"]) == {"equal-weight"}
    assert result["equity"]["values"]["equal-weight"][0] == 1.0
    assert len(result["equity"]["dates"]) == 61
    weights, gains = result["weights"]["values"], result["contributions"]["values"]
    assert set(weights) == set(gains) == {"AAA", "BBB", "CCC"}
    assert weights["AAA"][-1] == pytest.approx(1 / 3, abs=0.02)
    # What the assets gave is what the account gained before its costs.
    costs = result["costs"]["values"]
    paid = sum(sum(costs[name]) for name in ("commission", "spread", "impact", "borrow"))
    gained = result["equity"]["values"]["equal-weight"][-1] - 1.0
    assert sum(map(sum, gains.values())) == pytest.approx(gained + paid - sum(costs["interest"]), abs=1e-9)


def test_job_that_cannot_work_fails_with_its_reason(service: Any, kind_of: Any) -> None:
    header = service.key("run")
    link = f"/api/v1/jobs/{submit(service.state.jobs, strategy='no-such-strategy', data='toy')}"
    claimed = service.state.jobs.claim("here")
    perform(service.state.settings, service.state.jobs, claimed)
    job = service.client.get(link, headers=header).json()
    assert job["status"] == "failed"
    assert "baseline 'no-such-strategy' not found" in job["message"]
    answer = service.client.get(f"{link}/result", headers=header)
    assert (answer.status_code, kind_of(answer)) == (409, "job-not-finished")


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("backtests", {}, 422, "invalid-request"),
        ("backtests", {"strategy": "equal-weight"}, 422, "invalid-request"),
        ("backtests", {"strategy": "equal-weight", "model": "toy", "data": "toy"}, 422, "invalid-request"),
        ("backtests", {"strategy": "equal-weight", "data": "nope"}, 404, "unknown-data"),
        ("backtests", {"strategy": "no-such-strategy", "data": "toy"}, 422, "invalid-request"),
        ("backtests", {"model": "nope"}, 404, "unknown-model"),
        ("backtests", {"run": "nope"}, 404, "unknown-run"),
        ("backtests", {"model": "toy", "start": "2024-02-01", "end": "2024-01-01"}, 422, "invalid-request"),
        (
            "backtests",
            {"strategy": "equal-weight", "data": "toy", "start": "2024-03-29"},
            422,
            "invalid-request",
        ),
        (
            "backtests",
            {"strategy": "equal-weight", "data": "toy", "end": "0001-01-01"},
            422,
            "invalid-request",
        ),
        ("trainings", {"name": "x", "data": "nope"}, 404, "unknown-data"),
        ("trainings", {"name": "x", "data": "toy", "signals": ["nope"]}, 404, "unknown-signals"),
        ("trainings", {"name": "../x", "data": "toy"}, 422, "invalid-request"),
        ("trainings", {"name": "x", "data": "toy", "agent": "wizard"}, 422, "invalid-request"),
    ],
)
def test_wrong_jobs_are_refused_before_they_start(
    service: Any, kind_of: Any, path: str, body: dict[str, Any], status: int, kind: str
) -> None:
    answer = service.client.post(f"/api/v1/{path}", json=body, headers=service.key("run"))
    assert (answer.status_code, kind_of(answer)) == (status, kind)
    assert service.state.jobs.newest() == []


def test_starting_jobs_is_limited(make_service: Any, settings: Settings, service: Any, kind_of: Any) -> None:
    limited = settings.service.model_copy(update={"job_rate_limit": "1/hour"})
    strict = make_service(settings.model_copy(update={"service": limited}))
    header, body = strict.key("run"), {"strategy": "equal-weight", "data": "toy"}
    assert strict.client.post("/api/v1/backtests", json=body, headers=header).status_code == 202
    answer = strict.client.post("/api/v1/backtests", json=body, headers=header)
    assert kind_of(answer) == "too-many-requests"
    assert int(answer.headers["retry-after"]) > 0


def test_model_that_is_backtested_is_the_version_served_when_it_was_asked_for(service: Any) -> None:
    body = {"model": "toy"}
    job = service.client.post("/api/v1/backtests", json=body, headers=service.key("run")).json()
    assert job["parameters"]["version"] == service.state.registry.current("toy").version


@pytest.mark.skipif(sys.platform != "linux", reason="looks at process groups")
def test_worker_stops_when_its_supervisor_is_gone(service: Any) -> None:
    """The pipe from the parent closes however the parent dies."""
    from service.core.processes import Child

    job = service.state.jobs.submit(
        "backtest", {"strategy": "equal-weight", "data": "toy"}, by="t", timeout=9
    )
    claimed = service.state.jobs.claim("me")
    assert claimed is not None
    child = Child("service.jobs.worker", [job.id, str(claimed.attempt)], service.state.settings)
    child.close()
    assert child.wait(60)


def test_results_are_not_in_the_database(settings: Settings, queue: JobQueue) -> None:
    result = {"values": list(range(100_000))}
    for _ in range(10):
        job = submit(queue)
        queue.claim("a")
        queue.succeed(job, 1, result)
    assert queue.result(queue.newest()[0]) == result
    assert sum(path.stat().st_size for path in settings.home.glob("service.db*")) < 1_000_000


def test_results_of_earlier_versions_are_read_from_the_database(database: Database, queue: JobQueue) -> None:
    from sqlalchemy import update

    from service.core.tables import jobs

    job = submit(queue)
    with database.write() as connection:
        connection.execute(update(jobs).values(status="succeeded", result='{"answer": 42}'))
    assert queue.result(queue.get(job)) == {"answer": 42}


def test_a_process_that_cannot_be_started_costs_no_attempt(settings: Settings, queue: JobQueue) -> None:
    def spawn(_settings: Settings, _job: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    supervisor = Supervisor(settings, queue, spawn=spawn)
    job = submit(queue)
    for _ in range(5):
        with pytest.raises(OSError, match="Read-only"):
            supervisor.step()
    assert (queue.get(job).status, queue.get(job).deaths) == ("queued", 0)
    assert "Read-only file system" in queue.get(job).message


def test_a_fault_of_the_disk_costs_no_attempt(queue: JobQueue, watched: Any) -> None:
    supervisor, started = watched
    job = submit(queue)
    for _ in range(5):
        supervisor.step()
        started[-1].exit_code = EXIT_TEMPORARY
    supervisor.step()
    assert queue.get(job).deaths == 0
    assert len(started) == 6


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EROFS])
def test_a_job_that_meets_a_fault_of_the_disk_does_not_fail(
    settings: Settings, queue: JobQueue, monkeypatch: pytest.MonkeyPatch, fault: int
) -> None:
    def task(*_: Any) -> dict[str, Any]:
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setitem(TASKS, "backtest", task)
    job = submit(queue)
    claimed = queue.claim("a")
    assert claimed is not None
    with pytest.raises(OSError, match=os.strerror(fault)):
        perform(settings, queue, claimed)
    assert queue.get(job).status == "running"
