"""The service as it runs: processes, signals, and what kill -9 at any moment leaves behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.client import Client, ServiceProblem
from service.core.processes import is_alive
from service.core.settings import load_settings
from service.state import State
from tests.service.running import SERVE, Running, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends POSIX signals and reads /proc")

PROMOTE = [sys.executable, "-c", "from service.cli.models import app; app()", "promote"]
BODY = {"as_of": "2022-07-15"}


@pytest.fixture
def state(trained_home: Path) -> Iterator[State]:
    opened = State(load_settings(home=trained_home))
    opened.database.migrate()
    opened.registry.promote(trained_home / "runs" / "first", "live")
    yield opened
    opened.close()


@pytest.fixture
def start(trained_home: Path, state: State) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def begin(*options: str, folder: Path | None = None) -> Running:
        started.append(Running(trained_home, *options, folder=folder))
        started[-1].begin()
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()


@pytest.fixture
def key(state: State) -> str:
    return state.keys.create("test", ["run"])[0]


class Load(threading.Thread):
    """Asks again and again; remembers the ids that it was given."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(daemon=True)
        self.url, self.key = url, key
        self.answers: list[dict[str, Any]] = []
        self.unexpected: list[str] = []
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with Client(self.url, self.key) as client:
                    while not self.stop.is_set():
                        self.answers.append(client.allocate("live", **BODY))
            except httpx.TransportError:
                time.sleep(0.02)  # killed under our hands: expected
            except ServiceProblem as problem:
                self.unexpected.append(str(problem))

    def finish(self) -> None:
        self.stop.set()
        self.join(60)
        assert not self.unexpected


def check_answers(state: State, load: Load, weights: dict[str, Any]) -> None:
    """Each answer is in the audit as it was given, and is that of one version."""
    for answer in load.answers:
        record = state.audit.get(answer["id"])
        assert record is not None, "an answered request has no row"
        assert json.loads(record.answer) == answer
        assert answer["weights"] == weights[answer["version"]], "a mixture of versions"


def weights_by_version(state: State, runs: Path) -> dict[str, Any]:
    from service.schemas.decisions import AllocationRequest

    found = {}
    for name in ("second", "first"):
        version = state.registry.promote(runs / name, "live").version
        given = state.decisions.decide(AllocationRequest(model="live", **BODY), key_id="t", request_id="t")
        found[version] = json.loads(given.content)["weights"]
    return found


def kill_during_requests(
    state: State, start: Callable[..., Running], key: str, rounds: int, seed: int
) -> None:
    weights = weights_by_version(state, state.settings.home / "runs")
    draw = random.Random(seed)
    running = start("--workers", "2")
    load = Load(running.url, key)
    load.start()
    for _ in range(rounds):
        before = len(load.answers)
        wait_for(lambda before=before: len(load.answers) > before + 3)
        time.sleep(draw.random() * 0.2)
        victims = running.children("service.server.http_worker")
        os.kill(draw.choice(victims), signal.SIGKILL)
        wait_for(lambda: len(running.children("service.server.http_worker")) == 2)
    running.wait_until_ready()
    before = len(load.answers)
    wait_for(lambda: len(load.answers) > before + 3)
    load.finish()
    check_answers(state, load, weights)
    assert running.stop() == 0


def kill_service(state: State, start: Callable[..., Running], key: str, rounds: int, seed: int) -> None:
    weights = weights_by_version(state, state.settings.home / "runs")
    draw = random.Random(seed)
    for _ in range(rounds):
        running = start("--workers", "2")
        load = Load(running.url, key)
        load.start()
        job = Client(running.url, key).backtest(strategy="equal-weight", data="small")["id"]
        wait_for(lambda load=load: len(load.answers) > 3)
        time.sleep(draw.random() * 3)
        children = running.children()
        assert len(children) >= 3
        running.process.kill()
        running.process.wait()
        # Nobody is left that holds the port or the database.
        wait_for(lambda children=children: not any(is_alive(child) for child in children))
        load.finish()
        check_answers(state, load, weights)
        assert state.jobs.get(job).status in ("queued", "running", "succeeded")
    running = start()
    wait_for(lambda: all(j.status == "succeeded" for j in state.jobs.newest()), 60.0 * (rounds + 1))
    assert running.stop() == 0


def kill_promotions(state: State, rounds: int, seed: int) -> None:
    home = state.settings.home
    draw = random.Random(seed)
    environment = {**os.environ, "EQUITRADE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    typical = 0.0
    for k in range(rounds):
        # Other files each time, so that each promotion has something to copy.
        run = home / "runs" / f"copy-{k}"
        shutil.copytree(home / "runs" / "second", run)
        metrics = json.loads((run / "metrics.json").read_text())
        (run / "metrics.json").write_text(json.dumps({**metrics, "notes": [f"copy {k}"]}))
        before = state.registry.current("live")
        started = time.monotonic()
        process = subprocess.Popen(
            [*PROMOTE, str(run), "--id", "live"],
            env=environment,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        if k == 0:
            assert process.wait(120) == 0
            typical = time.monotonic() - started
            continue
        time.sleep(typical * draw.uniform(0.6, 1.1))
        process.kill()
        process.wait()
        after = state.registry.current("live")
        assert after.version == before.version or after.run == run.name
        # Whichever is served is whole.
        fresh = State(state.settings)
        fresh.registry.policy("live", after.version)
        fresh.close()
        for folder in (home / "models" / "live").iterdir():
            assert folder.name.startswith(".tmp-") or (folder / "files.json").exists()


def test_kill_of_a_worker_loses_no_answer(state: State, start: Callable[..., Running], key: str) -> None:
    kill_during_requests(state, start, key, rounds=2, seed=0)


def test_kill_of_the_service_loses_no_answer_and_no_job(
    state: State, start: Callable[..., Running], key: str
) -> None:
    kill_service(state, start, key, rounds=1, seed=0)


def test_kill_of_a_promotion_leaves_the_old_or_the_new_model(state: State) -> None:
    kill_promotions(state, rounds=3, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_fifty_kills(state: State, start: Callable[..., Running], key: str) -> None:
    kill_during_requests(state, start, key, rounds=20, seed=1)
    kill_service(state, start, key, rounds=10, seed=2)
    kill_promotions(state, rounds=21, seed=3)


def test_promotion_while_two_workers_serve(state: State, start: Callable[..., Running], key: str) -> None:
    runs = state.settings.home / "runs"
    weights = weights_by_version(state, runs)
    running = start("--workers", "2")
    loads = [Load(running.url, key) for _ in range(2)]
    for load in loads:
        load.start()
    for k in range(20):
        state.registry.promote(runs / ("second", "first")[k % 2], "live")
        time.sleep(0.05)
    for load in loads:
        wait_for(lambda load=load: len(load.answers) > 5)
        load.finish()
        check_answers(state, load, weights)
    assert {answer["version"] for load in loads for answer in load.answers} == set(weights)
    assert running.stop() == 0


def refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=5).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # reset while the backlog was emptied
        return False
    return False


def test_stop_finishes_the_request_in_flight(start: Callable[..., Running], key: str) -> None:
    running = start()
    url = httpx.URL(running.url)
    address = (str(url.host), int(url.port or 0))
    body = json.dumps({"model": "live", **BODY}).encode()
    head = (
        f"POST /api/v1/allocations HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(address, timeout=60) as connection, connection.makefile("rb") as reader:
        connection.sendall(head.encode())
        # The service asks for the body: the request is in its hands now, and it is told to stop before it has all.
        assert reader.readline().split()[1] == b"100"
        assert reader.readline() == b"\r\n"
        connection.sendall(body[:5])
        running.process.terminate()
        wait_for(lambda: refuses(address))
        assert running.process.poll() is None
        connection.sendall(body[5:])
        assert reader.readline().split()[1] == b"200"
        assert b'"weights"' in reader.read()
    assert running.stop() == 0


def test_files_named_as_packages_in_the_working_directory_are_not_imported(
    start: Callable[..., Running], state: State, key: str, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("data", "service", "torch", "trading_app", "json"):
        (folder / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    running = start(folder=folder)
    with Client(running.url, key) as client:
        assert client.allocate("live", **BODY)["model"] == "live"
        job = client.backtest(strategy="equal-weight", data="small")["id"]
        assert client.result(job)["equity"]["dates"]
    assert running.stop() == 0


def test_metrics_are_of_all_workers_together(start: Callable[..., Running], key: str) -> None:
    running = start("--workers", "2")
    for _ in range(12):
        with Client(running.url, key) as client:  # a new connection each time, to reach either worker
            client.allocate("live", **BODY)
    text = httpx.get(f"{running.url}/metrics", headers={"Authorization": f"Bearer {key}"}).text
    assert 'equitrade_allocations_total{kind="allocation",model="live"} 12.0' in text
    assert running.stop() == 0


def test_no_address_beyond_localhost_without_a_key(trained_home: Path) -> None:
    environment = {**os.environ, "EQUITRADE_HOME": str(trained_home)}
    done = subprocess.run(
        [
            *SERVE,
            "--host",
            "0.0.0.0",
            "--port",
            "0",
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "there is no key yet" in done.stderr
