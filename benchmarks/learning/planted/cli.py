"""``equitrade bench planted``: runs what is not done yet, then prints the table of what is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.learning.planted.cells import AGENTS, GROUPS
from benchmarks.learning.planted.figures import load, table
from benchmarks.learning.planted.run import RESULTS, run, run_workers

app = typer.Typer(help=__doc__)


@app.command()
def planted(
    out: Annotated[Path, typer.Option(help="Folder of the results, a JSON file a cell.")] = RESULTS,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    seeds: Annotated[int, typer.Option(min=1, help="Seeds trained together in each cell.")] = 10,
    group: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(GROUPS)}; repeat.")] = None,
    agent: Annotated[list[str] | None, typer.Option(help=f"Some of {', '.join(AGENTS)}; repeat.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Cells whose name holds this; repeat.")] = None,
    budget: Annotated[float | None, typer.Option(help="Seconds after which no cell is begun.")] = None,
    updates: Annotated[int | None, typer.Option(help="Cap on the updates of each cell.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes side by side.")] = 1,
    table_only: Annotated[bool, typer.Option(help="Run nothing; print what is stored.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Share of the optimum on the planted market against gradient updates."""
    groups, agents = tuple(group or GROUPS), tuple(agent or AGENTS)
    if not table_only and workers > 1:
        given = ["--device", device, "--seeds", str(seeds), "--out", str(out), "--workers", str(workers)]
        given += ["--groups", *groups, "--agents", *agents]
        for name, value in (("--only", only), ("--budget", budget), ("--updates", updates)):
            if value is not None:
                given += [name, *map(str, value if isinstance(value, list) else [value])]
        if run_workers(workers, given):
            raise typer.Exit(1)
    elif not table_only:
        run(
            out,
            device=device,
            seeds=seeds,
            groups=groups,
            agents=agents,
            only=only or (),
            budget=budget,
            updates=updates,
        )
    rows = table(load(out))
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        shares = ", ".join(
            f"{k}: {v[0]:.3f} [{v[1]:.3f}, {v[2]:.3f}]" for k, v in row.items() if isinstance(v, tuple)
        )
        typer.echo(
            f"{row['cell']} ({row['seeds']} seeds; to 95 %: {row['to 95 %']}, to 97 %: {row['to 97 %']})"
        )
        typer.echo(f"    {shares}")
