"""Write the HTML report of a backtested run."""

from __future__ import annotations

import typer

from equitrade.console import HomeOption, JsonOption, show
from trading_app.cli.common import RunArgument, home_directory

app = typer.Typer(help=__doc__)


@app.command()
def report(
    run: RunArgument,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write RUN/report.html, a self-contained page, and print its path."""
    from trading_app.report.page import write_report
    from trading_app.runs.run import open_run

    path = str(write_report(open_run(run, home=home_directory(home))).resolve())
    show(as_json, {"report": path}, [path])
