"""Search features, signals, environment and policies for look-ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, working
from trading_app.cli.common import ConfigOption, SignalsOption, home_directory, settings_of

if TYPE_CHECKING:
    from trading_app.lookahead.findings import LookaheadReport

app = typer.Typer(help=__doc__)

RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Name or path of a run.")]
Data = Annotated[str | None, typer.Option("--data", help="Prices, instead of a run.")]
Days = Annotated[
    int, typer.Option("--days", min=1, max=500, help="Sessions after which the future is changed.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option("--allow", help="Signal NAME:COLUMN that is known in advance, such as scheduled events."),
]


@app.command()
def check_lookahead(
    run: RunName = None,
    data: Data = None,
    signals: SignalsOption = None,
    config: ConfigOption = None,
    days: Days = 8,
    allow: Allow = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for knowledge of the future in a run, or in prices and signals.

    Later prices and signals are changed: no feature, observation or decision up to then may change. The values of own
    signals are tested by their correlation with later returns. The exit code is 2 if something is found.
    """
    from trading_app.lookahead.check import check_data, check_run
    from trading_app.runs.run import open_run

    if (run is None) == (data is None and config is None):
        raise typer.BadParameter("give either a run, or --data NAME (with --signals NAME)")
    state, allowed = home_directory(home), tuple(allow or ())
    if run is not None:
        if signals is not None:
            raise typer.BadParameter("a run has its own signals: no --signals")
        found = open_run(run, home=state)
        with working(f"checking {found.called(state)}"):
            report = check_run(found, state, days=days, allowed=allowed)
    else:
        settings = settings_of(config, data, None, None, None, **{"data.signals": signals})
        with working(f"checking {settings.data.name}"):
            report = check_data(settings, state, days=days, allowed=allowed)
    if as_json:
        print_json(report.to_dict())
    else:
        show(report)
    if not report.clean:
        raise typer.Exit(2)


def show(report: LookaheadReport) -> None:
    """Print a report as text."""
    checked = report.checked
    print(
        f"{report.subject}: {len(checked['features'])} features, the environment and {', '.join(checked['policies'])}; "
        f"the future changed after {len(checked['sessions'])} sessions, {checked['sessions'][0]} to "
        f"{checked['sessions'][-1]}"
    )
    if report.signals:
        rows = [
            [
                name,
                f"{entry['signal']} with {entry['target']}, {entry['ahead']} ahead",
                f"{entry['correlation']:+.2f}",
                f"{entry['later']:+.2f}",
                f"{entry['z']:+.1f}",
                ("leak, allowed" if name in report.allowed else "leak") if entry["leak"] else "no leak",
            ]
            for name, entry in report.signals.items()
        ]
        heads = ["signal", "strongest association", "correlation", "a session later", "z", ""]
        print_table("Own signals and later returns", heads, rows, None)
    for leak in report.leaks:
        print(f"found: {leak}")
    if report.clean:
        print("nothing found: no value up to those sessions depends on later prices")
