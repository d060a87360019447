"""Search for settings on validation dates, and keep count of what was tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trading_app.cli.common import (
    HomeOption,
    JsonOption,
    home_directory,
    print_json,
    print_table,
    say,
    signed,
)

app = typer.Typer(help=__doc__)


@app.command()
def tune(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="TOML file; see the how-to on configuration.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Bundled dataset, snapshot or file.")] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", help="dense, exact, relaxed, rpp, augmented.")
    ] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", help="Seeds of each trial.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of each trial's training.")] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Trials in all; a study goes on.")] = 20,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary", metavar="KEY=VALUES", help="sac.width=32,64 or market.temperature=0.1:1; repeat."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the study.")] = "study",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train with settings that Optuna proposes and keep the best on validation dates; test dates are not looked at.

    Writes tuning/NAME/best.toml: train with it, and its backtest's deflated Sharpe ratio allows for all trials.
    """
    import os

    from trading_app.config import load_config
    from trading_app.tuning import DEFAULT_SPACE, parse_dimension
    from trading_app.tuning import tune as search

    overrides = {"data.name": data, "sac.agent": agent, "training.seeds": seeds, "training.steps": steps}
    settings = load_config(config, os.environ, overrides)
    space = [parse_dimension(text) for text in vary] if vary else DEFAULT_SPACE

    def told(number: int, value: float | None) -> None:
        outcome = "failed" if value is None else f"validation Sharpe {signed(value)}"
        say(f"trial {number + 1} of {trials}: {outcome}")

    document = search(
        settings, home=home_directory(home), name=name, trials=trials, space=space, on_trial=told
    )
    if as_json:
        print_json(document)
        return
    keys = list(dict.fromkeys(key for row in document["trials"] for key in row["settings"]))
    rows = [
        [
            str(row["trial"]),
            "" if row["sharpe"] is None else signed(row["sharpe"]),
            *_cells(row["settings"], keys),
        ]
        for row in sorted(document["trials"], key=lambda row: -(row["sharpe"] or -1e9))
    ]
    print_table(f"Study {name}, best first", ["trial", "Sharpe", *keys], rows)
    if document["config"]:
        say(f"equitrade train --config {document['config']}")


def _cells(settings: dict[str, float | str], keys: list[str]) -> list[str]:
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(settings.get, keys)]
