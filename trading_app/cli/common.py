"""Options, settings and the progress bar of the trading commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rl_core.agents import kind_names

if TYPE_CHECKING:
    from trading_app.experiments.config import RunConfig

# Settings of training; a value that is not given comes from the environment, the file or the defaults.
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file; see the how-to on configuration.")
]
DataOption = Annotated[str | None, typer.Option("--data", help="Bundled dataset, snapshot or file.")]
AgentOption = Annotated[str | None, typer.Option("--agent", help=f"One of {', '.join(kind_names())}.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="Number of seeds to train.")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Environment steps, with one update each.")]

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name or path of a run.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Any setting, as market.rebalance=monthly; may be repeated."
    ),
]
NameOption = Annotated[str | None, typer.Option("--name", help="Name of the run.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Resume the named run from its newest checkpoint.")
]
StartOption = Annotated[str | None, typer.Option("--start", help="First date, YYYY-MM-DD.")]
EndOption = Annotated[str | None, typer.Option("--end", help="Last date, YYYY-MM-DD.")]
FillOption = Annotated[str | None, typer.Option("--fill", help="next_open or next_close.")]
SignalsOption = Annotated[
    str | None,
    typer.Option("--signals", help="Signals of one's own beside the prices, by name, separated by commas."),
]
TrialsOption = Annotated[
    int | None,
    typer.Option(
        "--trials",
        min=1,
        help="Number of settings tried, for the deflated Sharpe ratio; from the configuration by default.",
    ),
]


def home_directory(home: Path | None) -> Path:
    """Return the state directory: the option, else the environment variable or the default."""
    from data.snapshots.store import home_directory as default

    return home if home is not None else default()


def settings_of(
    config: Path | None,
    data: str | None,
    agent: str | None,
    seeds: int | None,
    steps: int | None,
    changes: Sequence[str] | None = None,
    **others: Any,
) -> RunConfig:
    """Return the configuration of a training command from its options, the environment and the file.

    Options that were not given are None. `changes` are texts KEY=VALUE, which come before other options; `others` are
    further options by the path of their key, as ``{"market.fill": fill}``.
    """
    import os

    from trading_app.experiments.config import load_config

    named = {"data.name": data, "sac.agent": agent, "training.seeds": seeds, "training.steps": steps}
    return load_config(config, os.environ, {**named, **others, **changes_of(changes)})


def changes_of(texts: Sequence[str] | None) -> dict[str, str]:
    """Return the settings that texts KEY=VALUE of --set change, by key."""
    found = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or "." not in key:
            raise typer.BadParameter(f"--set {text}: give section.key=value, as market.rebalance=monthly")
        found[key.strip()] = value.strip()
    return found


def measure_cells(entry: Mapping[str, Any], measures: Sequence[str]) -> list[str]:
    """Return measures of a strategy as text, the Sharpe ratio with its interval."""
    from trading_app.evaluation.labels import format_measure

    cells = {measure: format_measure(measure, entry["metrics"].get(measure)) for measure in measures}
    if entry["intervals"].get("sharpe"):
        low, high = (format_measure("sharpe", bound) for bound in entry["intervals"]["sharpe"])
        cells["sharpe"] += f" ({low} … {high})"
    return list(cells.values())


def signed(value: float) -> str:
    """Return a number with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "−")
