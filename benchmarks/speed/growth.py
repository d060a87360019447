"""Growth of time and memory with four times the assets, window or seeds of a training, or the sessions, assets or
strategies of a backtest.

Every size is measured in a process of its own, since a process returns little memory to the system.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from typing import Any

import typer

from benchmarks.harness import RepeatsOption, finish, ratio
from equitrade.console import JsonOption
from equitrade.processes import module_command

app = typer.Typer(help=__doc__)
FACTOR = 4
SIZES: dict[str, dict[str, int]] = {
    "training": {"assets": 20, "window": 16, "seeds": 2},
    "backtest": {"sessions": 2000, "assets": 20, "strategies": 100},
}


def run(*, repeats: int = 3) -> dict[str, Any]:
    """Measure, and return what `finish` stores."""
    points = [(what, axis) for what, size in SIZES.items() for axis in ("base", *size)]
    taken: dict[tuple[str, str], list[dict[str, float]]] = {point: [] for point in points}
    for _ in range(repeats):
        for what, axis in points:
            taken[what, axis].append(_measured(what, axis))
    rows = []
    for what, axis in points:
        if axis == "base":
            continue
        row: dict[str, Any] = {"what": what, "axis": axis, "from": SIZES[what], "factor": FACTOR}
        for quantity in ("seconds", "bytes"):
            large, small = ([one[quantity] for one in taken[what, size]] for size in (axis, "base"))
            row[quantity], row[f"{quantity}_before"] = statistics.median(large), statistics.median(small)
            row[f"{quantity}_growth"] = ratio(large, small)
        rows.append(row)
    return {"repeats": repeats, "rows": rows}


def _measured(what: str, axis: str) -> dict[str, float]:
    size = dict(SIZES[what])
    if axis != "base":
        size[axis] *= FACTOR
    command = module_command("benchmarks.speed.growth_point", json.dumps({"what": what, **size}))
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


@app.command()
def main(
    repeats: RepeatsOption = 3,
    as_json: JsonOption = False,
) -> None:
    """Measure, print a table and store it under benchmarks/results/growth.json."""
    payload = run(repeats=repeats)
    finish("growth", payload, map(_line, payload["rows"]), as_json=as_json)


def _line(row: dict[str, Any]) -> str:
    spent = f"{row['seconds_before'] * 1e3:8.1f} → {row['seconds'] * 1e3:8.1f} ms"
    held = f"{row['bytes_before'] / 2**20:6.0f} → {row['bytes'] / 2**20:6.0f} MiB"
    return (
        f"{row['what']}, {FACTOR} times the {row['axis']:10}  "
        f"time {spent} ({row['seconds_growth']:.2f} ×)  memory {held} ({row['bytes_growth']:.2f} ×)"
    )
