"""Adds the pages to the application."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from service.dashboard import login, today
from service.dashboard.render import STATIC


def add_dashboard(app: FastAPI) -> None:
    """Add the login, every page and their static files."""
    for module in (login, today):
        app.include_router(module.router)
    app.mount("/dashboard/static", StaticFiles(directory=STATIC), name="static")
    app.add_exception_handler(login.LoginRequired, login.redirect_to_login)
