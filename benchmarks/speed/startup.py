"""Start-up times: help, the import of `data`, and loading a large snapshot."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness import alternate, summary, write

app = typer.Typer(help=__doc__)
TARGETS = {"equitrade --help": 0.5, "import data": 1.5, "load a snapshot of 500 symbols × 30 years": 2.0}
SYMBOLS, SESSIONS = 500, 30 * 252
# What anyone imports `data` for; the package alone loads nothing.
IMPORT = "from data import Prices, SnapshotStore, load_prices, compute_features"


def run(*, repeats: int = 7) -> dict[str, Any]:
    """Measure, and return what `write` stores.

    Parameters
    ----------
    repeats
        Rounds that count.
    """
    command, imports, load = TARGETS
    with tempfile.TemporaryDirectory() as folder:
        size = _large_snapshot(Path(folder))
        code = (
            "import time\nfrom pathlib import Path\nfrom data import load_prices\nbegan = time.perf_counter()\n"
            f"load_prices('large', home=Path({folder!r}))\nprint(time.perf_counter() - began)"
        )
        contenders = {
            command: lambda: _seconds("-m", "trading_app.cli.main", "--help"),
            imports: lambda: _seconds("-c", IMPORT),
            load: lambda: float(_output("-c", code)),
        }
        seconds = alternate(contenders, repeats)
    results = {name: {**summary(taken), "reach": TARGETS[name]} for name, taken in seconds.items()}
    return {
        "repeats": repeats,
        "snapshot": {"symbols": SYMBOLS, "sessions": SESSIONS, "bytes": size},
        "results": results,
    }


def _large_snapshot(home: Path) -> int:
    """Make a snapshot of random prices with every field; return the bytes of its file."""
    import numpy as np
    import pandas as pd

    from data.prices import Prices
    from data.snapshots.store import SnapshotStore

    generator = np.random.default_rng(0)
    dates = pd.bdate_range("1995-01-02", periods=SESSIONS, name="date")
    names = [f"S{i:03d}" for i in range(SYMBOLS)]

    def frame(values: Any) -> pd.DataFrame:
        return pd.DataFrame(values, index=dates, columns=names)

    shape = (SESSIONS, SYMBOLS)
    close = 50 * np.exp(np.cumsum(0.01 * generator.normal(size=shape), axis=0))
    open_ = close * np.exp(0.003 * generator.normal(size=shape))
    prices = Prices.from_frames(
        "large",
        open=frame(open_),
        high=frame(1.001 * np.maximum(open_, close)),
        low=frame(0.999 * np.minimum(open_, close)),
        close=frame(close),
        adj_close=frame(0.9 * close),
        volume=frame(generator.integers(1, 10**7, shape).astype(float)),
    )
    snapshot = SnapshotStore(home).save(prices, "large", provider={"name": "benchmark"})
    return (snapshot.path / "prices.parquet").stat().st_size


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    _output(*arguments)
    return time.perf_counter() - began


def _output(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


@app.command()
def main(
    repeats: Annotated[int, typer.Option(min=1, help="Rounds that count.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print the stored JSON.")] = False,
) -> None:
    """Measure, print a table and store it under benchmarks/results/startup.json."""
    payload = run(repeats=repeats)
    path = write("startup", payload)
    if as_json:
        print(json.dumps(payload, indent=2))
        return
    for name, result in payload["results"].items():
        print(f"{name:>42}  {result['median_s']:6.2f} s  (to reach: under {result['reach']:g} s)")
    print(path)
