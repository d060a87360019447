"""The page *Control*: learning curves, variants, noise and published results of the control study."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from service.api.dependencies import StateDep
from service.core.problems import Problem
from service.dashboard.figures import figure_file, gallery
from service.dashboard.layout import page_router
from service.dashboard.pages.login import LoggedIn
from service.dashboard.render import page
from service.dashboard.views.control import choose_offer, chosen_view, figures_of, offers, tables_of
from service.state import State

PATH, TITLE = "/dashboard/control", "Control"
router = page_router()

Name = Annotated[str, Query(pattern=r"^[A-Za-z0-9._-]{0,200}$")]


@router.get(PATH)
async def control_page(
    request: Request, state: StateDep, _session: LoggedIn, results: Name = "", task: Name = ""
) -> Response:
    """Show what a folder of results holds: the study as a whole, and one task."""
    return page(request, "control.html", await state.run(_context, state, results, task))


@router.get("/dashboard/control/figures/{file}")
async def control_figure(
    file: str, request: Request, state: StateDep, _session: LoggedIn, results: Name = "", task: Name = ""
) -> Response:
    """Answer with one figure, or its data."""

    def answer() -> Response:
        offer = choose_offer(offers(state.settings.home)[0], results)
        if offer is None:
            raise Problem("not-found", "there are no results yet")
        return figure_file(request, figures_of(offer, task), file)

    return await state.run(answer)


def _context(state: State, results: str, task: str) -> dict[str, Any]:
    found, advice = offers(state.settings.home)
    offer = choose_offer(found, results)
    context: dict[str, Any] = {
        "offer": offer,
        "advice": advice or ["`pip install 'equitrade[control]'` installs the control experiments."],
        "options": [(other.key, other.folder.parent.name) for other in found],
    }
    if offer is None or offer.index is None:
        return context
    shown = chosen_view(offer, task)
    whole = [entry["name"] for entry in offer.index["figures"] if not entry["view"]]
    made = gallery(figures_of(offer, task), f"{PATH}/figures", results=offer.key, task=shown)
    return context | {
        "task": shown,
        "tasks": [(name, name.replace("_", " ")) for name in offer.views],
        "whole": whole,
        "parts": [name for name in made.figures if name not in whole],
        "gallery": made,
        "tables": tables_of(offer),
    }
