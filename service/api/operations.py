"""Liveness, readiness and metrics."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import APIRouter, Response

from service.api.dependencies import StateDep, Watcher
from service.core.problems import Problem, described
from service.core.telemetry import MEDIA_TYPE
from service.schemas.records import Health, Readiness
from service.state import State

router = APIRouter(tags=["operations"])


@router.get("/health")
async def health() -> Health:
    """Return the version; the process is alive."""
    return Health(version=version("equitrade"))


@router.get("/ready", responses=described("not-ready", "time-limit"))
async def ready(state: StateDep) -> Readiness:
    """Check that the service can answer: the database can be written to, and every promoted model can be loaded."""
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
    """Return metrics in Prometheus's text format; any key is accepted."""
    content = await state.run(state.telemetry.render, state.jobs.counts)
    return Response(content, media_type=MEDIA_TYPE)


def _loadable(state: State) -> list[str]:
    state.check_database()
    served = state.registry.served()
    for promoted in served:
        try:
            state.registry.policy(promoted.id, promoted.version)
        except Problem as problem:
            raise Problem("not-ready", problem.detail) from problem
    if not served:
        raise Problem("not-ready", "no model is promoted yet: `equitrade models promote RUN`")
    return [promoted.id for promoted in served]
