"""The page *Data*: available prices, findings of the checks, and missing sessions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request, Response

from data import SnapshotStore
from service.api.dependencies import StateDep
from service.dashboard.figures import figure_file, gallery
from service.dashboard.layout import page_router
from service.dashboard.pages.login import LoggedIn
from service.dashboard.render import page
from service.dashboard.views.data import (
    CHANGES,
    LISTED,
    Dataset,
    checks_table,
    choose,
    datasets,
    figures_of,
    repairs_of,
)
from service.state import State

PATH, TITLE = "/dashboard/data", "Data"
router = page_router()


Name = Annotated[str, Query(alias="data", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[1-9][0-9]{0,5})?)?$")]


@router.get(PATH)
async def data_page(request: Request, state: StateDep, _session: LoggedIn, name: Name = "") -> Response:
    """Show every dataset, and one of them in full."""
    return page(request, "data.html", await state.run(_context, state, name))


@router.get("/dashboard/data/figures/{file}")
async def data_figure(
    file: str, request: Request, state: StateDep, _session: LoggedIn, name: Name = ""
) -> Response:
    """Answer with one figure, or its data."""

    def answer() -> Response:
        dataset = choose(datasets(SnapshotStore(state.settings.home)), name)
        return figure_file(request, figures_of(dataset, state.snapshots), file)

    return await state.run(answer)


def warm(state: State) -> None:
    """Check the bundled datasets, so that the first view of the page does not wait for it; once in a home."""
    datasets(SnapshotStore(state.settings.home))


def _context(state: State, name: str) -> dict[str, Any]:
    found = datasets(SnapshotStore(state.settings.home))
    chosen = choose(found, name)
    context: dict[str, Any] = {
        "datasets": found,
        "chosen": chosen,
        "options": [(other.reference, other.reference) for other in found],
        "snapshots": sum(bool(other.version) for other in found),
    }
    if not chosen.facts:
        return context
    return context | {
        "gallery": gallery(figures_of(chosen, state.snapshots), f"{PATH}/figures", data=chosen.reference),
        "checks": checks_table(chosen),
        "findings": chosen.findings(LISTED).fillna("").to_dict("records"),
        "total": sum(chosen.counts.values()),
        "repairs": repairs_of(chosen),
        "changes": CHANGES,
        "runs": _used_by(state, chosen),
    }


def _used_by(state: State, dataset: Dataset) -> list[str]:
    """Runs that were trained on exactly these prices."""
    same = dataset.facts["hash"]
    return [run.name for run in state.runs() if run.manifest.get("data", {}).get("hash") == same]
