"""Backtest a trained run or a baseline, out of sample and after costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, say, working
from trading_app.cli.common import (
    ConfigOption,
    EndOption,
    FillOption,
    SignalsOption,
    StartOption,
    TrialsOption,
    home_directory,
    measure_cells,
    settings_of,
)

if TYPE_CHECKING:
    from trading_app.experiments.config import RunConfig

app = typer.Typer(help=__doc__)

RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Name or path of a run.")]
Strategy = Annotated[str | None, typer.Option("--strategy", help="Name of a baseline, instead of a run.")]
Weights = Annotated[
    Path | None,
    typer.Option("--weights", help="CSV or Parquet file of target weights, date × symbol, instead of a run."),
]
Data = Annotated[str | None, typer.Option("--data", help="Prices; for a run, its own by default.")]
CostsBps = Annotated[
    float | None,
    typer.Option("--costs-bps", help="Commission plus half-spread, in basis points of the value traded."),
]
RiskFree = Annotated[
    str | None,
    typer.Option(
        "--risk-free",
        help="Yearly rate of cash as a fraction, or a file (or dataset) of dated ones; not for a run.",
    ),
]
Periods = Annotated[
    int | None,
    typer.Option("--periods", help="Sessions a year; found from the dates by default; not for a run."),
]
Against = Annotated[
    str | None,
    typer.Option(
        "--against", help="Baseline to measure a strategy or weights against, as equal-weight; not for a run."
    ),
]

COLUMNS = ("cagr", "volatility", "sharpe", "max_drawdown", "turnover")


@app.command()
def backtest(
    run: RunName = None,
    strategy: Strategy = None,
    weights: Weights = None,
    config: ConfigOption = None,
    data: Data = None,
    signals: SignalsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    costs_bps: CostsBps = None,
    risk_free: RiskFree = None,
    periods: Periods = None,
    fill: FillOption = None,
    trials: TrialsOption = None,
    against: Against = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Backtest a trained run (its ensemble, each seed and the baselines), one baseline, or weights from a file.

    Decisions are taken at each close and filled at the next open or close, with costs. A run has its own
    configuration; for a baseline or weights, options come before the environment (EQUITRADE_COSTS__PERIODS=52), the
    --config file and the defaults. Other data, dates, costs or fills than a run's are a what-if backtest, saved beside
    the run's own evidence.
    """
    if sum(given is not None for given in (run, strategy, weights)) != 1:
        raise typer.BadParameter("give either a run, --strategy NAME or --weights FILE")
    state = home_directory(home)
    if run is None:
        if trials is not None:
            raise typer.BadParameter("--trials is for a run only")
        changes: dict[str, Any] = {
            "market.fill": fill,
            "costs.periods": periods,
            "data.signals": signals,
            **_rate_changes(risk_free),
        }
        settings = settings_of(config, data, None, None, None, **changes)
        with working(f"backtesting {strategy or weights}"):
            document = backtest_weights(
                strategy or weights, settings, state, start, end, costs_bps, against=against
            )
    else:
        from trading_app.experiments.out_of_sample import backtest_run
        from trading_app.runs.run import open_run

        if any(value is not None for value in (config, signals, risk_free, periods, against)):
            raise typer.BadParameter(
                "a run has its own settings and reference: no --config, --signals, --risk-free, --periods or --against"
            )
        found = open_run(run, home=state)
        options = {"data": data, "start": start, "end": end, "costs_bps": costs_bps, "fill": fill}
        with working(f"backtesting {found.called(state)} beside the baselines"):
            saved = backtest_run(found, home=state, trials=trials, **options)  # type: ignore[arg-type]
        document = dict(saved.document)
        if saved.path == found.path:
            say(f"next: equitrade report {found.called(state)}")
        else:
            say(f"what-if: saved in {saved.path}; the run's own evidence is unchanged")
    show(document, as_json)


def _rate_changes(risk_free: str | None) -> dict[str, Any]:
    """Return changes of settings to one rate, or to a file of dated rates."""
    if risk_free is None:
        return {}
    try:
        rate = float(risk_free)
    except ValueError:
        return {"costs.risk_free_file": risk_free, "costs.risk_free_rates": {}}
    return {"costs.risk_free": rate, "costs.risk_free_file": "", "costs.risk_free_rates": {}}


def backtest_weights(
    source: str | Path | None,
    config: RunConfig,
    home: Path,
    start: str | None,
    end: str | None,
    costs_bps: float | None,
    *,
    against: str | None = None,
) -> dict[str, Any]:
    """Return the evidence document of one baseline, or of the weights in a file, beside the baseline `against`."""
    from trading_app.backtesting.backtest import backtest as run_backtest
    from trading_app.backtesting.baselines import Terms, baseline, baseline_targets
    from trading_app.backtesting.summary import evidence
    from trading_app.experiments.out_of_sample import with_costs
    from trading_app.experiments.training import prices_of
    from trading_app.files import read_weights

    for named in (source, against):
        if isinstance(named, str):
            baseline(named)  # an unknown name is refused before prices are read
    prices, costs = prices_of(config, home), with_costs(config.costs, costs_bps)
    terms = Terms(config.market, costs)
    if isinstance(source, str):
        name, weights = source, baseline_targets(source, prices, start, end, terms)
    else:
        name, weights = Path(str(source)).stem, read_weights(Path(str(source)), prices.symbols)
    strategies = {name: weights}
    if against is not None:
        if against == name:
            raise typer.BadParameter(f"--against {against}: name another baseline than the strategy")
        strategies[against] = baseline_targets(against, prices, start, end, terms)
    results = run_backtest(
        prices,
        strategies,
        costs=costs,
        start=start,
        end=end,
        fill=config.market.fill,
        delist_after=config.market.delist_after,
        delisting_return=config.market.delisting_return,
        partial_orders=isinstance(source, str) or against is not None,
    )
    return evidence(results) if against is None else evidence(results, reference=against, subject=name)


def show(document: dict[str, Any], as_json: bool) -> None:
    """Print a backtest's evidence as JSON, or as a table with intervals and the verdict."""
    if as_json:
        print_json(document)
        return
    from trading_app.backtesting.summary import AGENT
    from trading_app.evaluation.labels import MEASURES
    from trading_app.report.tables import evidence_table
    from trading_app.report.verdict import verdict

    rows = [[name, *measure_cells(entry, COLUMNS)] for name, entry in document["strategies"].items()]
    title = (
        f"{document['data']['name']}, {document['start']} to {document['end']}, fill {document['fill']}, "
        f"{document['periods']} sessions a year"
    )
    caption = "\n".join(document["notes"]) or None
    print_table(title, ["strategy", *(MEASURES[m].label for m in COLUMNS)], rows, caption)
    if table := evidence_table(document):
        cells = [[head, value.text, value.note] for head, (value, *_) in table.rows]
        print_table(table.caption, ["figure", "value", "interval"], cells)
    if AGENT in document["strategies"]:
        found = verdict(document)
        print(found.sentence)
        if found.agreement:
            print(found.agreement)
