"""The page *Jobs*: start a backtest or a training, follow it, open its result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.datastructures import FormData

from data import SnapshotStore
from rl_core.agents import kind_names
from service.api.dependencies import RecordId, StateDep
from service.api.jobs import start_backtest, start_training
from service.auth.scopes import Principal
from service.core.problems import Problem
from service.dashboard.figures import PageFigure, figure_file, gallery
from service.dashboard.layout import page_router
from service.dashboard.pages.login import CheckedForm, LoggedIn
from service.dashboard.render import environment, page
from service.dashboard.views.run import ShownBacktest, backtest_figures, training_figures
from service.dashboard.views.selection import Zoom
from service.jobs.queue import FINISHED, SUCCEEDED, JobRecord
from service.schemas.records import BacktestRequest, TrainingRequest
from service.state import State
from trading_app.backtesting.summary import AGENT
from trading_app.report import tables
from trading_app.report.data import ReportData
from trading_app.report.page import CURVES
from trading_app.report.theme import Focus, label_of
from trading_app.report.verdict import verdict

PATH, TITLE = "/dashboard/jobs", "Jobs"
router = page_router()

_SHOWN = 50
_TONES = {"succeeded": "good", "failed": "bad", "running": "busy"}
_BACKTEST = {"subject": "", "data": "", "start": "", "end": "", "costs_bps": "", "store": ""}
_TRAINING = {"name": "", "data": "", "agent": "relaxed", "seeds": "", "steps": ""}


@router.get(PATH)
async def jobs_page(request: Request, state: StateDep, session: LoggedIn, run: str = "") -> Response:
    """Show the jobs, and the forms that start one."""
    given = {"subject": f"run:{run}"} if run else {}
    return page(request, "jobs.html", await state.run(_context, state, session.principal, given))


@router.get("/dashboard/jobs/rows")
async def job_rows(state: StateDep, _session: LoggedIn) -> Response:
    """Answer with the rows of the list as they are now."""
    records = await state.run(state.jobs.newest, limit=_SHOWN)
    return _fragment("job_rows.html", {"jobs": records, **_WORDS})


@router.post("/dashboard/jobs/backtest")
async def post_backtest(request: Request, state: StateDep, session: LoggedIn, form: CheckedForm) -> Response:
    """Start a backtest as the API does; a form that cannot be used is shown again with the reason."""
    values = _values(form, _BACKTEST)
    kind, _, name = values["subject"].partition(":")
    asked = {
        kind: name,
        "data": values["data"] or None,
        "start": values["start"] or None,
        "end": values["end"] or None,
        "costs_bps": values["costs_bps"] or None,
        "store": "true" if values["store"] else None,
    }
    try:
        _may_run(session.principal)
        body = BacktestRequest.model_validate_strings({k: v for k, v in asked.items() if v is not None})
        job = await start_backtest(body, state, session.principal, Response())
    except (ValidationError, Problem) as error:
        return await _again(request, state, session.principal, error, values, {})
    return RedirectResponse(f"{PATH}/{job.id}", status_code=303)


@router.post("/dashboard/jobs/training")
async def post_training(request: Request, state: StateDep, session: LoggedIn, form: CheckedForm) -> Response:
    """Start a training as the API does."""
    values = _values(form, _TRAINING)
    try:
        _may_run(session.principal)
        body = TrainingRequest.model_validate_strings({k: v for k, v in values.items() if v})
        job = await start_training(body, state, session.principal, Response())
    except (ValidationError, Problem) as error:
        return await _again(request, state, session.principal, error, {}, values)
    return RedirectResponse(f"{PATH}/{job.id}", status_code=303)


@router.post("/dashboard/jobs/{job_id}/cancel")
async def cancel(job_id: RecordId, state: StateDep, session: LoggedIn, _form: CheckedForm) -> Response:
    """Cancel a job."""
    _may_run(session.principal)
    await state.run(state.jobs.get, job_id)
    await state.run(state.jobs.cancel, job_id)
    return RedirectResponse(f"{PATH}/{job_id}", status_code=303)


@router.get("/dashboard/jobs/{job_id}")
async def job_page(job_id: RecordId, request: Request, state: StateDep, session: LoggedIn) -> Response:
    """Show a job: its progress and result."""
    context = await state.run(_job_context, state, job_id)
    return page(request, "job.html", context | {"may_run": session.principal.may("run")})


@router.get("/dashboard/jobs/{job_id}/progress")
async def job_progress(job_id: RecordId, state: StateDep, _session: LoggedIn, figures: str = "") -> Response:
    """Progress of a job; a header tells the page to reload, at the end or when there are other figures."""
    record = await state.run(state.jobs.get, job_id)
    done = record.status in FINISHED
    if not done and record.kind == "training":
        done = figures != _names(await state.run(_figures, state, record))
    headers = {"X-Done": "yes" if done else "no"}
    return _fragment("job_progress.html", {"job": record, **_WORDS}, headers)


@router.get("/dashboard/jobs/{job_id}/figures/{file}")
async def job_figure(
    job_id: RecordId, file: str, request: Request, state: StateDep, _session: LoggedIn, zoom: Zoom
) -> Response:
    """Answer with one figure of a job's result, or its data."""

    def answer() -> Response:
        record = state.jobs.get(job_id)
        # A page that was read while training was young may ask for a curve that others have displaced since.
        made = _curves(state, record, None) if record.kind == "training" else _figures(state, record, zoom)
        return figure_file(request, made, file)

    return await state.run(answer)


def _context(state: State, principal: Principal, backtest: Mapping[str, str]) -> dict[str, Any]:
    from trading_app.backtesting.baselines import BASELINES, NEED_SIGNALS

    return {
        "jobs": state.jobs.newest(limit=_SHOWN),
        "may_run": principal.may("run"),
        "subjects": [
            ("Promoted models", [(f"model:{m.id}", m.id) for m in state.registry.served()]),
            ("Runs", [(f"run:{run.name}", run.name) for run in state.runs()]),
            (
                "Baselines",
                [(f"strategy:{name}", label_of(name)) for name in BASELINES if name not in NEED_SIGNALS],
            ),
        ],
        "data": _snapshots(state),
        "agents": kind_names(),
        "backtest": _BACKTEST | dict(backtest),
        "training": dict(_TRAINING),
        "message": "",
        **_WORDS,
    }


async def _again(
    request: Request,
    state: State,
    principal: Principal,
    error: ValidationError | Problem,
    backtest: Mapping[str, str],
    training: Mapping[str, str],
) -> Response:
    context = await state.run(_context, state, principal, backtest)
    context["training"] |= training
    context["message"] = _reason(error)
    return page(request, "jobs.html", context, status=error.status if isinstance(error, Problem) else 422)


def _reason(error: ValidationError | Problem) -> str:
    if isinstance(error, Problem):
        return error.detail
    found = error.errors()[0]
    place = {"costs_bps": "Costs", "name": "Name", "start": "From", "end": "To"}
    names = [place.get(str(part), str(part)) for part in found["loc"][:1]]
    text = str(found["msg"]).removeprefix("Value error, ")
    return f"{names[0]}: {text}" if names else text[:1].upper() + text[1:]


def _job_context(state: State, job_id: str) -> dict[str, Any]:
    record = state.jobs.get(job_id)
    figures = _figures(state, record)
    context: dict[str, Any] = {
        "job": record,
        "finished": record.status in FINISHED,
        "gallery": gallery(figures, f"{PATH}/{job_id}/figures"),
        "figure_names": _names(figures),
        "subject": _subject(record),
        "parameters": {
            _label(name): "yes" if value is True else value for name, value in record.parameters.items()
        },
        **_WORDS,
    }
    shown = _shown(state, record)
    if shown is None:
        return context
    document = shown.data.document
    made = [tables.measures_table(document)]
    if document.get("comparisons"):
        made.insert(0, tables.comparisons_table(document))
    return context | {
        "verdict": verdict(document),
        "headlines": tables.headlines(document, shown.view.strategy, shown.view.reference),
        "tables": made,
        "notes": shown.data.notes,
    }


def _figures(state: State, record: JobRecord, zoom: Focus = None) -> list[PageFigure]:
    if record.kind == "training":
        return _curves(state, record)
    shown = _shown(state, record)
    if shown is None:
        return []
    return backtest_figures(shown.view, focus=zoom)


def _curves(state: State, record: JobRecord, limit: int | None = CURVES) -> list[PageFigure]:
    try:
        run = state.open_run(str(record.parameters["name"]))
    except Problem:
        return []  # it has not begun
    return list(training_figures(run.progress(), limit))


def _names(figures: list[PageFigure]) -> str:
    return " ".join(figure.name for figure in figures)


def _shown(state: State, record: JobRecord) -> ShownBacktest | None:
    """The backtest of a job, or None."""
    result = state.jobs.result(record) if (record.kind, record.status) == ("backtest", SUCCEEDED) else None
    if not result:
        return None
    document, equity = result["metrics"], _frame(result["equity"])
    order = {"agent": 0, "seed": 1, "baseline": 2}
    kinds = {name: order[entry["kind"]] for name, entry in document["strategies"].items()}
    equity = equity[sorted(equity.columns, key=lambda name: kinds[name])]
    empty = pd.DataFrame(index=equity.index)
    data = ReportData(_subject(record), {}, document, equity, empty, empty)
    name = AGENT if AGENT in equity else str(equity.columns[0])

    def part(member: str) -> pd.DataFrame:
        # Jobs of earlier versions stored the accounts alone.
        return _frame(result[member]) if member in result else pd.DataFrame()

    return ShownBacktest(data, data.view_of(name, *map(part, ("weights", "costs", "contributions"))))


def _frame(columns: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(columns["values"], pd.DatetimeIndex(columns["dates"], name="date"), dtype=float)


def _subject(record: JobRecord) -> str:
    given = record.parameters
    keys = ("model", "run", "strategy", "name", "snapshot")
    return next((str(given[key]) for key in keys if key in given), record.kind)


def _snapshots(state: State) -> list[str]:
    from data.providers.bundled import bundled_names

    return [*bundled_names(), *SnapshotStore(state.settings.home).names()]


def _values(form: FormData, fields: Mapping[str, str]) -> dict[str, str]:
    return {name: str(form.get(name, "")).strip()[:200] for name in fields}


def _may_run(principal: Principal) -> None:
    if not principal.may("run"):
        detail = "this user may view but not start jobs; `equitrade users create NAME --scopes run` creates one who may"
        raise Problem("insufficient-scope", detail, scope="run")


def _label(name: str) -> str:
    return {"costs_bps": "Costs, bp", "start": "From", "end": "To", "store": "Stored with the run"}.get(
        name, name.capitalize()
    )


def _fragment(template: str, context: Mapping[str, Any], headers: dict[str, str] | None = None) -> Response:
    return HTMLResponse(environment().get_template(template).render(**context), headers=headers)


def _tone(status: str) -> str:
    return _TONES.get(status, "")


def _took(record: JobRecord) -> str:
    """Running time of a job."""
    if record.started_at is None or record.finished_at is None:
        return "–"
    seconds = round((record.finished_at - record.started_at).total_seconds())
    return f"{seconds}\u202fs" if seconds < 120 else f"{seconds // 60}\u202fmin {seconds % 60}\u202fs"


_WORDS = {"tone": _tone, "subject_of": _subject, "took": _took}
