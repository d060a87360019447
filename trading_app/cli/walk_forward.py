"""Retrain as time goes on, and backtest each agent on the dates after its training as one account."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, progress_bar, say
from trading_app.cli.common import (
    AgentOption,
    ConfigOption,
    DataOption,
    NameOption,
    ResumeOption,
    SeedsOption,
    SetOption,
    SignalsOption,
    StepsOption,
    TrialsOption,
    home_directory,
    settings_of,
)

app = typer.Typer(help=__doc__)

Folds = Annotated[int, typer.Option("--folds", min=2, help="Number of trainings.")]
Expanding = Annotated[
    bool,
    typer.Option(
        "--expanding", help="Train on all sessions from the first one on, instead of a moving window."
    ),
]


@app.command()
def walk_forward(
    config: ConfigOption = None,
    data: DataOption = None,
    signals: SignalsOption = None,
    agent: AgentOption = None,
    seeds: SeedsOption = None,
    steps: StepsOption = None,
    changes: SetOption = None,
    folds: Folds = 4,
    expanding: Expanding = False,
    trials: TrialsOption = None,
    name: NameOption = None,
    resume: ResumeOption = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Divide the test share of the dates into folds; train on the dates before each fold and trade within it.

    The backtest is one account over all folds, beside the baselines; `equitrade report` writes its report.
    """
    from trading_app.cli.backtest import show
    from trading_app.experiments.config import RunConfig
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.experiments.walk_forward import walk_forward_run

    state = home_directory(home)
    settings = RunConfig()
    if resume:
        if name is None:
            raise typer.BadParameter("--resume needs --name of the run")
        given = (config, data, signals, agent, seeds, steps, changes)
        if expanding or any(value is not None for value in given):
            raise typer.BadParameter("a resumed run uses its own settings; give only --name")
    else:
        settings = settings_of(config, data, agent, seeds, steps, changes, **{"data.signals": signals})
    run = walk_forward_run(
        settings, home=state, folds=folds, expanding=expanding, name=name, resume=resume, watch=_watch
    )
    say("backtesting all folds as one account")
    saved = backtest_run(run, home=state, trials=trials)
    show(dict(saved.document), as_json)
    say(f"next: equitrade report {run.name}")


def _watch(number: int, folds: int, steps: int) -> AbstractContextManager[Any]:
    return progress_bar(f"fold {number} of {folds}", steps)
