"""Allocations per second, one worker, against a bare endpoint that reads the same body."""

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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.harness import summary, write
from benchmarks.speed.service_load import Measured, load, requests

app = typer.Typer(help=__doc__)

PATH = "/api/v1/allocations"
DATA = "sp500-20"
AS_OF = "2022-12-28"
CLIENTS = 8
BODIES = 512
TARGETS = {"throughput_ratio": 0.40, "p99_seconds": 0.050}


@app.command()
def service(
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds that count.")] = 5,
    seconds: Annotated[float, typer.Option("--seconds", min=0.2, help="Length of a round.")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure throughput and latency of POST /allocations on loopback, and store them."""
    payload = measure(repeats, seconds)
    path = write("service", payload)
    if as_json:
        print(json.dumps(payload, indent=2))
        return
    ratio, p99 = payload["throughput_ratio"], payload["service"]["p99_seconds"]
    print(f"bare endpoint      {payload['bare']['median_rate']:8.0f} requests/s")
    print(f"POST /allocations  {payload['service']['median_rate']:8.0f} requests/s")
    print(f"share of the bare endpoint's throughput  {ratio:6.2f}   (target {TARGETS['throughput_ratio']})")
    print(
        f"p99 under {CLIENTS} clients                   {p99 * 1e3:6.1f} ms (target {TARGETS['p99_seconds'] * 1e3:.0f})"
    )
    print(path)


def measure(repeats: int, seconds: float) -> dict[str, Any]:
    """Alternate the two under the same clients and bodies; one worker each, threads as served by default."""
    with tempfile.TemporaryDirectory(prefix="equitrade-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        key, symbols = _prepare(home)
        bodies = _bodies(symbols)
        port = stack.enter_context(serving(home))
        messages = requests(PATH, bodies, [f"Authorization: Bearer {key}"])
        sample = _check(port, key, bodies)
        (home / "answer.json").write_bytes(sample)
        bare_port = stack.enter_context(_bare(home / "answer.json"))
        contenders = {"bare": (bare_port, requests(PATH, bodies, [])), "service": (port, messages)}
        rounds: dict[str, list[Measured]] = {"bare": [], "service": []}
        for turn in range(repeats + 1):
            for name in sorted(contenders, reverse=bool(turn % 2)):
                own_port, own = contenders[name]
                result = load(own_port, own, clients=CLIENTS, seconds=seconds)
                if result.failures:
                    raise RuntimeError(f"{name}: {result.failures} requests were not answered with 200")
                if turn > 0:
                    rounds[name].append(result)
        single = load(port, messages, clients=1, seconds=seconds)
        recorded = _recorded(home)
    return _payload(rounds, single, recorded, repeats, seconds)


def _payload(
    rounds: dict[str, list[Measured]], single: Measured, recorded: int, repeats: int, seconds: float
) -> dict[str, Any]:
    described = {name: _describe(results) for name, results in rounds.items()}
    return {
        "what": "POST /api/v1/allocations, one worker, against a bare FastAPI endpoint with the same body",
        "model": f"relaxed, 5 seeds, {DATA}; other holdings in each of {BODIES} bodies, so that none is computed twice "
        "in a row",
        "clients": CLIENTS,
        "repeats": repeats,
        "round_seconds": seconds,
        **described,
        "one_client": {
            "rate": single.rate,
            "p50_seconds": single.quantile(0.5),
            "p99_seconds": single.quantile(0.99),
        },
        "throughput_ratio": described["service"]["median_rate"] / described["bare"]["median_rate"],
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
    """Make a home with a promoted model of the usual size, hardly trained: its speed is what counts."""
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
    """Run ``equitrade serve`` with one worker; give its port."""
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


@contextmanager
def _bare(answer: Path) -> Iterator[int]:
    import socket

    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen(2048)
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.service_bare", str(opened.fileno()), str(answer)],
            pass_fds=[opened.fileno()],
        )
        try:
            yield int(opened.getsockname()[1])
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


def _check(port: int, key: str, bodies: list[bytes]) -> bytes:
    """Prove that it is the real thing that is measured: other holdings, other weights, each on record."""
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
        raise RuntimeError("the answers are not those of a policy")
    return bytes(answers[0])


def _recorded(home: Path) -> int:
    import sqlite3

    with sqlite3.connect(home / "service.db") as connection:
        return int(connection.execute("SELECT count(*) FROM allocations").fetchone()[0])


if __name__ == "__main__":
    app()
