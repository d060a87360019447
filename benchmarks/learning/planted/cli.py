"""Share of the optimum on the planted market against gradient updates, for five agents.

``equitrade bench planted`` and ``python -P -m benchmarks.learning.planted.cli`` are the same command. Each cell (agent,
market, settings) trains all its seeds at once and is stored as one JSON file when it is done, so that a run killed at
any moment is resumed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.learning.planted.cells import AGENTS, GROUPS
from benchmarks.learning.planted.figures import load, table
from benchmarks.learning.planted.run import RESULTS, run
from equitrade.console import JsonOption, option_arguments, print_json, run_command
from equitrade.processes import module_command

app = typer.Typer(help=__doc__)


@app.command()
def planted(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder of the results, a JSON file a cell.")] = RESULTS,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds trained together in each cell.")] = 10,
    groups: Annotated[str, typer.Option(help="Only these groups, separated by commas.")] = ",".join(GROUPS),
    agents: Annotated[str, typer.Option(help="Only these agents, separated by commas.")] = ",".join(AGENTS),
    only: Annotated[str, typer.Option(help="Only cells whose name contains one of these words.")] = "",
    budget: Annotated[float | None, typer.Option(help="Start no cell after this many seconds.")] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Largest number of updates of a cell.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 1,
    shard: Annotated[
        int | None, typer.Option(min=0, help="Run only this share of the cells.", hidden=True)
    ] = None,
    cuda_graph: Annotated[bool, typer.Option(help="On CUDA, run an update as one graph.")] = True,
    table_only: Annotated[bool, typer.Option("--table-only", help="Only print what is stored.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Share of the optimum on the planted market against gradient updates."""
    chosen = {"groups": _names("group", groups, GROUPS), "agents": _names("agent", agents, AGENTS)}
    if not table_only and workers > 1 and shard is None:
        run_workers(context, workers)
    elif not table_only:
        _limit_threads(workers)
        run(
            out,
            device=device,
            seeds=seeds,
            **chosen,
            only=_split(only),
            budget=budget,
            updates=updates,
            workers=workers,
            shard=shard or 0,
            cuda_graph=cuda_graph,
        )
    rows = table(load(out))
    if as_json:
        print_json(rows)
        return
    for row in rows:
        _print_row(row)


def run_workers(context: typer.Context, workers: int) -> None:
    """Run the shards in processes side by side; a GPU has room for several.

    Raises `typer.Exit` with the first exit code that is not 0.
    """
    commands = [
        module_command("benchmarks.learning.planted.cli", *option_arguments(context, shard=shard))
        for shard in range(workers)
    ]
    # Progress goes to standard error; the parent prints the table.
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    code = next((code for code in [process.wait() for process in running] if code), 0)
    if code:
        raise typer.Exit(code)


def _limit_threads(workers: int) -> None:
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def _split(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _names(kind: str, text: str, known: Iterable[str]) -> tuple[str, ...]:
    names = _split(text)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"unknown {kind} '{unknown[0]}'; choose from {', '.join(known)}")
    return names


def _print_row(row: dict[str, Any]) -> None:
    shares = ", ".join(
        f"{k}: {v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for k, v in row.items() if isinstance(v, tuple)
    )
    print(f"{row['cell']} ({row['seeds']} seeds; to 95 %: {row['to 95 %']}, to 97 %: {row['to 97 %']})")
    print(f"    {shares}")


if __name__ == "__main__":
    sys.exit(run_command(app))
