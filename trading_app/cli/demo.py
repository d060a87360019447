"""Train, backtest and report on bundled real prices, end to end."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from equitrade.console import HomeOption, JsonOption, print_json, say
from trading_app.cli.common import home_directory

app = typer.Typer(help=__doc__)


@app.command()
def demo(
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the run; by default demo, demo-2, …")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a relaxed agent on 20 S&P 500 stocks, backtest it out of sample beside baselines, write the report.

    Takes a few minutes on two cores; prints the path of report.html. Settings come from the defaults and the
    environment, as for `equitrade train`.
    """
    from trading_app.cli.backtest import show
    from trading_app.cli.train import run_training
    from trading_app.experiments.config import load_config
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.report.page import write_report
    from trading_app.runs.run import open_run, unused_name

    state = home_directory(home)
    settings = load_config(None, os.environ)
    summary = run_training(settings, state, name or unused_name(state, "demo"), None, resume=False)
    run = open_run(summary["path"], home=state)
    say("backtesting out of sample")
    # Three default settings were tried on these data, later fifteen more on dates before the test dates; the deflated
    # Sharpe ratio counts all of them.
    saved = backtest_run(run, home=state, trials=18)
    path = write_report(run).resolve()
    if as_json:
        print_json({**summary, "report": str(path), "evidence": dict(saved.document)})
        return
    show(dict(saved.document), as_json=False)
    print(path)
