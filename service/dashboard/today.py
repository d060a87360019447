"""The page *Today*: what is served, and what was given out last."""

from __future__ import annotations

from fastapi import Request, Response

from service.dashboard.frame import page_router
from service.dashboard.login import LoggedIn
from service.dashboard.render import page
from service.dependencies import StateDep

PATH, TITLE = "/dashboard", "Today"
router = page_router()


@router.get(PATH)
async def today(request: Request, state: StateDep, _session: LoggedIn) -> Response:
    """Promoted models and the newest rows of the audit."""
    context = {
        "models": await state.run(state.registry.served),
        "given": await state.run(state.audit.latest, limit=20),
        "jobs": await state.run(state.jobs.counts),
    }
    return page(request, "today.html", context)
