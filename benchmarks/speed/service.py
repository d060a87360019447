"""Allocations per second and their latency, with one worker and eight clients."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness import RepeatsOption, finish, summary
from benchmarks.speed.service_load import Measured, load, requests
from equitrade.console import JsonOption

app = typer.Typer(help=__doc__)

PATH = "/api/v1/allocations"
DATA = "sp500-20"
AS_OF = "2022-12-28"
CLIENTS = 8
BODIES = 512
TARGETS = {"rate": 500.0, "p99_seconds": 0.050}


@app.command()
def service(
    repeats: RepeatsOption = 5,
    seconds: Annotated[float, typer.Option("--seconds", min=0.2, help="Length of a round.")] = 4.0,
    as_json: JsonOption = False,
) -> None:
    """Measure throughput and latency of POST /allocations on loopback, and store them."""
    payload = measure(repeats, seconds)
    rate, p99 = payload["service"]["median_rate"], payload["service"]["p99_seconds"]
    lines = (
        f"{CLIENTS} clients: {rate:.0f} allocations/s  (reach >= {TARGETS['rate']:.0f})",
        f"{CLIENTS} clients: p99 {p99 * 1e3:.1f} ms  (reach <= {TARGETS['p99_seconds'] * 1e3:.0f} ms)",
        f"1 client:  p50 {payload['one_client']['p50_seconds'] * 1e3:.1f} ms",
    )
    finish("service", payload, lines, as_json=as_json)


def measure(repeats: int, seconds: float) -> dict[str, Any]:
    """Measure rounds of `CLIENTS` clients, then one client alone; the first round does not count."""
    with tempfile.TemporaryDirectory(prefix="equitrade-bench-") as folder:
        home = Path(folder)
        key, symbols = _prepare(home)
        bodies = _bodies(symbols)
        messages = requests(PATH, bodies, [f"Authorization: Bearer {key}"])
        with serving(home) as port:
            _check(port, key, bodies)
            rounds = [load(port, messages, clients=CLIENTS, seconds=seconds) for _ in range(repeats + 1)]
            single = load(port, messages, clients=1, seconds=seconds)
            recorded = _recorded(home)
    failures = sum(result.failures for result in [*rounds, single])
    if failures:
        raise RuntimeError(f"{failures} requests were not answered with status 200")
    return {
        "what": "POST /api/v1/allocations, one worker",
        "model": f"relaxed, 5 seeds, {DATA}; {BODIES} bodies with different holdings, so that no answer is reused",
        "clients": CLIENTS,
        "repeats": repeats,
        "round_seconds": seconds,
        "service": _describe(rounds[1:]),
        "one_client": {
            "rate": single.rate,
            "p50_seconds": single.quantile(0.5),
            "p99_seconds": single.quantile(0.99),
        },
        "audit_rows_written": recorded,
        "targets": TARGETS,
    }


def _describe(results: list[Measured]) -> dict[str, Any]:
    everything = Measured(1.0, [latency for result in results for latency in result.latencies])
    rates = [result.rate for result in results]
    return {
        "median_rate": float(np.median(rates)),
        "rates": rates,
        "round": summary([result.seconds for result in results]),
        "p50_seconds": everything.quantile(0.5),
        "p99_seconds": everything.quantile(0.99),
    }


def _prepare(home: Path) -> tuple[str, list[str]]:
    """Make a home with a promoted model of the default size; it is trained for two steps, since only speed counts."""
    from data import load_prices
    from service.core.settings import load_settings
    from service.models.admission import Evidence, inference_files
    from service.state import State
    from trading_app.experiments.config import load_config
    from trading_app.experiments.training import train_run

    steps = {"training.steps": 2, "training.evaluate_every": 1000, "training.checkpoint_every": 2}
    run, _ = train_run(load_config(None, {}, {"data.name": DATA, **steps}), home=home, name="bench")
    prices = load_prices(DATA)

    def inspect(path: Path) -> Evidence:
        return Evidence(
            agent="relaxed",
            symmetry="permutations",
            seeds=tuple(run.seeds),
            data=DATA,
            data_hash=prices.hash,
            symbols=tuple(prices.symbols),
            features=("default",),
            fill="next_close",
            files=inference_files(path),
        )

    state = State(load_settings(home=home), inspect=inspect)
    state.database.migrate()
    state.registry.promote(run.path, "bench")
    key, _ = state.keys.create("bench")
    state.close()
    return key, list(prices.symbols)


def _bodies(symbols: list[str]) -> list[bytes]:
    rng = np.random.default_rng(0)
    return [
        json.dumps(
            {
                "model": "bench",
                "as_of": AS_OF,
                "holdings": {"weights": dict(zip(symbols, row.round(6).tolist(), strict=True))},
            }
        ).encode()
        for row in rng.uniform(-0.05, 0.05, (BODIES, len(symbols)))
    ]


@contextmanager
def serving(home: Path) -> Iterator[int]:
    """Run ``equitrade serve`` with one worker; yields its port."""
    log = home / "serve.log"
    environment = {
        **os.environ,
        "EQUITRADE_HOME": str(home),
        "EQUITRADE_SERVICE__RATE_LIMIT": "1000000000/minute",
    }
    code = "from service.cli.serve import app; app()"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, "--port", "0", "--workers", "1"],
            env=environment,
            stderr=output,
        )
        try:
            yield _wait_for_port(process, log)
        finally:
            process.terminate()
            process.wait(60)


def _wait_for_port(process: subprocess.Popen[bytes], log: Path) -> int:
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        url = next((line["url"] for line in lines if line["message"] == "serving"), None)
        if url is not None and _ready(url):
            return int(url.rpartition(":")[2])
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start:\n{log.read_text()[-2000:]}")


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _check(port: int, key: str, bodies: list[bytes]) -> None:
    """Check that the answers are those of a policy: other holdings get other weights, which sum to 1 with the cash."""
    answers = []
    for body in bodies[:2]:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{PATH}", data=body, method="POST")
        request.add_header("Authorization", f"Bearer {key}")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            answers.append(answer.read())
    first, second = (json.loads(content) for content in answers)
    if (
        first["weights"] == second["weights"]
        or abs(sum(first["weights"].values()) + first["cash"] - 1) > 1e-9
    ):
        raise RuntimeError("the answers are not those of a policy: equal weights, or a sum other than 1")


def _recorded(home: Path) -> int:
    import sqlite3

    with sqlite3.connect(home / "service.db") as connection:
        return int(connection.execute("SELECT count(*) FROM allocations").fetchone()[0])
