"""Allocations, signals, and their audit."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.api.bodies import JsonRoute
from service.api.dependencies import GUARDED, Limit, Reader, RecordId, StateDep, log_fields
from service.auth.scopes import Principal
from service.core.problems import Problem, described
from service.schemas.decisions import (
    Allocation,
    AllocationRequest,
    DecisionRequest,
    SignalRequest,
    Signals,
)
from service.schemas.records import AuditList, AuditRecord
from service.state import State

router = APIRouter(prefix="/api/v1", tags=["decisions"], route_class=JsonRoute)

_REFUSALS = (
    "malformed-json",
    "unknown-model",
    "unknown-data",
    "retired-model",
    "body-too-large",
    "unsupported-media-type",
    "invalid-request",
    "invalid-prices",
    "invalid-holdings",
    "limits-conflict",
    "unknown-symbol",
    "missing-symbol",
    "unsupported-symbols",
    "insufficient-history",
    "stale-data",
    "unknown-signals",
    "stale-signals",
    "model-unavailable",
)


@router.post("/allocations", response_model=Allocation, responses=described(*GUARDED, *_REFUSALS))
async def allocate(body: AllocationRequest, request: Request, state: StateDep, reader: Reader) -> Response:
    """Return target weights at a session's close, and the orders from the current holdings to them."""
    return await _answer("allocation", body, request, state, reader)


@router.post("/signals", response_model=Signals, responses=described(*GUARDED, *_REFUSALS))
async def signal(body: SignalRequest, request: Request, state: StateDep, reader: Reader) -> Response:
    """Return score, side and rank of each asset."""
    return await _answer("signal", body, request, state, reader)


@router.get("/allocations", responses=described(*GUARDED, "invalid-request"))
async def list_answers(state: StateDep, reader: Reader, limit: Limit = 100) -> AuditList:
    """List answers, newest first: those to this key, or with the scope `admin` all."""
    key_id = None if reader.may("admin") else reader.id
    records = await state.run(state.audit.latest, limit=limit, key_id=key_id)
    return AuditList.model_validate({"records": records}, from_attributes=True)


@router.get("/allocations/{record_id}", responses=described(*GUARDED, "not-found", "invalid-request"))
async def show_answer(record_id: RecordId, state: StateDep, reader: Reader) -> AuditRecord:
    """Show an answer and its request: answers to this key, or with the scope `admin` any."""
    record = await state.run(state.audit.get, record_id)
    if record is None or not (record.key_id == reader.id or reader.may("admin")):
        raise Problem("not-found", f"no answer {record_id} to this key is recorded")
    return AuditRecord.model_validate(record, from_attributes=True)


async def _answer(
    kind: str, body: DecisionRequest, request: Request, state: State, reader: Principal
) -> Response:
    fields = log_fields(request)
    fields["model"] = body.model
    request_id = request.scope["state"]["request_id"]
    result = await state.decide(body, key_id=reader.id, request_id=request_id)
    fields["answer"] = result.members["id"]
    state.telemetry.decided(body.model, kind, result.members["staleness_days"])
    return Response(result.content, media_type="application/json")
