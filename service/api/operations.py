"""Liveness, readiness and metrics."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Response
from sqlalchemy.exc import SQLAlchemyError

from data.errors import DataError
from service.api.dependencies import StateDep, Watcher
from service.core.problems import Problem, described
from service.core.telemetry import MEDIA_TYPE
from service.schemas.records import Health, Readiness
from service.state import State

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health() -> Health:
    """Whether the process answers."""
    return Health(version=version("equitrade"))


@router.get("/ready", responses=described("not-ready", "time-limit"))
async def ready(state: StateDep) -> Readiness:
    """Whether allocations can be given: the database answers and every promoted model loads."""
    return Readiness(models=await state.run(_loadable, state))


@router.get(
    "/metrics",
    responses={
        **described(
            "missing-key", "invalid-key", "expired-key", "revoked-key", "too-many-requests", "time-limit"
        ),
        200: {
            "description": "Metrics for Prometheus.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
    },
    response_class=Response,
)
async def metrics(state: StateDep, _watcher: Watcher) -> Response:
    """Metrics in Prometheus's text format; any key opens them."""
    content = await state.run(state.telemetry.render, state.jobs.counts)
    return Response(content, media_type=MEDIA_TYPE)


def _loadable(state: State) -> list[str]:
    try:
        served = state.registry.served()
        for promoted in served:
            state.registry.policy(promoted.id, promoted.version)
    except (SQLAlchemyError, DataError) as error:
        raise Problem("not-ready", f"{type(error).__name__}: see the log") from error
    if not served:
        raise Problem("not-ready", "no model is promoted yet: `equitrade models promote RUN`")
    return [promoted.id for promoted in served]
