"""Search for settings on validation dates, and count the trials."""

from __future__ import annotations

from typing import Annotated

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, say
from trading_app.cli.common import (
    AgentOption,
    ConfigOption,
    DataOption,
    SeedsOption,
    SetOption,
    StepsOption,
    home_directory,
    settings_of,
    signed,
)

app = typer.Typer(help=__doc__)


@app.command()
def tune(
    config: ConfigOption = None,
    data: DataOption = None,
    agent: AgentOption = None,
    seeds: SeedsOption = None,
    steps: StepsOption = None,
    changes: SetOption = None,
    trials: Annotated[
        int,
        typer.Option("--trials", min=1, help="Trials in total; an existing study of this name is continued."),
    ] = 20,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=VALUES",
            help="A setting to vary, as sac.width=32,64 or market.temperature=0.1:1; repeatable.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the study.")] = "study",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train with settings proposed by Optuna and choose the best on validation dates; test dates are not used.

    Writes tuning/NAME/best.toml. The deflated Sharpe ratio of a run trained with this file counts all trials.
    """
    from trading_app.experiments.tuning import DEFAULT_SPACE, parse_dimension
    from trading_app.experiments.tuning import tune as search

    settings = settings_of(config, data, agent, seeds, steps, changes)
    space = [parse_dimension(text) for text in vary] if vary else DEFAULT_SPACE

    def report(number: int, value: float | None) -> None:
        outcome = "failed" if value is None else f"validation Sharpe {signed(value)}"
        say(f"trial {number + 1} of {trials}: {outcome}")

    document = search(
        settings, home=home_directory(home), name=name, trials=trials, space=space, on_trial=report
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
        for row in sorted(
            document["trials"], key=lambda row: (row["sharpe"] is None, -(row["sharpe"] or 0.0))
        )
    ]
    print_table(f"Study {name}, best first", ["trial", "Sharpe", *keys], rows)
    if document["config"]:
        say(f"next: equitrade train --config {document['config']}")


def _cells(settings: dict[str, float | str], keys: list[str]) -> list[str]:
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in map(settings.get, keys)]
