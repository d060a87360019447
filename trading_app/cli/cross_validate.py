"""Cross-validate the choice of the best of several strategies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, working
from trading_app.cli.common import (
    ConfigOption,
    DataOption,
    EndOption,
    StartOption,
    home_directory,
    settings_of,
    signed,
)

app = typer.Typer(help=__doc__)

Study = Annotated[
    str | None,
    typer.Option("--study", help="Name of a study of `equitrade tune`: its trials, on validation dates."),
]
ReturnsFile = Annotated[
    Path | None, typer.Option("--returns", help="CSV or Parquet file of returns, date × configuration.")
]
Folds = Annotated[int, typer.Option("--folds", min=3, help="Folds that the dates are cut into.")]
TestFolds = Annotated[int, typer.Option("--test-folds", min=2, help="Folds that are test dates in a split.")]


@app.command()
def cross_validate(
    study: Study = None,
    returns: ReturnsFile = None,
    data: DataOption = None,
    config: ConfigOption = None,
    start: StartOption = None,
    end: EndOption = None,
    folds: Folds = 10,
    test_folds: TestFolds = 2,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the best of several strategies on some dates and test it on others, in all combinations of folds.

    The strategies are the baselines on --data, the trials of a --study, or the columns of a --returns file. Prints the
    probability that the choice is overfitted, and the Sharpe ratios that it reaches on dates that did not choose.
    Nothing is trained again.
    """
    from trading_app.experiments.cross_validation import baseline_returns, cross_validation_document

    if study is not None and returns is not None:
        raise typer.BadParameter("give either --study NAME or --returns FILE")
    if (study or returns) and any(option is not None for option in (data, config, start, end)):
        raise typer.BadParameter(
            "--data, --config, --start and --end are for baselines, not for --study or --returns"
        )
    state = home_directory(home)
    settings = settings_of(config, data, None, None, None)
    options: dict[str, Any] = {
        "folds": folds,
        "test_folds": test_folds,
        "purge": settings.split.purge,
        "embargo": settings.split.embargo,
    }
    with working("cross-validating"):
        if study is not None:
            from trading_app.experiments.tuning import trial_returns

            source, table = f"study {study}", trial_returns(state / "tuning" / study)
        elif returns is not None:
            from trading_app.files import read_returns

            source, table = str(returns), read_returns(returns)
        else:
            source = f"baselines on {settings.data.name}"
            table = baseline_returns(settings, state, start=start, end=end)
            options["periods"] = settings.costs.periods
        # The session before the first return is not known: its rate is taken to be that of the next one.
        dates = pd.DatetimeIndex(table.index)
        options["risk_free"] = settings.costs.risk_free_of(dates.insert(0, dates[0]))
        document = cross_validation_document(table, source, **options)
    if as_json:
        print_json(document)
    else:
        show(document)


def show(document: dict[str, Any]) -> None:
    """Print each strategy, and what the choice among them is worth."""
    from trading_app.report.verdict import percent_chance

    rows = [
        [name, "" if entry["sharpe"] is None else signed(entry["sharpe"]), f"{100 * entry['chosen']:.0f} %"]
        for name, entry in document["configurations"].items()
    ]
    title = f"{document['source']}, {document['start']} to {document['end']}, {document['splits']} splits"
    print_table(title, ["strategy", "Sharpe", "chosen"], rows)
    found, paths = document["overfitting"], [path for path in document["paths"] if path is not None]
    if paths:
        print(
            f"Chosen on other dates, the best one has Sharpe ratios of {signed(min(paths))} to {signed(max(paths))} on "
            f"{len(paths)} paths, {signed(document['path_median'])} in the middle."
        )
    print(
        f"The best one on half of the dates is below the median on the other half with probability "
        f"{percent_chance(found['probability'])} (probability of backtest overfitting); its Sharpe ratio falls from "
        f"{signed(found['chosen'])} to {signed(found['achieved'])}."
    )
