"""Train and test again and again as time goes on: one account over years that no agent acting on it has seen."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, say
from trading_app.cli.common import (
    AgentOption,
    ConfigOption,
    DataOption,
    SeedsOption,
    StepsOption,
    home_directory,
    progress_bar,
    settings_of,
)

app = typer.Typer(help=__doc__)

Folds = Annotated[int, typer.Option("--folds", min=2, help="How often to train anew.")]
Expanding = Annotated[
    bool, typer.Option("--expanding", help="Train from the first session on, not on a moving window.")
]
Trials = Annotated[
    int | None,
    typer.Option("--trials", min=1, help="How many settings were tried; the configuration's count."),
]


@app.command()
def walk_forward(
    config: ConfigOption = None,
    data: DataOption = None,
    agent: AgentOption = None,
    seeds: SeedsOption = None,
    steps: StepsOption = None,
    folds: Folds = 4,
    expanding: Expanding = False,
    trials: Trials = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the run.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run named.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cut the test share of the dates into folds; train before each and act until the next takes over.

    The backtest is one account over all folds, beside the baselines; `equitrade report` makes its report.
    """
    from trading_app.cli.backtest import show
    from trading_app.experiments.config import RunConfig
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.experiments.walk_forward import walk_forward_run

    state = home_directory(home)
    settings = RunConfig()
    if resume:
        if name is None:
            raise typer.BadParameter("--resume needs the run's --name")
        if expanding or any(value is not None for value in (config, data, agent, seeds, steps)):
            raise typer.BadParameter("a resumed run keeps its own settings; give --name alone")
    else:
        settings = settings_of(config, data, agent, seeds, steps)
    run = walk_forward_run(
        settings, home=state, folds=folds, expanding=expanding, name=name, resume=resume, watch=_watch
    )
    say("backtesting all folds as one account")
    saved = backtest_run(run, home=state, trials=trials)
    show(dict(saved.document), as_json)
    say(f"equitrade report {run.name} makes the HTML report")


def _watch(number: int, folds: int, steps: int) -> AbstractContextManager[Any]:
    return progress_bar(f"fold {number} of {folds}", steps)
