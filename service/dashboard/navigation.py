"""The pages, in the order of the navigation. A page is a module with ``PATH``, ``TITLE`` and ``router``."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from service.core.problems import Problem
from service.dashboard import assets
from service.dashboard.layout import page_router
from service.dashboard.pages import compare, control, data, jobs, login, run, symmetry, today
from service.dashboard.pages.login import LoggedIn
from service.dashboard.render import environment
from service.state import State

PAGES = (today, run, compare, symmetry, control, data, jobs)

_rest = page_router()


@_rest.get("/dashboard/{path:path}")
async def nowhere(path: str, request: Request, _session: LoggedIn) -> Response:
    """Answer a wrong address with a page that links to the others."""
    raise Problem("not-found", f"there is no page /dashboard/{path[:100]}")


def warm_pages(state: State) -> None:
    """Read what the first view of a page would wait for: templates, the newest backtest, checks of bundled data."""
    for name in environment().list_templates(extensions=["html"]):
        environment().get_template(name)
    run.warm(state)
    data.warm(state)


def add_dashboard(app: FastAPI) -> None:
    """Add the login, every page and their static files."""
    app.state.pages = PAGES
    app.include_router(login.router)
    app.include_router(assets.router)
    for module in PAGES:
        app.include_router(module.router)
    app.include_router(_rest)
    app.add_exception_handler(login.LoginRequired, login.redirect_to_login)
