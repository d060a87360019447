"""The page *Symmetry*: how far a market is from mirror and exchange, and what an agent made of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response

from service.api.dependencies import StateDep
from service.dashboard.figures import PageFigure, figure_file, gallery
from service.dashboard.layout import page_router
from service.dashboard.pages.login import LoggedIn
from service.dashboard.render import page
from service.dashboard.views.symmetry import (
    AgentSymmetry,
    MarketSymmetry,
    SymmetryView,
    market_of,
    read_agent,
)
from service.schemas.common import NAME_PATTERN
from service.state import State

PATH, TITLE = "/dashboard/symmetry", "Symmetry"
router = page_router()


def _view(
    run: Annotated[str, Query(pattern=f"^$|{NAME_PATTERN}")] = "",
    market: Annotated[str, Query(pattern="^[0-9a-f]{0,64}$")] = "",
    weights: Literal["relative", "raw"] = "relative",
    seed: Annotated[str, Query(pattern="^[0-9]{0,9}$")] = "",
) -> SymmetryView:
    return SymmetryView(run or None, market or None, weights, int(seed) if seed else None)


ViewDep = Annotated[SymmetryView, Depends(_view)]


@router.get(PATH)
async def symmetry_page(request: Request, state: StateDep, _session: LoggedIn, view: ViewDep) -> Response:
    """Show the tests of a market, and relaxed weights and equivariance errors of a run."""
    return page(request, "symmetry.html", await state.run(_context, state, view))


@router.get("/dashboard/symmetry/figures/{file}")
async def symmetry_figure(
    file: str, request: Request, state: StateDep, _session: LoggedIn, view: ViewDep
) -> Response:
    """Answer with one figure, or its data."""

    def answer() -> Response:
        agent = _agent(state, view)
        return figure_file(request, _figures(market_of(state.settings.home, view, agent), agent), file)

    return await state.run(answer)


def _agent(state: State, view: SymmetryView) -> AgentSymmetry | None:
    """The run that the address names, else the newest relaxed one, of those with a backtest if any has, else the
    newest."""
    if view.run is not None:
        return read_agent(state.open_run(view.run), view)
    runs = state.runs()
    relaxed = [run for run in runs if run.manifest.get("agent") == "relaxed"]
    tested = (run for run in relaxed if (run.path / "metrics.json").exists())
    run = next(tested, next(iter(relaxed or runs), None))
    return None if run is None else read_agent(run, view)


def _figures(market: MarketSymmetry | None, agent: AgentSymmetry | None) -> list[PageFigure]:
    return [figure for part in (market, agent) if part is not None for figure in part.figures]


def _context(state: State, view: SymmetryView) -> dict[str, Any]:
    from trading_app.evaluation.market_tests import stored_tests

    agent = _agent(state, view)
    stored = stored_tests(state.settings.home)
    market = market_of(state.settings.home, view, agent, stored)
    shown = SymmetryView(
        agent.run.name if agent else None,
        market.document["hash"] if market else None,
        view.weights,
        view.seed,
    )
    return {
        "agent": agent,
        "market": market,
        "view": shown,
        "runs": [(run.name, f"{run.name} · {run.manifest.get('agent', '–')}") for run in state.runs()],
        "markets": [
            (d["hash"], f"{d['data']} · {d['start'][:4]} to {d['end'][:4]} · {d['hash'][:8]}") for d in stored
        ],
        "seeds": [
            ("", "mean of all"),
            *((str(seed), str(seed)) for seed in (agent.run.seeds if agent else ())),
        ],
        "seed": "" if view.seed is None else str(view.seed),
        "gallery": gallery(_figures(market, agent), f"{PATH}/figures", **shown.query),
    }
