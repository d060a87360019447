"""The page *Compare*: runs and baselines side by side, with intervals, p-values and number of trials."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from fastapi import Depends, Query, Request, Response

from service.api.dependencies import StateDep
from service.core.problems import Problem
from service.dashboard.figures import PageFigure, figure_file, gallery
from service.dashboard.layout import page_router
from service.dashboard.pages.login import LoggedIn
from service.dashboard.render import page
from service.dashboard.views.run import backtested_at, measures
from service.dashboard.views.selection import Zoom
from service.state import State
from trading_app.backtesting.summary import AGENT, kind_of
from trading_app.evaluation.labels import MEASURES, format_measure, format_number
from trading_app.files import RunError
from trading_app.report.figures import comparison as figures
from trading_app.report.tables import Cell, Table, interval_text
from trading_app.report.theme import Focus, label_of
from trading_app.report.verdict import p_value, percent_chance, verdict
from trading_app.runs.backtests import SavedBacktest, load_backtest
from trading_app.runs.run import Run

PATH, TITLE = "/dashboard/compare", "Compare"
router = page_router()

#: Runs shown before anybody chose, the most that a page takes, and the measures of the table.
DEFAULT, MOST = 4, 20
MEASURED = ("sharpe", "cagr", "volatility", "max_drawdown", "turnover")


@dataclass(frozen=True)
class Choice:
    """Choices in the address: runs, baselines, measure and scale."""

    runs: tuple[str, ...]
    baselines: tuple[str, ...] | None
    measure: str
    scale: str


def _choice(
    run: Annotated[list[str], Query(default_factory=list, max_length=MOST)],
    baseline: Annotated[list[str], Query(default_factory=list, max_length=MOST)],
    measure: str = "sharpe",
    scale: str = "log",
) -> Choice:
    if measure not in MEASURES:
        raise Problem(
            "invalid-request", f"measure {measure[:40]!r}: unknown; there are {', '.join(MEASURES)}"
        )
    return Choice(tuple(dict.fromkeys(run)), tuple(baseline) or None, measure, scale)


ChoiceDep = Annotated[Choice, Depends(_choice)]


@dataclass(frozen=True)
class Compared:
    """The backtests that were chosen, by run; baselines, of the first run that has them; and sentences on the rest."""

    backtests: dict[str, SavedBacktest]
    baselines: dict[str, SavedBacktest] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def equity(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Agents of the runs and baselines over the dates that all have, each starting at 1."""
        own = {name: saved.equity[_subject(saved)] for name, saved in self.backtests.items()}
        base = {name: saved.equity[name] for name, saved in self.baselines.items()}
        table = pd.concat(
            {**{f"r:{k}": v for k, v in own.items()}, **{f"b:{k}": v for k, v in base.items()}}, axis=1
        )
        table = table.dropna()
        table = table / table.iloc[0] if len(table) else table
        runs = table[[f"r:{name}" for name in own]].set_axis(list(own), axis=1)
        return runs, table[[f"b:{name}" for name in base]].set_axis(list(base), axis=1)

    @property
    def entries(self) -> dict[str, Any]:
        """Name → measures and intervals, the runs first."""
        own = {n: s.document["strategies"][_subject(s)] for n, s in self.backtests.items()}
        return own | {n: s.document["strategies"][n] for n, s in self.baselines.items() if n not in own}


@router.get(PATH)
async def compare(request: Request, state: StateDep, _session: LoggedIn, choice: ChoiceDep) -> Response:
    """Show the runs that the address names, or the newest ones."""
    return page(request, "compare.html", await state.run(_context, state, choice))


@router.get("/dashboard/compare/figures/{file}")
async def compare_figure(
    file: str, request: Request, state: StateDep, _session: LoggedIn, choice: ChoiceDep, zoom: Zoom
) -> Response:
    """Answer with one figure of a comparison, or its data."""
    return await state.run(
        lambda: figure_file(request, _figures(_compared(state, choice, state.runs()), choice, zoom), file)
    )


def _context(state: State, choice: Choice) -> dict[str, Any]:
    runs = state.runs()
    compared = _compared(state, choice, runs)
    context = {
        "choice": choice,
        "compared": compared,
        "runs": [
            (run.name, run.name in compared.backtests, (run.path / "metrics.json").exists()) for run in runs
        ],
        "measures": [(name, about.label) for name, about in MEASURES.items()],
        "baselines": [],
    }
    if not compared.backtests:
        return context
    known = dict.fromkeys(
        b for s in compared.backtests.values() for b in s.strategies if kind_of(b) == "baseline"
    )
    view: dict[str, str | list[str]] = {
        "run": list(compared.backtests),
        "baseline": list(compared.baselines),
        "measure": choice.measure,
    }
    return context | {
        "baselines": [(name, label_of(name), name in compared.baselines) for name in known],
        "gallery": gallery(_figures(compared, choice), f"{PATH}/figures", **view),
        "table": _table(compared),
        "against": label_of(_against(compared) or "").lower(),
        "differences": _differences(compared),
        "verdicts": {name: verdict(saved.document).sentence for name, saved in compared.backtests.items()},
    }


def _compared(state: State, choice: Choice, runs: list[Run]) -> Compared:
    chosen = [state.open_run(name) for name in choice.runs]
    if not choice.runs:
        chosen = [run for run in runs if (run.path / "metrics.json").exists()][:DEFAULT]
    backtests, missing = {}, []
    for run in chosen:
        try:
            backtests[run.name] = _saved(run.path, backtested_at(run))
        except RunError as error:
            missing.append(str(error))
    wanted = choice.baselines
    if wanted is None and backtests:
        reference = next(iter(backtests.values())).document.get("reference")
        wanted = (reference,) if reference else ()
    baselines = {}
    for name in wanted or ():
        owner = next((saved for saved in backtests.values() if name in saved.strategies), None)
        if owner is not None and kind_of(name) == "baseline":
            baselines[name] = owner
    return Compared(backtests, baselines, tuple(missing))


def _figures(compared: Compared, choice: Choice, zoom: Focus = None) -> list[PageFigure]:
    if not compared.backtests:
        return []
    runs, baselines = compared.equity
    entries, names = compared.entries, list(compared.backtests)
    level = next(iter(compared.backtests.values())).document["level"]
    made = []
    if len(runs) > 1:
        made.append(
            PageFigure(
                "curves",
                "Growth of 1, after costs",
                lambda theme: figures.run_curves(
                    runs, baselines, log=choice.scale != "linear", focus=zoom, theme=theme
                ),
                lambda: pd.concat([runs, baselines], axis=1),
                height=440,
                has_log_axis=True,
                zooms_in=True,
            )
        )
    made.append(
        PageFigure(
            "measure",
            MEASURES[choice.measure].label,
            lambda theme: figures.run_measures(entries, choice.measure, level=level, runs=names, theme=theme),
            lambda: measures(entries, "name"),
            False,
        )
    )
    against = _against(compared)
    if against is not None:
        comparisons = _comparisons(compared, against)
        made.append(
            PageFigure(
                "differences",
                f"Sharpe ratio less {label_of(against).lower()}'s",
                lambda theme: figures.run_differences(comparisons, against, theme=theme),
                lambda: pd.DataFrame(comparisons).T.rename_axis("run"),
                False,
            )
        )
    return made


def _against(compared: Compared) -> str | None:
    """The baseline to hold runs against: the first shown that any of them was compared with."""
    return next((name for name in compared.baselines if _comparisons(compared, name)), None)


def _comparisons(compared: Compared, baseline: str) -> dict[str, Any]:
    found = {}
    for name, saved in compared.backtests.items():
        entries = saved.document.get("comparisons") or []
        entry = next((entry for entry in entries if entry["baseline"] == baseline), None)
        if entry is not None:
            found[name] = entry
    return found


def _table(compared: Compared) -> Table:
    against = _against(compared)
    rows = []
    for name, entry in compared.entries.items():
        saved = compared.backtests.get(name) or compared.baselines[name]
        cells = [
            Cell(format_measure(m, entry["metrics"].get(m)), interval_text(m, entry["intervals"].get(m)))
            for m in MEASURED
        ]
        label = name if name in compared.backtests else label_of(name)
        rows.append((label, (*cells, *_tests(saved, against, name in compared.backtests))))
    columns = (
        *(MEASURES[m].label for m in MEASURED),
        "SPA p\u2011value",
        "Deflated Sharpe",
        "Trials",
        "Dates",
        "Costs",
    )
    return Table("Runs and baselines", columns, tuple(rows))


def _tests(saved: SavedBacktest, against: str | None, own: bool) -> tuple[Cell, ...]:
    document = saved.document
    test = (
        next((test for test in document.get("spa") or [] if test["benchmark"] == against), None)
        if own
        else None
    )
    costs = document["costs"]["commission_bps"] + document["costs"]["half_spread_bps"]
    return (
        Cell("–" if test is None else p_value(test).removeprefix("p = ").removeprefix("p ")),
        Cell(percent_chance(document.get("deflated_sharpe")) if own else "–"),
        Cell(str(document.get("trials", "–")) if own else "–"),
        Cell(
            f"{document['sessions']} sessions, {document['data']['name']}",
            f"{document['start']} to {document['end']}",
        ),
        Cell(format_number(costs, "bps", 1)),
    )


def _differences(compared: Compared) -> list[str]:
    """Sentences on reasons why the numbers are not comparable."""
    documents = [saved.document for saved in compared.backtests.values()]
    found = list(compared.missing)
    if len({(d["start"], d["end"]) for d in documents}) > 1:
        found.append(
            "The backtests run over different dates: measures are over the dates of each, curves over the common dates."
        )
    if len({str(sorted(d["costs"].items())) for d in documents}) > 1:
        found.append("The backtests charge different costs.")
    if len({d["data"].get("hash") or d["data"]["name"] for d in documents}) > 1:
        found.append("The backtests are on different prices.")
    if len(documents) > 1:
        found.append(
            f"These are {len(documents)} runs. The best of several looks better than it is; trials count the settings "
            "tried for each run, not the other runs."
        )
    return found


def _subject(saved: SavedBacktest) -> str:
    return AGENT if AGENT in saved.strategies else saved.strategies[0]


@lru_cache(maxsize=64)
def _saved(path: Path, _stamp: int) -> SavedBacktest:
    return load_backtest(Run(path, {}))
