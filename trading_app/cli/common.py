"""What the trading commands share: options, consoles, JSON output and the progress bar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rl_core.training import Progress
    from trading_app.experiments.config import RunConfig

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="TOML file; see the how-to on configuration.")
]
DataOption = Annotated[str | None, typer.Option("--data", help="Bundled dataset, snapshot or file.")]
AgentOption = Annotated[str | None, typer.Option("--agent", help="dense, exact, relaxed, rpp or augmented.")]
SeedsOption = Annotated[int | None, typer.Option("--seeds", help="How many seeds to train.")]
StepsOption = Annotated[
    int | None, typer.Option("--steps", help="Steps of the environments, an update each.")
]


def home_directory(home: Path | None) -> Path:
    """The state directory: the option, else the environment's or the default."""
    from data.snapshots.store import home_directory as default

    return home if home is not None else default()


def settings_of(
    config: Path | None,
    data: str | None,
    agent: str | None,
    seeds: int | None,
    steps: int | None,
    **others: Any,
) -> RunConfig:
    """The configuration that a training command's options, the environment and the file make together.

    Further options come by the path of their key, ``{"market.fill": fill}``; those that were not given are None.
    """
    import os

    from trading_app.experiments.config import load_config

    named = {"data.name": data, "sac.agent": agent, "training.seeds": seeds, "training.steps": steps}
    return load_config(config, os.environ, {**named, **others})


def signed(value: float) -> str:
    """A difference with its sign and two decimals."""
    return f"{value:+.2f}".replace("-", "−")


@contextmanager
def progress_bar(label: str, total: int) -> Iterator[Any]:
    """A Rich bar on standard error; gives a callback for `rl_core.training`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps,"),
        TimeRemainingColumn(),
        TextColumn("left  {task.fields[latest]}"),
    )
    bar = Bar(*columns, console=Console(stderr=True))
    task = bar.add_task(label, total=total, latest="")

    def update(progress: Progress) -> None:
        # Begun only now, so that bad input is answered by its reason alone.
        bar.start()
        bar.update(task, completed=progress.step, latest=latest(progress.evaluation))

    try:
        yield update
    finally:
        bar.stop()


def latest(evaluation: Mapping[str, Any] | None) -> str:
    """The newest evaluation as a few words, averaged over seeds."""
    if not evaluation:
        return ""
    parts = []
    for name, values in evaluation.items():
        mean = sum(float(v) for v in values) / len(values)
        parts.append(f"{name.replace('_', ' ')} {mean:.3g}")
    return ", ".join(parts[:2])
