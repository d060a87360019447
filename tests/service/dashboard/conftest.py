"""A service with made-up runs, somebody logged in, and a browser."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from data import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.runs.backtests import save_backtest
from trading_app.runs.run import Run, create_run

NAME, PASSWORD = "ann", "correct horse battery staple"
SYMBOLS = ["KO", "GE", "IBM", "XOM"]
DATES = pd.bdate_range("2019-01-02", periods=420, name="date")
CONFIG = {"data": {"name": "made-up"}, "sac": {"agent": "relaxed"}, "market": {"actions": "long-only"}}


def made_up_prices() -> Prices:
    steps = np.random.default_rng(3).normal(0.0004, 0.012, (len(DATES), len(SYMBOLS)))
    close = pd.DataFrame(50 * np.exp(np.cumsum(steps, axis=0)), DATES, SYMBOLS)
    return Prices.from_frames("made-up", close=close)


def progress_lines(steps: int = 6) -> str:
    rows = [
        {
            "step": 100 * k,
            "seed": seed,
            "critic_loss": 1 / k + seed,
            "alpha": 0.1 / k,
            "eval_sharpe": 0.1 * k - seed,
        }
        for k in range(1, steps + 1)
        for seed in (0, 1)
    ]
    return "\n".join(json.dumps(row) for row in rows) + "\n"


def make_run(home: Path, name: str, *, seed: int = 0, backtested: bool = True) -> Run:
    """A run directory as training and backtest leave it, from random weights."""
    prices = made_up_prices()
    manifest = {
        "config": CONFIG,
        "data": {"name": "made-up", "hash": prices.hash, "symbols": SYMBOLS, "notes": ["Made up."]},
        "split": {"train": ["2015-01-02", "2018-06-29"], "validation": ["2018-07-02", "2018-12-28"],
                  "test": ["2019-01-02", "2020-08-11"]},
        "seeds": [0, 1],
    }  # fmt: skip
    run = create_run(manifest, 'seeds = "two"\n', home=home, name=name)
    (run.path / "progress.jsonl").write_text(progress_lines(), encoding="utf-8")
    run = run.finish(1.5)
    if backtested:
        generator = np.random.default_rng(seed)
        shares = [generator.dirichlet(np.ones(len(SYMBOLS)), len(DATES)) * 0.9 for _ in range(2)]
        tables = {"agent": (shares[0] + shares[1]) / 2, "seed-0": shares[0], "seed-1": shares[1]}
        tables["equal-weight"] = np.full((len(DATES), len(SYMBOLS)), 0.25)
        tables["inverse-volatility"] = np.tile([0.4, 0.3, 0.2, 0.1], (len(DATES), 1))
        targets = {name: pd.DataFrame(table, DATES, SYMBOLS) for name, table in tables.items()}
        save_backtest(run, backtest(prices, targets), data_hash=prices.hash, trials=2, reps=80, seed=seed)
    return run


@pytest.fixture(scope="session")
def made_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with two backtested runs and one that was only trained; copy it before use."""
    home = tmp_path_factory.mktemp("made")
    make_run(home, "alpha")
    make_run(home, "beta", seed=1)
    make_run(home, "fresh", backtested=False)
    return home


@dataclass
class Desk:
    """A service with somebody logged in."""

    service: Any
    home: Path

    def get(self, path: str, status: int = 200) -> str:
        answer = self.service.client.get(path)
        assert answer.status_code == status, answer.text[:500]
        return str(answer.text)

    def figure(self, path: str) -> dict[str, Any]:
        return dict(json.loads(self.get(path)))

    def post(self, path: str, **fields: str) -> Any:
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.get("/dashboard"))
        assert csrf
        return self.service.client.post(path, data={"csrf": csrf.group(1), **fields}, follow_redirects=False)


@pytest.fixture
def log_in() -> Callable[..., Any]:
    """Log a service's client in; gives the service."""

    def enter(service: Any, scopes: tuple[str, ...] = ("read",)) -> Any:
        # The library's own cost makes hundreds of logins slow; what is slow about it is tested with the login.
        hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
        service.state.users.__dict__["_hasher"] = hasher
        service.state.users.create(NAME, PASSWORD, scopes)
        token = re.search(r'name="token" value="([^"]+)"', service.client.get("/login").text)
        assert token
        fields = {"name": NAME, "password": PASSWORD, "token": token.group(1)}
        answer = service.client.post("/login", data=fields, follow_redirects=False)
        assert answer.status_code == 303
        return service

    return enter


@pytest.fixture
def site(make_service: Callable[..., Any], log_in: Callable[..., Any]) -> Any:
    """An empty home's service, with somebody logged in."""
    return log_in(make_service())


@pytest.fixture
def sign_in(log_in: Callable[..., Any]) -> Callable[..., Desk]:
    """Log a service's client in; gives what reads its pages."""

    def enter(service: Any, scopes: tuple[str, ...] = ("run",)) -> Desk:
        return Desk(log_in(service, scopes), service.home)

    return enter


@pytest.fixture
def desk(service: Any, made_runs: Path, sign_in: Callable[..., Desk]) -> Desk:
    """The service of the other tests, with runs and somebody logged in who may start jobs."""
    shutil.copytree(made_runs, service.home, dirs_exist_ok=True)
    return sign_in(service)


@pytest.fixture
def empty_desk(make_service: Any, sign_in: Callable[..., Desk]) -> Desk:
    """A service with nothing in it, and somebody logged in who may look only."""
    return sign_in(make_service(), ("read",))


class _Child:
    """A job's process, here a thread."""

    def __init__(self, target: Callable[[], None]) -> None:
        self.exit_code: int | None = None
        self._thread = threading.Thread(target=self._go, args=(target,), daemon=True)
        self._thread.start()

    def _go(self, target: Callable[[], None]) -> None:
        target()
        self.exit_code = 0

    def terminate(self) -> None:
        pass

    def wait(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        self._thread.join(10)


@pytest.fixture
def working() -> Iterator[Callable[[Any], None]]:
    """Runs the jobs of a service in the background, as its supervisor does."""
    from service.jobs.supervisor import Supervisor
    from service.jobs.worker import perform

    stop, threads = threading.Event(), []

    def start(service: Any) -> None:
        queue = service.state.jobs
        supervisor = Supervisor(
            service.state.settings, queue, spawn=lambda s, job: _Child(lambda: perform(s, queue, job))
        )

        def loop() -> None:
            while not stop.wait(0.1):
                supervisor.step()

        threads.append(threading.Thread(target=loop, daemon=True))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(10)


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits for a condition and gives its value."""

    def wait(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError("did not happen in time")

    return wait
