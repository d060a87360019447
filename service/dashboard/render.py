"""Renders templates with the headers that pages need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, PackageLoader, PrefixLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from service.dashboard.assets import asset_url

HERE = Path(__file__).parent
# Everything a page loads comes from this service, and no script but its files runs. plotly.js writes styles into
# the page; they can load nothing from elsewhere, so nothing leaves through them.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Jinja2 environment of the dashboard's templates; values are escaped, missing ones are errors."""
    made = Environment(
        loader=ChoiceLoader(
            [
                FileSystemLoader(HERE / "templates"),
                PrefixLoader({"report": PackageLoader("trading_app.report")}),
            ]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset_url
    made.filters["commands"] = commands
    return made


def commands(text: str) -> Markup:
    """Escape a sentence and mark the text between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def page(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    """Render a template of ``templates/``, which sees the request and, if somebody is logged in, the session."""
    session = getattr(request.state, "session", None)
    known = {
        "request": request,
        "pages": request.app.state.pages,
        **({"session": session} if session else {}),
    }
    text = environment().get_template(template).render(**(known | dict(context)))
    return HTMLResponse(text, status, {"Content-Security-Policy": POLICY, **(headers or {})})
