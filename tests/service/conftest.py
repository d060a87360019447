"""A service on a small market with a policy that can be computed by hand."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from data import Prices, SnapshotStore
from rl_core.errors import ConfigError
from service.app import create_app
from service.core.problems import PREFIX
from service.core.settings import Settings, load_settings
from service.models.admission import Evidence
from service.state import State
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.limits import Limits
from trading_app.market.panel import trading_panel

SYMBOLS = ("AAA", "BBB", "CCC")
HISTORY = 5
NOW = datetime(2024, 3, 28, 21, 0, tzinfo=UTC)  # a Thursday; the next day is Good Friday


@dataclass(frozen=True)
class TiltPolicy:
    """Fixed weights, tilted by the last return, halfway from what is held; one seed tilts twice."""

    symbols: tuple[str, ...]
    base: tuple[float, ...]
    history: int = HISTORY
    config: MarketConfig = field(default_factory=MarketConfig)
    costs: CostModel = field(default_factory=CostModel)

    def on_symbols(self, symbols: tuple[str, ...]) -> TiltPolicy:
        if len(symbols) < 2:
            raise ConfigError("1 asset is too few for this policy")
        base = dict(zip(self.symbols, self.base, strict=True))
        return replace(self, symbols=symbols, base=tuple(base.get(symbol, 0.3) for symbol in symbols))

    def decide(self, prices: Prices, session: pd.Timestamp, held: np.ndarray) -> np.ndarray:
        closes = trading_panel(prices).close
        day = int(prices.dates.searchsorted(session))
        tilt = np.clip(closes[day] / closes[day - 1] - 1, -0.05, 0.05)
        return np.stack([0.5 * np.array(self.base) + 0.5 * held + k * tilt for k in (1, 2)])

    def decide_base(self, prices: Prices, session: pd.Timestamp, held: np.ndarray) -> np.ndarray | None:
        return None


def load_tilt(path: Path) -> TiltPolicy:
    content = json.loads((path / "policy.json").read_text(encoding="utf-8"))
    market = content.get("market", {})
    config = MarketConfig(**{**market, "limits": Limits(**market.get("limits", {}))})
    return TiltPolicy(tuple(content["symbols"]), tuple(content["base"]), config=config)


def inspect_tilt(path: Path) -> Evidence:
    return Evidence(
        agent="relaxed",
        symmetry="permutations of 3 assets",
        seeds=(0, 1),
        data="toy",
        data_hash="0" * 64,
        symbols=SYMBOLS,
        features=("ret_1",),
        fill="next_close",
        cost_rate=3e-4,
        history=HISTORY,
        trained_until="2024-01-31",
        evaluated={"start": "2024-02-01", "end": "2024-03-28"},
        metrics={"sharpe": {"value": 0.5, "low": -0.2, "high": 1.2}},
        notes=("a toy",),
        files=("policy.json",),
    )


def toy_prices(days: int = 61, end: str = "2024-03-28") -> Prices:
    dates = pd.bdate_range(end=end, periods=days)
    rng = np.random.default_rng(7)
    closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (days, 3)), axis=0)) * np.array([1.0, 2.0, 4.0])
    return Prices.from_frames("toy", close=pd.DataFrame(closes, dates, list(SYMBOLS)))


@pytest.fixture
def prices() -> Callable[[], Prices]:
    """Makes the prices of the snapshot `toy`."""
    return toy_prices


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Service:
    """A running application with its state, and helpers that tests share."""

    client: TestClient
    state: State
    clock: Clock
    home: Path

    def key(self, *scopes: str, days: float | None = None) -> dict[str, str]:
        token, _ = self.state.keys.create("test", scopes or ("read",), days=days)
        return {"Authorization": f"Bearer {token}"}

    def run(self, name: str = "toy-run", base: tuple[float, ...] = (0.5, 0.3, 0.1), **market: Any) -> Path:
        path = self.home / "runs" / name
        path.mkdir(parents=True, exist_ok=True)
        content = {"symbols": SYMBOLS, "base": base, "market": market}
        (path / "policy.json").write_text(json.dumps(content), encoding="utf-8")
        return path

    def promote(self, name: str = "toy-run", model: str = "toy", **kwargs: Any) -> str:
        return self.state.registry.promote(self.run(name, **kwargs), model).version


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home in memory where there is one: these tests wait for the disk more than for anything else."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path / "home"
        return
    path = Path(tempfile.mkdtemp(prefix="equitrade-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def settings(home: Path) -> Settings:
    return load_settings(home=home, rate_limit="100000/minute", failure_limit="100000/minute")


@pytest.fixture
def make_service(settings: Settings) -> Iterator[Callable[..., Service]]:
    """A factory, so that a test may start several services on one home."""
    opened: list[TestClient] = []

    def make(given: Settings | None = None) -> Service:
        used = given or settings
        clock = Clock()
        app = create_app(used, load=load_tilt, inspect=inspect_tilt, clock=clock)
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        opened.append(client)
        return Service(client, app.state.equitrade, clock, used.home)

    yield make
    for client in opened:
        client.__exit__(None, None, None)


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """A service with the snapshot and model `toy`."""
    made = make_service()
    SnapshotStore(made.home).save(toy_prices(), "toy", provider={"name": "test"})
    made.promote()
    return made


@pytest.fixture
def kind_of() -> Callable[[Any], str]:
    """The kind of a problem answer, after checking that it is one."""

    def kind(response: Any) -> str:
        assert response.headers["content-type"] == "application/problem+json", response.text
        body = response.json()
        assert body["status"] == response.status_code
        assert body["type"].startswith(PREFIX)
        return str(body["type"].removeprefix(PREFIX))

    return kind


TINY = {
    "data.name": "small",
    "training.seeds": 2,
    "training.steps": 4,
    "training.n_envs": 2,
    "training.cross_fit": False,
    "training.evaluate_every": 4,
    "training.checkpoint_every": 4,
    "training.log_every": 2,
    "sac.width": 8,
    "sac.batch_size": 8,
    "sac.learning_starts": 2,
    "market.window": 4,
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a snapshot and two real runs, trained for seconds and backtested; copy it before use."""
    from trading_app.experiments.config import load_config
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.experiments.training import train_run

    home = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(1)
    dates = pd.bdate_range("2021-01-04", periods=400)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, (400, 4)), axis=0))
    prices = Prices.from_frames("small", close=pd.DataFrame(close, dates, ["KO", "GE", "IBM", "XOM"]))
    SnapshotStore(home).save(prices, "small", provider={"name": "test"})
    for seed, name in enumerate(("first", "second")):
        config = load_config(None, {}, {**TINY, "training.first_seed": 10 * seed})
        run, _ = train_run(config, home=home, name=name)
        backtest_run(run, home=home)
    return home


@pytest.fixture
def trained_home(trained: Path, home: Path) -> Path:
    """A copy of `trained` that the test may change."""
    shutil.copytree(trained, home, dirs_exist_ok=True)
    return home


class PostgreSQL:
    """A PostgreSQL server of the tests' own."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder, self._programs = folder, programs
        # The server refuses to run as root; a user that owns nothing else will do.
        self._user = "nobody" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"postgresql+pg8000://equitrade@127.0.0.1:{self._port}/postgres"
        data = str(folder / "data")
        self._call("initdb", "-D", data, "-U", "equitrade", "-A", "trust", "--no-sync", "-E", "UTF8")
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder} -c fsync=off"
        self._control("-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def _control(self, *arguments: str) -> None:
        self._call("pg_ctl", "-D", str(self._folder / "data"), "-w", *arguments)

    def _call(self, name: str, *arguments: str) -> None:
        command = [str(self._programs / name), *arguments]
        subprocess.run(
            command, check=True, user=self._user, cwd=self._folder, stdout=subprocess.DEVNULL, timeout=120
        )


@pytest.fixture(scope="session")
def own_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server that a test may stop and start."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL: set EQUITRADE_TEST_POSTGRESQL_URL or install Debian's package postgresql")
    folder = Path(tempfile.mkdtemp(prefix="equitrade-postgresql-"))
    server = PostgreSQL(folder, found[-1].parent)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_server(request: pytest.FixtureRequest) -> str:
    """URL of a PostgreSQL server: the environment's, or one of our own."""
    given = os.environ.get("EQUITRADE_TEST_POSTGRESQL_URL")
    return given or str(request.getfixturevalue("own_postgresql").url)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of a fresh, empty database on the server."""
    from sqlalchemy import create_engine
    from sqlalchemy.engine import make_url

    name = f"test_{secrets.token_hex(6)}"
    engine = create_engine(postgresql_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()


@pytest.fixture
def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
