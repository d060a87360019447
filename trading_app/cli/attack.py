"""Attack a run, or prices with signals, where the right answer is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, working
from trading_app.cli.common import ConfigOption, SignalsOption, home_directory, settings_of

if TYPE_CHECKING:
    from trading_app.attack.findings import AttackReport

app = typer.Typer(help=__doc__)

RunName = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Name or path of a run.")]
Data = Annotated[str | None, typer.Option("--data", help="Prices, instead of a run.")]
Draws = Annotated[
    int, typer.Option("--draws", min=1, max=100, help="Draws of placebo prices and of planted signals.")
]


@app.command()
def attack(
    run: RunName = None,
    data: Data = None,
    signals: SignalsOption = None,
    config: ConfigOption = None,
    draws: Draws = 4,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change prices so that the right answer is known, and compare: placebo, planted, permuted, mirrored, rescaled.

    A run's stored policy is attacked on its test dates, without training; with --data, the features of prices and
    signals, the baselines and the backtest are. The exit code is 1 if an attack fails.
    """
    from trading_app.attack.attack import attack_data, attack_run
    from trading_app.runs.run import open_run

    if (run is None) == (data is None and config is None):
        raise typer.BadParameter("give either a run, or --data NAME (with --signals NAME)")
    state = home_directory(home)
    if run is not None:
        if signals is not None:
            raise typer.BadParameter("a run has its own signals: no --signals")
        found = open_run(run, home=state)
        with working(f"attacking {found.called(state)}"):
            report = attack_run(found, state, draws=draws)
    else:
        settings = settings_of(config, data, None, None, None, **{"data.signals": signals})
        with working(f"attacking {settings.data.name}"):
            report = attack_data(settings, state, draws=draws)
    if as_json:
        print_json(report.to_dict())
    else:
        show(report)
    if not report.passed:
        raise typer.Exit(1)


def show(report: AttackReport) -> None:
    """Print a report as a table."""
    rows = [[attack.name, attack.expected, attack.found, attack.verdict] for attack in report.attacks]
    title = f"Attacks on {report.subject}, {report.data}, {report.start} to {report.end}"
    failed = [attack.name for attack in report.attacks if attack.passed is False]
    caption = f"failed: {', '.join(failed)}" if failed else "no attack failed"
    print_table(title, ["attack", "expected", "found", ""], rows, caption)
