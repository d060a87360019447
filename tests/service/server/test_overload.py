"""Clients with costly requests do not stop the others."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from service.core.settings import load_settings
from service.state import State
from tests.service.running import Running

URL = "/api/v1/allocations"
ALLOCATION = {"model": "live", "as_of": "2022-07-15"}
SAMPLES = 200
P99_SECONDS = 0.2


def prices(value: str, size: int) -> bytes:
    """A body of about `size` bytes with one price again and again."""
    series = "[" + ",".join([value] * 4000) + "]"
    symbols = ",".join(f'"S{k}":{series}' for k in range(size // len(series)))
    dates = json.dumps([f"{1900 + k // 336}-{k // 28 % 12 + 1:02}-{k % 28 + 1:02}" for k in range(4000)])
    return f'{{"model":"live","prices":{{"dates":{dates},"close":{{{symbols}}}}}}}'.encode()


def hostile_requests(key: str) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    json_headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    members = json.dumps({"model": "live", **{f"m{k}": 0 for k in range(300_000)}}).encode()
    size = 4_000_000
    return {
        "prices as strings": (URL, prices('"1.5"', size), json_headers),
        "many prices": (URL, prices("1.5", size), json_headers),
        "unknown members": (URL, members[:size], json_headers),
        "many members": (URL, members, json_headers),
        "nested lists": (URL, b"[" * size, json_headers),
        "many small lists": (URL, b'{"model":[' + b"[]," * (size // 3 - 10) + b"[]]}", json_headers),
        "no key": (URL, prices('"1.5"', size), {"Content-Type": "application/json"}),
        "a form of ampersands": ("/login", b"&" * size, form),
        "chunks of one byte": (URL, b"", json_headers),
    }


CASES = sorted(hostile_requests(""))


class Hostile(threading.Thread):
    """Sends one request again and again."""

    def __init__(self, url: str, request: tuple[str, bytes, dict[str, str]]) -> None:
        super().__init__(daemon=True)
        self._url, self._request = url, request
        self._stopped = threading.Event()
        self.statuses: set[int] = set()

    def run(self) -> None:
        path, content, headers = self._request
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._stopped.is_set():
                with suppress(httpx.TransportError):  # refused while it was sent
                    given = content or (b"x" for _ in range(200_000))
                    self.statuses.add(client.post(path, content=given, headers=headers).status_code)

    def stop(self) -> None:
        self._stopped.set()
        self.join(60)


@pytest.fixture
def served(trained_home: Path) -> Iterator[tuple[Running, str]]:
    state = State(load_settings(home=trained_home))
    state.database.migrate()
    state.registry.promote(trained_home / "runs" / "first", "live")
    key = state.keys.create("test", ["read"])[0]
    state.close()
    running = Running(trained_home)
    try:
        running.begin()
        yield running, key
    finally:
        running.stop()


def p99(seconds: list[float]) -> float:
    return sorted(seconds)[int(0.99 * len(seconds)) - 1]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_health_and_allocations_are_quick_beside_hostile_clients(served: tuple[Running, str]) -> None:
    running, key = served
    headers = {"Authorization": f"Bearer {key}"}
    found: dict[str, dict[str, float]] = {}
    with httpx.Client(base_url=running.url, timeout=60) as client:
        for _ in range(20):
            assert client.post(URL, json=ALLOCATION, headers=headers).status_code == 200
        for case in CASES:
            hostile = Hostile(running.url, hostile_requests(key)[case])
            hostile.start()
            health, allocations = [], []
            for _ in range(SAMPLES):
                started = time.perf_counter()
                assert client.get("/health").status_code == 200
                health.append(time.perf_counter() - started)
                started = time.perf_counter()
                assert client.post(URL, json=ALLOCATION, headers=headers).status_code == 200
                allocations.append(time.perf_counter() - started)
            hostile.stop()
            assert not {status for status in hostile.statuses if status >= 500}, case
            found[case] = {"health": p99(health), "allocations": p99(allocations)}
    late = {case: times for case, times in found.items() if max(times.values()) > P99_SECONDS}
    assert not late, late
