"""The application factory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api import decisions, jobs, models, operations, runs
from service.core.clock import Clock, utc_now
from service.core.middleware import RequestMiddleware
from service.core.problem_handlers import add_handlers
from service.core.problems import ProblemBody
from service.core.settings import Settings, load_settings
from service.dashboard.navigation import add_dashboard, warm_pages
from service.models.admission import Evidence, read_evidence
from service.models.serving import Loader, load_trained
from service.state import State

logger = logging.getLogger(__name__)

DESCRIPTION = """Allocations of trained portfolio policies, for programs.

Send `Authorization: Bearer KEY`. Every error is problem JSON (RFC 9457) with a stable `type`. Every
allocation and signal is recorded before it is sent, and can be shown and recomputed by its `id`.
"""


def create_app(
    settings: Settings | None = None,
    *,
    load: Loader = load_trained,
    inspect: Callable[[Path], Evidence] = read_evidence,
    clock: Clock = utc_now,
) -> FastAPI:
    """Return the application, with the settings of the environment by default; the rest is as of `State`."""
    state = State(settings or load_settings(), load=load, inspect=inspect, clock=clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(state.database.migrate)
        await asyncio.to_thread(_warm, state)
        yield
        await asyncio.to_thread(state.close)

    app = FastAPI(
        title="equitrade",
        description=DESCRIPTION,
        version=version("equitrade"),
        lifespan=lifespan,
        # A redirect would take its host from the request, and a program might send its key there.
        redirect_slashes=False,
        # These pages load scripts from another host; the description is at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )
    app.state.equitrade = state
    for module in (decisions, operations, models, jobs, runs):
        app.include_router(module.router)
    add_dashboard(app)
    add_handlers(app)
    app.add_middleware(RequestMiddleware, settings=state.settings.service, telemetry=state.telemetry)
    _describe(app)
    return app


def _warm(state: State) -> None:
    try:
        state.warm()
        warm_pages(state)
    except Exception:
        # /ready and the requests for the model report it; other models are served.
        logger.exception("preloading failed")


def _describe(app: FastAPI) -> None:
    """Add the problem document to the OpenAPI description."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            problem = ProblemBody.model_json_schema(ref_template="#/components/schemas/{model}")
            schema["components"]["schemas"]["Problem"] = problem
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
