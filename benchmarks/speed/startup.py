"""Start-up times: help, the import of `data`, loading a large snapshot, and importing a wide file."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

from benchmarks.harness import RepeatsOption, alternate, finish, summary
from equitrade.console import JsonOption

app = typer.Typer(help=__doc__)
TARGETS = {
    "equitrade --help": 0.5,
    "import data": 1.5,
    "load a snapshot of 500 symbols × 30 years": 2.0,
    # 2 s for a million cells.
    "read and check a wide file of 500 symbols × 10 years": 2.5,
}
SYMBOLS, SESSIONS, FILE_SESSIONS = 500, 30 * 252, 10 * 252
# What anyone imports `data` for; the package alone loads nothing.
IMPORT = "from data import Prices, SnapshotStore, load_prices, compute_features"


def run(*, repeats: int = 7) -> dict[str, Any]:
    """Measure, and return what `finish` stores."""
    command, imports, load, read = TARGETS
    with tempfile.TemporaryDirectory() as folder:
        size = _large_snapshot(Path(folder))
        file = _wide_file(Path(folder))
        start = "import time\nfrom pathlib import Path\nfrom data import load_prices\n"
        # The checks import libraries when they are first used; that time is part of it.
        code = "began = time.perf_counter()\nload_prices({!r}, home=Path({!r}))\nprint(time.perf_counter() - began)"
        contenders = {
            command: lambda: _seconds("-m", "trading_app.cli.main", "--help"),
            imports: lambda: _seconds("-c", IMPORT),
            load: lambda: float(_output("-c", start + code.format("large", folder))),
            read: lambda: float(_output("-c", start + code.format(str(file), folder))),
        }
        seconds = alternate(contenders, repeats)
    results = {name: {**summary(taken), "reach": TARGETS[name]} for name, taken in seconds.items()}
    return {
        "repeats": repeats,
        "snapshot": {"symbols": SYMBOLS, "sessions": SESSIONS, "bytes": size},
        "file": {"symbols": SYMBOLS, "sessions": FILE_SESSIONS},
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


def _wide_file(folder: Path) -> Path:
    """Make a file of random closes, a column for each symbol."""
    import numpy as np
    import pandas as pd

    from data.calendars import sessions_of

    generator = np.random.default_rng(0)
    close = 50 * np.exp(np.cumsum(0.01 * generator.normal(size=(FILE_SESSIONS, SYMBOLS)), axis=0))
    sessions = sessions_of("XNYS", pd.Timestamp("2010-01-04"), pd.Timestamp("2022-12-30"))
    dates = sessions[:FILE_SESSIONS].rename("Date")
    path = folder / "wide.csv"
    pd.DataFrame(close.round(2), dates, [f"S{i:03d}" for i in range(SYMBOLS)]).to_csv(path)
    return path


def _seconds(*arguments: str) -> float:
    began = time.perf_counter()
    _output(*arguments)
    return time.perf_counter() - began


def _output(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-P", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


@app.command()
def main(
    repeats: RepeatsOption = 7,
    as_json: JsonOption = False,
) -> None:
    """Measure, print a table and store it under benchmarks/results/startup.json."""
    payload = run(repeats=repeats)
    lines = (
        f"{name:>52}  {result['median_s']:6.2f} s  (to reach: under {result['reach']:g} s)"
        for name, result in payload["results"].items()
    )
    finish("startup", payload, lines, as_json=as_json)
