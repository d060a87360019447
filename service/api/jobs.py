"""Background jobs: backtests and trainings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import pydantic_core
from fastapi import APIRouter, Query, Response

from service.api.bodies import JsonRoute
from service.api.dependencies import GUARDED, Limit, Reader, RecordId, Runner, StateDep
from service.auth.scopes import Principal
from service.core.problems import Problem, Responses, described
from service.jobs.queue import SUCCEEDED, JobRecord
from service.schemas.records import BacktestRequest, Job, JobList, JobResult, JobStatus, TrainingRequest
from service.state import State
from trading_app.files import read_json
from trading_app.runs.run import Run

router = APIRouter(prefix="/api/v1", tags=["jobs"], route_class=JsonRoute)

_BODY = ("malformed-json", "body-too-large", "unsupported-media-type", "invalid-request")
_LOCATION: Responses = {
    202: {"headers": {"Location": {"schema": {"type": "string"}, "description": "The job."}}}
}


@router.post(
    "/backtests",
    status_code=202,
    responses={
        **described(*GUARDED, *_BODY, "unknown-model", "unknown-data", "unknown-run", "retired-model"),
        **_LOCATION,
    },
)
async def start_backtest(body: BacktestRequest, state: StateDep, runner: Runner, response: Response) -> Job:
    """Start a backtest of a model, a run or a baseline."""
    left_out = {"timeout_seconds"} if body.store else {"timeout_seconds", "store"}
    parameters = body.model_dump(mode="json", exclude_none=True, exclude=left_out)
    if body.model is not None:
        # Fixed here, so that an attempt after a new promotion tests the same version.
        parameters["version"] = (await state.run(state.registry.current, body.model)).version
    if body.data is not None:
        await state.run(state.snapshots.get, body.data)
    if body.run is not None:
        await state.run(state.open_run, body.run)
    if body.strategy is not None or body.start is not None or body.end is not None:
        await state.run(_check_backtest, body, state)
    return await _submit("backtest", parameters, body.timeout_seconds, state, runner, response)


@router.post(
    "/trainings",
    status_code=202,
    responses={**described(*GUARDED, *_BODY, "unknown-data", "unknown-signals"), **_LOCATION},
)
async def start_training(body: TrainingRequest, state: StateDep, runner: Runner, response: Response) -> Job:
    """Start the training of a run; after a crash it continues from its last checkpoint."""
    await state.run(state.snapshots.get, body.data)
    await state.run(state.snapshots.require_signals, body.signals or ())
    parameters = body.model_dump(mode="json", exclude_none=True, exclude={"timeout_seconds"})
    return await _submit("training", parameters, body.timeout_seconds, state, runner, response)


@router.get("/jobs", responses=described(*GUARDED, "invalid-request"))
async def list_jobs(
    state: StateDep, _reader: Reader, limit: Limit = 100, status: Annotated[JobStatus | None, Query()] = None
) -> JobList:
    """List jobs, newest first."""
    records = await state.run(state.jobs.newest, limit=limit, status=status)
    return JobList(jobs=[shown(record) for record in records])


@router.get("/jobs/{job_id}", responses=described(*GUARDED, "unknown-job", "invalid-request"))
async def show_job(job_id: RecordId, state: StateDep, _reader: Reader) -> Job:
    """Show a job's state and progress."""
    return shown(await state.run(state.jobs.get, job_id))


@router.delete("/jobs/{job_id}", responses=described(*GUARDED, "unknown-job", "invalid-request"))
async def cancel_job(job_id: RecordId, state: StateDep, _runner: Runner) -> Job:
    """Cancel a job: at once if it is queued, within seconds if it is running; a finished job does not change."""
    await state.run(state.jobs.get, job_id)
    return shown(await state.run(state.jobs.cancel, job_id))


@router.get(
    "/jobs/{job_id}/result",
    response_model=JobResult,
    responses=described(*GUARDED, "unknown-job", "job-not-finished", "invalid-request"),
)
async def show_result(job_id: RecordId, state: StateDep, _reader: Reader) -> Response:
    """Return the result of a job."""
    content = await state.run(_result, job_id, state)
    return Response(content, media_type="application/json")


def _result(job_id: str, state: State) -> bytes:
    record = state.jobs.get(job_id)
    result = state.jobs.result(record) if record.status == SUCCEEDED else None
    if result is None:
        raise Problem(
            "job-not-finished", f"job {job_id} is {record.status}: {record.message}", status_now=record.status
        )
    content: bytes = pydantic_core.to_json({"id": record.id, "kind": record.kind, **result})
    return content


def _check_backtest(body: BacktestRequest, state: State) -> None:
    """Refuse an unknown strategy, dates without prices and dates that a policy was trained on."""
    from trading_app.backtesting.baselines import baseline
    from trading_app.experiments.out_of_sample import unseen_period

    if body.strategy is not None:
        baseline(body.strategy)
        assert body.data is not None
        dates = state.snapshots.get(body.data).dates
        first, last = body.start or dates[0].date(), body.end or dates[-1].date()
        if first > dates[-1].date() or last < dates[0].date():
            ends = f"{dates[0].date()} to {dates[-1].date()}"
            raise Problem(
                "invalid-request", f"{body.data} has prices from {ends}, but none from {first} to {last}"
            )
        return
    if body.run is not None:
        run = state.open_run(body.run)
    else:
        assert body.model is not None
        promoted = state.registry.current(body.model)
        folder = state.registry.path(promoted.id, promoted.version)
        run = Run(folder, read_json(folder / "manifest.json"))
    unseen_period(run, home=state.settings.home, data=body.data, start=body.start, end=body.end)


async def _submit(
    kind: str,
    parameters: dict[str, object],
    timeout: float | None,
    state: State,
    runner: Principal,
    response: Response,
) -> Job:
    state.rate_limits.spend("jobs", runner.id)
    seconds = min(timeout or state.settings.service.job_seconds, state.settings.service.job_seconds)
    record = await state.run(state.jobs.submit, kind, parameters, by=runner.id, timeout=seconds)
    job = shown(record)
    response.headers["Location"] = job.links["self"]
    return job


def shown(record: JobRecord) -> Job:
    """Return a job as the answer shows it."""
    here = f"/api/v1/jobs/{record.id}"
    links = {"self": here}
    if record.status == SUCCEEDED:
        links["result"] = f"{here}/result"
        if record.kind == "training":
            links["run"] = f"/api/v1/runs/{record.parameters['name']}"
    return Job.model_validate({**asdict(record), "links": links})
