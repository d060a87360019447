"""Make the HTML report of a backtested run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from trading_app.cli.common import HomeOption, JsonOption, home_directory, print_json

app = typer.Typer(help=__doc__)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="Name or path of a run.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write RUN/report.html, a self-contained page, and print its path."""
    from trading_app.runs import open_run

    path = write_report(open_run(run, home=home_directory(home)))
    if as_json:
        print_json({"report": str(path)})
    else:
        print(path)


def write_report(run: Any) -> Any:
    """Render and write the report of a backtested run; give its path."""
    from data.atomic import atomic_write
    from trading_app.report.page import load_report_data, render_report

    atomic_write(run.report, render_report(load_report_data(run)))
    return run.report.resolve()
