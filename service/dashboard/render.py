"""Renders templates with the headers that pages need."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

HERE = Path(__file__).parent
STATIC = HERE / "static"
# Everything a page loads comes from this service; nothing inline runs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Jinja2 environment of the dashboard's templates; values are escaped, missing ones are errors."""
    return Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    policy: str = POLICY,
) -> HTMLResponse:
    """Render a template.

    Parameters
    ----------
    request
        The request; templates see it as ``request``.
    template
        Name under ``templates/``.
    context
        Values for it.
    status
        HTTP status.
    headers
        Further headers.
    policy
        Content security policy, for pages that need another one.
    """
    text = environment().get_template(template).render(request=request, **context)
    return HTMLResponse(text, status, {"Content-Security-Policy": policy, **(headers or {})})
