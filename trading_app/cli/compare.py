"""Compare backtested runs and test their differences."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table
from trading_app.cli.common import home_directory, measure_cells, signed

app = typer.Typer(help=__doc__)


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…", help="Names or paths of runs; the others are compared with the first."
        ),
    ],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure runs and their baselines on their common dates, with intervals, and test them against the first run."""
    from trading_app.experiments.comparison import compare_runs
    from trading_app.runs.run import open_run

    state = home_directory(home)
    document = compare_runs([open_run(name, home=state) for name in runs])
    if as_json:
        print_json(document)
    else:
        show(document)


def show(document: dict[str, Any]) -> None:
    """Print a comparison as a table: measures, and the difference in Sharpe ratio from the first run."""
    from trading_app.evaluation.labels import MEASURES

    against = {row["baseline"]: row for row in document["comparisons"]}
    measures = ("cagr", "volatility", "sharpe", "max_drawdown")
    first = next(iter(document["strategies"]))
    rows = []
    for name, entry in document["strategies"].items():
        row = against.get(name)
        # The stored comparison is first minus this one; shown is this one minus first.
        ahead = "" if row is None else signed(-row["sharpe_high"]) + " … " + signed(-row["sharpe_low"])
        rows.append([name, *measure_cells(entry, measures), ahead])
    caption = list(document["notes"])
    if document["spa"]:
        p = document["spa"]["consistent"]
        caption.append(f"SPA test of a higher mean return than {first} among the others: p = {p:.3f}")
    columns = ["strategy", *(MEASURES[m].label for m in measures), f"Sharpe minus {first}"]
    print_table(f"{document['start']} to {document['end']}", columns, rows, "\n".join(caption) or None)
