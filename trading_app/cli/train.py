"""Train an agent with several seeds; resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, progress_bar, say, show
from trading_app.cli.common import (
    AgentOption,
    ConfigOption,
    DataOption,
    FillOption,
    NameOption,
    ResumeOption,
    SeedsOption,
    SetOption,
    SignalsOption,
    StepsOption,
    home_directory,
    settings_of,
)

app = typer.Typer(help=__doc__)

Actions = Annotated[str | None, typer.Option("--actions", help="long-short, long-only or tilt.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu or cuda.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Directory of the run; by default one under the home directory.")
]


@app.command()
def train(
    config: ConfigOption = None,
    data: DataOption = None,
    signals: SignalsOption = None,
    agent: AgentOption = None,
    seeds: SeedsOption = None,
    steps: StepsOption = None,
    actions: Actions = None,
    fill: FillOption = None,
    device: Device = None,
    changes: SetOption = None,
    name: NameOption = None,
    out: Out = None,
    resume: ResumeOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train an agent on prices; every run trains several seeds at once.

    Order of precedence: command line, environment (EQUITRADE_SAC__WIDTH=128), --config file, defaults.
    """
    from trading_app.experiments.config import stored_config
    from trading_app.runs.run import open_run

    state = home_directory(home)
    if resume:
        if name is None and out is None:
            raise typer.BadParameter("--resume needs --name or --out of the run")
        given = (config, data, signals, agent, seeds, steps, actions, fill, device, changes)
        if any(value is not None for value in given):
            raise typer.BadParameter("a resumed run uses its own settings; give only --name or --out")
        run = open_run(out if out is not None else str(name), home=state)
        settings = stored_config(run.path)
    else:
        others = {
            "sac.device": device,
            "market.actions": actions,
            "market.fill": fill,
            "data.signals": signals,
        }
        settings = settings_of(config, data, agent, seeds, steps, changes, **others)
    summary = run_training(settings, state, name, out, resume)
    show(as_json, summary, [summary["path"]])


def run_training(
    settings: Any, home: Path, name: str | None, out: Path | None, resume: bool
) -> dict[str, Any]:
    """Train with a progress bar and return a summary of the run."""
    from trading_app.experiments.training import train_run

    label = f"{settings.sac.agent}, {settings.training.seeds} seeds"
    with progress_bar(label, settings.training.steps) as update:
        run, result = train_run(
            settings, home=home, name=name, directory=out, resume=resume, on_progress=update
        )
    diverged = run.manifest.get("diverged")
    if diverged and not result.stopped:
        say(f"diverged and kept as they were before: seeds {diverged}; lower sac.critic_lr and sac.actor_lr")
    if result.stopped:
        say(f"training stopped early: {result.stopped}")
    else:
        say(f"next: equitrade backtest {run.called(home)}")
    return {"run": run.name, "path": str(run.path), "stopped": result.stopped, "seeds": run.seeds}
