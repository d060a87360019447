"""Router of pages, whose errors are pages too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from data.errors import DataError
from service.core.problems import KINDS, Problem
from service.dashboard.pages.login import LoginRequired
from service.dashboard.render import page

logger = logging.getLogger("equitrade.dashboard")

_FILES = (".json", ".csv")
_ADVICE = {
    "unknown-run": ("Choose another run", "/dashboard/run"),
    "unknown-job": ("See every job", "/dashboard/jobs"),
    "csrf": ("Open the page again and repeat what you did", "/dashboard"),
}
#: Headings of problems on pages, where they differ from the titles of the API.
_HEADINGS = {"invalid-request": "The page cannot be shown with these choices", "not-found": "Page not found"}


class PageRoute(APIRoute):
    """A route whose errors are answered with a page that says what to do, or a line where a file was asked."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer with the handler with the errors caught."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await inner(request)
            except Problem as problem:
                return _error(request, problem)
            except RequestValidationError as error:
                found = error.errors()[0]
                if found["loc"][0] == "path":
                    return _error(request, Problem("not-found", f"there is no page {request.url.path[:100]}"))
                place = str(found["loc"][min(1, len(found["loc"]) - 1)])
                return _error(request, Problem("invalid-request", f"{place}: {found['msg']}"))
            except DataError as error:
                return _error(request, Problem("invalid-request", str(error)))
            except (HTTPException, LoginRequired):
                raise
            except Exception:
                request_id = request.scope["state"]["request_id"]
                logger.exception("unhandled error in request %s", request_id)
                detail = (
                    f"the page failed because of an unexpected error; search the log for request {request_id}"
                )
                return _error(request, Problem("internal-error", detail))

        return handle


def page_router() -> APIRouter:
    """A router for pages: left out of the API's description, with errors that people can read."""
    return APIRouter(include_in_schema=False, route_class=PageRoute)


def _error(request: Request, problem: Problem) -> Response:
    logger.info("%s: %s", request.url.path, problem.detail)
    # Messages of files name their path, which is nobody's business beyond the server.
    detail = problem.detail.replace(f"{request.app.state.equitrade.settings.home}/", "")
    if request.url.path.endswith(_FILES):
        return PlainTextResponse(detail, problem.status, headers=problem.headers)
    context: dict[str, Any] = {
        "heading": _HEADINGS.get(problem.kind, KINDS[problem.kind].title),
        "detail": detail,
        "advice": _ADVICE.get(problem.kind) or _way_on(request),
    }
    return page(request, "error.html", context, status=problem.status, headers=problem.headers)


def _way_on(request: Request) -> tuple[str, str]:
    """Link of an error page: the same page without its choices, or the start."""
    path, query = request.url.path, request.query_params
    if path.startswith("/dashboard/jobs/"):
        return _ADVICE["unknown-job"]
    if request.method == "GET" and set(query) - {"run"}:
        run = query.get("run", "")
        return "Show the page without these choices", f"{path}?{urlencode({'run': run})}" if run else path
    return "Go to the start", "/dashboard"
