"""Compare kinds of agents on several datasets, walk-forward, beside the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from equitrade.console import HomeOption, JsonOption, print_json, print_table, progress_bar, say
from trading_app.cli.common import SeedsOption, SetOption, StepsOption, changes_of, home_directory, signed

if TYPE_CHECKING:
    from trading_app.study.design import Unit

app = typer.Typer(help=__doc__)

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Datasets, separated by commas; NAME+SIGNALS for prices with signals, planted-0 for a simulated panel.",
        show_default="sp500-20,factors-5,industries,planted-0",
    ),
]
Agents = Annotated[
    str | None,
    typer.Option(
        "--agents",
        help="Kinds of agents, separated by commas.",
        show_default="dense,exact,relaxed,gated,direct",
    ),
]
Folds = Annotated[int, typer.Option("--folds", min=2, help="Number of trainings of each agent.")]
Expanding = Annotated[bool, typer.Option("--expanding", help="Train on all sessions from the first one on.")]
Candidates = Annotated[
    Path | None,
    typer.Option("--candidates", help="TOML or JSON file of settings to choose among on validation dates."),
]
Name = Annotated[str, typer.Option("--name", help="Name of the study; with --page also its path.")]
Page = Annotated[
    Path | None,
    typer.Option("--page", help="Write a page of the stored results to this file; nothing is run."),
]


@app.command()
def study(
    name: Name = "study",
    data: Data = None,
    agents: Agents = None,
    seeds: SeedsOption = None,
    folds: Folds = 4,
    expanding: Expanding = False,
    steps: StepsOption = None,
    changes: SetOption = None,
    candidates: Candidates = None,
    page: Page = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train several kinds of agents on several datasets, and answer which is better, with intervals.

    Each agent on each dataset is a walk-forward run and its backtest; costs are 10 basis points and seeds ten, unless
    options say otherwise. The same command continues a study that was stopped. Writes studies/NAME/study.json.
    """
    import os

    from trading_app.study.candidates import read_candidates
    from trading_app.study.design import DEFAULT_AGENTS, DEFAULT_DATA, design_study
    from trading_app.study.run import run_study, study_path

    state = home_directory(home)
    if page is not None:
        from trading_app.study.page import write_page

        if expanding or any(value is not None for value in (data, agents, seeds, steps, changes, candidates)):
            raise typer.BadParameter("--page shows what is stored; give only --name")
        write_page(study_path(state, name), page)
        print(page.resolve())
        return
    design = design_study(
        DEFAULT_DATA if data is None else data.split(","),
        DEFAULT_AGENTS if agents is None else [agent.strip() for agent in agents.split(",")],
        folds=folds,
        expanding=expanding,
        settings={"training.seeds": seeds, "training.steps": steps, **changes_of(changes)},
        environment=os.environ,
        candidates=None if candidates is None else read_candidates(candidates),
    )
    document = run_study(
        design, home=state, name=name, watch=_watch, on_unit=_announce, on_trial=_report_trial
    )
    if as_json:
        print_json(document)
    else:
        show(document)
        say(f"next: equitrade study --name {name} --page study.md")


def _watch(number: int, folds: int, steps: int) -> AbstractContextManager[Any]:
    return progress_bar(f"fold {number} of {folds}", steps)


def _announce(unit: Unit, number: int, count: int) -> None:
    say(f"unit {number} of {count}: {unit.agent} on {unit.dataset.label}")


def _report_trial(name: str, sharpe: float | None) -> None:
    say(f"candidate {name}: {'diverged' if sharpe is None else f'validation Sharpe {signed(sharpe)}'}")


def show(document: dict[str, Any]) -> None:
    """Print the results of the units and the answers."""
    from trading_app.study.tables import DATASET_COLUMNS, UNIT_COLUMNS, dataset_rows, unit_rows

    done, missing = len(document["done"]), len(document["missing"])
    title = f"Study {document['study']}: {done} of {done + missing} units"
    _print_columns(title, UNIT_COLUMNS, unit_rows(document), (0, 1, 2, 3, 4, 7, 9))
    title = f"Net Sharpe ratio of {document['design']['subject']} minus that of the other"
    _print_columns(title, DATASET_COLUMNS, dataset_rows(document), (0, 1, 2, 6, 7))
    for record in document["overall"] or document["comparisons"]:
        print(record["sentence"])


def _print_columns(title: str, names: Sequence[str], rows: list[list[str]], chosen: Sequence[int]) -> None:
    """Print the columns of a table that fit into a terminal; the page has all of them."""
    print_table(title, [names[k] for k in chosen], [[row[k] for k in chosen] for row in rows])
