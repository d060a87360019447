"""The page *Run*: everything in a run's report, interactive."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from fastapi.responses import FileResponse

from service.api.dependencies import RunName, StateDep
from service.api.runs import summary
from service.core.problems import Problem
from service.dashboard.figures import Gallery, PageFigure, figure_file, gallery
from service.dashboard.layout import page_router
from service.dashboard.pages.login import LoggedIn
from service.dashboard.render import page
from service.dashboard.views.run import (
    ShownBacktest,
    backtest_figures,
    load_shown,
    progress_figures,
    training_figures,
    without_backtest,
)
from service.dashboard.views.selection import View, ViewDep, Zoom, presets
from service.state import State
from trading_app.evaluation.labels import MEASURES
from trading_app.report import tables
from trading_app.report.facts import manifest_facts, method_facts, sampling
from trading_app.report.page import SECTIONS
from trading_app.report.theme import Focus, label_of
from trading_app.report.verdict import verdict
from trading_app.runs.run import Run

PATH, TITLE = "/dashboard/run", "Run"
router = page_router()


@router.get(PATH)
async def run_page(
    request: Request, state: StateDep, _session: LoggedIn, view: ViewDep, run: str = ""
) -> Response:
    """Show a run: the one that the address names, or the newest that was backtested."""
    return page(request, "run.html", await state.run(_context, state, run, view))


@router.get("/dashboard/run/{run}/figures/{file}")
async def run_figure(
    run: RunName, file: str, request: Request, state: StateDep, _session: LoggedIn, view: ViewDep, zoom: Zoom
) -> Response:
    """Answer with one figure of a run, or its data."""

    def answer() -> Response:
        return figure_file(request, _figures(state.open_run(run), view, zoom), file)

    return await state.run(answer)


@router.get("/dashboard/run/{run}/report.html")
async def run_report(run: RunName, state: StateDep, _session: LoggedIn) -> Response:
    """Answer with the report as one file to keep; it works without the service."""
    found = await state.run(state.open_run, run)
    if not found.report.is_file():
        raise Problem("no-report", f"run {run!r} has no report; `equitrade report {run}` writes it")
    return FileResponse(found.report, media_type="text/html", filename=f"{run}.html")


def warm(state: State) -> None:
    """Read the newest backtest, so that the first view of the page does not wait for it."""
    run = _newest(state.runs())
    if run is not None and run.metrics is not None:
        load_shown(run, None, None, None)


def _newest(runs: list[Run]) -> Run | None:
    """The newest run that was backtested, or else the newest."""
    backtested = (run for run in runs if (run.path / "metrics.json").exists())
    return next(backtested, runs[0] if runs else None)


def _context(state: State, name: str, view: View) -> dict[str, Any]:
    runs = state.runs()
    run = state.open_run(name) if name else _newest(runs)
    if run is None:
        return {"runs": [], "run": None}
    context: dict[str, Any] = {
        "runs": [(other.name, f"{other.name} · {other.status}") for other in runs],
        "run": run,
        "summary": summary(run),
        "view": view,
        "gallery": _gallery(run, view),
        "manifest_json": json.dumps(dict(run.manifest), indent=2, ensure_ascii=False, default=str),
    }
    if run.metrics is None:
        return context | {"next_step": without_backtest(run)}
    shown = load_shown(run, view.strategy, view.start, view.end)
    return context | {"shown": shown, **_words(shown, view)}


def _words(shown: ShownBacktest, view: View) -> dict[str, Any]:
    data, found = shown.data, shown.data.document
    equity = shown.view.equity[shown.view.strategy]
    first, last = (day.date() for day in (data.equity.index[0], data.equity.index[-1]))
    return {
        "verdict": verdict(found),
        "sampling": sampling(data),
        "headlines": tables.headlines(found, shown.view.strategy, shown.view.reference),
        "tables": tables.backtest_tables(found, equity, shown.view.costs),
        "sections": SECTIONS,
        "facts": method_facts(data),
        "manifest": manifest_facts(data),
        "definitions": {about.label: about.meaning for about in MEASURES.values()},
        "strategies": [(name, label_of(name)) for name in data.equity.columns],
        "presets": presets(view, first, last, PATH, data.name),
        "bounds": (first, last),
    }


def _gallery(run: Run, view: View) -> Gallery:
    return gallery(_figures(run, view), f"{PATH}/{run.name}/figures", **view.query)


def _figures(run: Run, view: View, zoom: Focus = None) -> list[PageFigure]:
    if run.metrics is None:
        return list(progress_figures(run))
    shown = load_shown(run, view.strategy, view.start, view.end)
    made = backtest_figures(shown.view, log=view.scale == "log", focus=zoom)
    return [*made, *training_figures(shown.data.progress)]
