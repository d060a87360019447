"""Runs: their manifests, metrics and reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse

from equitrade.json_values import json_value
from service.api.dependencies import GUARDED, Limit, Offset, Reader, RunName, StateDep
from service.core.problems import Problem, Responses, described
from service.schemas.records import RunDetail, RunList, RunSummary
from trading_app.runs.run import Run

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])

# A report has scripts; the sandbox separates them from this service's cookies and from the network.
_REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
_HTML: Responses = {
    200: {"description": "The report.", "content": {"text/html": {"schema": {"type": "string"}}}}
}


@router.get("", responses=described(*GUARDED, "invalid-request"))
async def list_runs(state: StateDep, _reader: Reader, limit: Limit = 100, offset: Offset = 0) -> RunList:
    """List runs, newest first."""
    runs = await state.run(state.runs)
    return RunList(
        runs=[RunSummary(**summary(run)) for run in runs[offset : offset + limit]], total=len(runs)
    )


@router.get("/{name}", responses=described(*GUARDED, "unknown-run", "invalid-request"))
async def show_run(name: RunName, state: StateDep, _reader: Reader) -> RunDetail:
    """Show a run: its manifest, and the metrics of its last backtest."""
    run = await state.run(state.open_run, name)
    metrics = await state.run(lambda: run.metrics)
    return RunDetail(**summary(run), manifest=json_value(dict(run.manifest)), metrics=json_value(metrics))


@router.get(
    "/{name}/report",
    responses={**described(*GUARDED, "unknown-run", "no-report", "invalid-request"), **_HTML},
    response_class=FileResponse,
)
async def show_report(name: RunName, state: StateDep, _reader: Reader) -> FileResponse:
    """Return the self-contained HTML report of a run."""
    run = await state.run(state.open_run, name)
    if not run.report.is_file():
        raise Problem("no-report", f"run {name!r} has no report; `equitrade report {name}` writes it")
    headers = {"Content-Security-Policy": _REPORT_POLICY}
    return FileResponse(run.report, media_type="text/html", headers=headers)


def summary(run: Run) -> dict[str, Any]:
    """Return the members that both answers have."""
    has_report = run.report.is_file()
    return {
        "name": run.name,
        "status": run.status,
        "created_at": run.manifest.get("created_at"),
        "agent": run.manifest.get("config", {}).get("sac", {}).get("agent"),
        "data": run.manifest.get("data", {}).get("name"),
        "seeds": len(run.seeds),
        "report": f"/api/v1/runs/{run.name}/report" if has_report else None,
    }
