"""Static files of the pages, plotly.js among them: compressed once, cached for a year.

A page names a file with a hash of its content (`asset_url`), so a browser may keep it for a year and still sees
the next version at once.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from service.core.problems import Problem

router = APIRouter(include_in_schema=False)

#: File → the package that has it, and the folder in that. One list, so that no path comes from a request.
_PLACES = {
    "plotly-cartesian.min.js": ("trading_app.report", "static"),
    "figures.js": ("trading_app.report", "static"),
    "report.css": ("trading_app.report", "static"),
    "dashboard.css": ("service.dashboard", "static"),
    "dashboard.js": ("service.dashboard", "static"),
    "look.js": ("service.dashboard", "static"),
}
_TYPES = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
_YEAR = "public, max-age=31536000, immutable"


@router.get("/dashboard/static/{name}")
async def static_file(name: str, request: Request, v: str = "") -> Response:
    """Answer with a static file; it is cached for a year if its address has the hash of its content."""
    if name not in _PLACES:
        raise Problem("not-found", f"there is no static file {name[:100]!r}")
    tag = f'"{_hash(name)}"'
    headers = {
        "Cache-Control": _YEAR if v == _hash(name) else "no-cache",
        "ETag": tag,
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    content = _source(name).read_bytes() if not accepts_gzip(request) else _compressed(name)
    if accepts_gzip(request):
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


def asset_url(name: str) -> str:
    """Address of a static file, with the hash of its content."""
    return f"/dashboard/static/{name}?v={_hash(name)}"


def accepts_gzip(request: Request) -> bool:
    """Return whether the browser takes gzip."""
    return "gzip" in request.headers.get("accept-encoding", "")


def _source(name: str) -> Traversable:
    package, folder = _PLACES[name]
    return files(package).joinpath(folder, name)


@cache
def _hash(name: str) -> str:
    return hashlib.sha256(_source(name).read_bytes()).hexdigest()[:16]


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress(_source(name).read_bytes(), 6, mtime=0)
