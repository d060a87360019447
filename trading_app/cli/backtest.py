"""Backtest a trained run or a baseline, out of sample and after costs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, say, working
from trading_app.cli.common import EndOption, FillOption, StartOption, TrialsOption, home_directory

app = typer.Typer(help=__doc__)

RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Name or path of a run.")]
Strategy = Annotated[str | None, typer.Option("--strategy", help="Name of a baseline, instead of a run.")]
Data = Annotated[str | None, typer.Option("--data", help="Prices; for a run, its own by default.")]
CostsBps = Annotated[
    float | None,
    typer.Option("--costs-bps", help="Commission plus half-spread, in basis points of the value traded."),
]

COLUMNS = ("cagr", "volatility", "sharpe", "max_drawdown", "turnover")


@app.command()
def backtest(
    run: RunName = None,
    strategy: Strategy = None,
    data: Data = None,
    start: StartOption = None,
    end: EndOption = None,
    costs_bps: CostsBps = None,
    fill: FillOption = None,
    trials: TrialsOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Backtest a trained run (its ensemble, each seed and the baselines) or one baseline.

    Decisions are taken at each close and filled at the next open or close, with costs.
    """
    if (run is None) == (strategy is None):
        raise typer.BadParameter("give either a run or --strategy NAME")
    state = home_directory(home)
    if strategy is not None:
        with working(f"backtesting {strategy}"):
            document = backtest_baseline(strategy, data or "sp500-20", state, start, end, costs_bps, fill)
    else:
        from trading_app.experiments.out_of_sample import backtest_run
        from trading_app.runs.run import open_run

        found = open_run(str(run), home=state)
        options = {"data": data, "start": start, "end": end, "costs_bps": costs_bps, "fill": fill}
        with working(f"backtesting {found.called(state)} beside the baselines"):
            saved = backtest_run(found, home=state, trials=trials, **options)  # type: ignore[arg-type]
        document = dict(saved.document)
        if saved.path == found.path:
            say(f"next: equitrade report {found.called(state)}")
        else:
            say(f"what-if: saved in {saved.path}; the run's own evidence is unchanged")
    show(document, as_json)


def backtest_baseline(
    strategy: str,
    data: str,
    home: Any,
    start: str | None,
    end: str | None,
    costs_bps: float | None,
    fill: str | None,
) -> dict[str, Any]:
    """Return the evidence document of one baseline."""
    from data.errors import DataError
    from data.loading import load_prices
    from trading_app.backtesting.backtest import backtest as run_backtest
    from trading_app.backtesting.baselines import BASELINES
    from trading_app.backtesting.summary import evidence
    from trading_app.experiments.out_of_sample import with_costs
    from trading_app.market.costs import CostModel

    if strategy not in BASELINES:
        raise DataError(f"strategy {strategy!r} not found; available: {', '.join(BASELINES)}")
    prices = load_prices(data, home=home)
    weights = BASELINES[strategy](prices, start, end)
    results = run_backtest(
        prices, {strategy: weights}, costs=with_costs(CostModel(), costs_bps), fill=fill, start=start, end=end
    )
    return evidence(results)


def show(document: dict[str, Any], as_json: bool) -> None:
    """Print a backtest's evidence as JSON or as a table with intervals."""
    if as_json:
        print_json(document)
        return
    from trading_app.evaluation.labels import MEASURES, format_measure

    rows = []
    for name, entry in document["strategies"].items():
        cells = []
        for measure in COLUMNS:
            text = format_measure(measure, entry["metrics"].get(measure))
            interval = entry["intervals"].get(measure)
            if interval and measure == "sharpe":
                low, high = (format_measure(measure, bound) for bound in interval)
                text += f" ({low} … {high})"
            cells.append(text)
        rows.append([name, *cells])
    title = f"{document['data']['name']}, {document['start']} to {document['end']}, fill {document['fill']}"
    caption = "\n".join(document["notes"]) or None
    print_table(title, ["strategy", *(MEASURES[m].label for m in COLUMNS)], rows, caption)
