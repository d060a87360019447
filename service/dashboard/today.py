"""The page *Today*: what is served, and what was given out last."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from service.dashboard.login import LoggedIn
from service.dashboard.render import page
from service.dependencies import StateDep

router = APIRouter(include_in_schema=False)


@router.get("/dashboard")
async def today(request: Request, state: StateDep, session: LoggedIn) -> Response:
    """Promoted models and the newest rows of the audit."""
    context = {
        "session": session,
        "models": await state.run(state.registry.served),
        "given": await state.run(state.audit.latest, limit=20),
        "jobs": await state.run(state.jobs.counts),
    }
    return page(request, "today.html", context)
