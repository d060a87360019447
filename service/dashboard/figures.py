"""Figures on pages: a picture is a figure function with its exact data, drawn by the browser, saved as CSV or PNG.

A page lays out cards (`templates/parts.html`); the browser asks for each figure when it comes into view, in the
look of the moment, so that the first view waits for no more than it shows. What a reader sees first is in the page
as a sketch, until plotly.js is there.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from service.core.problems import Problem
from service.dashboard.assets import accepts_gzip
from service.dashboard.sketch import MARKED, sketch
from trading_app.report.payload import document, embed
from trading_app.report.theme import Theme, theme_named

logger = logging.getLogger("equitrade.dashboard")

_SMALL = 1400
#: Pictures of a page that are in it from the start.
SKETCHED = 3


@dataclass(frozen=True)
class Picture:
    """A figure on a page.

    Attributes
    ----------
    name : str
        Its id on the page and in file names: small letters, digits and dashes.
    title : str
        What stands in its place until the figure, which has a title of its own, is there.
    figure : callable
        Makes the figure in a theme.
    table : callable
        Gives the data behind it, exact and whole, for the download.
    wide : bool
        Whether it has a row to itself on a wide screen.
    size : str
        About how high it is, so that the page does not jump: ``short``, ``medium`` or ``tall``.
    axis : bool
        Whether a button turns its vertical axis from logarithmic to linear.
    fine : bool
        Whether its file can be asked for in the detail of the dates zoomed to, see `Zoom`.
    """

    name: str
    title: str
    figure: Callable[[Theme], go.Figure]
    table: Callable[[], pd.DataFrame]
    wide: bool = True
    size: Literal["short", "medium", "tall"] = "medium"
    axis: bool = False
    fine: bool = False


@dataclass(frozen=True)
class Sketched:
    """A figure's words, and what it looks like."""

    title: str
    subtitle: str
    drawing: Markup


@dataclass(frozen=True)
class _Order:
    """A picture to sketch, known by where it is and what it shows."""

    place: tuple[Any, ...]
    picture: Picture = field(compare=False)


@dataclass(frozen=True)
class Gallery:
    """What a template needs to lay out pictures: where their files are, and the view that they are of.

    ``stamp`` is another one whenever the data behind the pictures are; without one sketches are made anew each time.
    """

    path: str
    view: dict[str, str | list[str]]
    pictures: dict[str, Picture]
    stamp: Hashable = None

    def url(self, name: str, form: str) -> str:
        """Address of a picture's file."""
        return address(f"{self.path}/{name}.{form}", self.view)

    def sketch(self, name: str) -> Sketched | None:
        """A picture as the page itself holds it, of those that a reader sees first; None for the others."""
        if name not in list(self.pictures)[:SKETCHED]:
            return None
        order = _Order((self.url(name, "svg"), self.stamp), self.pictures[name])
        return _sketched(order) if self.stamp is None else _kept(order)

    def sketch_all(self) -> None:
        """Sketch what a reader sees first, so that nobody waits for it."""
        for name in self.pictures:
            self.sketch(name)

    def starting(self, *prefixes: str) -> list[str]:
        """Names of the pictures that begin so, in their order."""
        return [name for name in self.pictures if name.startswith(prefixes)]


def _sketched(order: _Order) -> Sketched | None:
    try:
        figure = order.picture.figure(MARKED)
        title = figure.layout.title
        return Sketched(title.text, title.subtitle.text, Markup(sketch(figure)))
    except Exception:
        # It only bridges the time until the figure itself comes, which tells what is wrong.
        logger.exception("figure %r cannot be sketched", order.picture.name)
        return None


_kept = lru_cache(maxsize=128)(_sketched)


def address(path: str, view: Mapping[str, str | list[str] | None]) -> str:
    """A path with a view as its query string; what is None or empty is left out."""
    query = urlencode({key: value for key, value in view.items() if value}, doseq=True)
    return f"{path}?{query}" if query else path


def gallery(
    pictures: Iterable[Picture], path: str, *, stamp: Hashable = None, **view: str | list[str] | None
) -> Gallery:
    """Pictures for a template.

    Parameters
    ----------
    pictures : iterable of Picture
        What to show.
    path : str
        Where the page's figure route is, without the file.
    stamp : hashable, optional
        Changes with the data behind the pictures.
    **view : str, optional
        What of the query string the figures depend on; what is None or empty is left out.
    """
    known = {key: value for key, value in view.items() if value}
    return Gallery(path, known, {p.name: p for p in pictures}, stamp)


def themed(function: Callable[..., go.Figure], *args: Any, **kwargs: Any) -> Callable[[Theme], go.Figure]:
    """A figure function with its data, as a picture wants it: waiting for the theme alone."""
    return lambda theme: function(*args, **kwargs, theme=theme)


def picture_file(request: Request, pictures: Iterable[Picture], file: str) -> Response:
    """Answer with a figure as JSON (``NAME.json``, in the look that ``?theme=`` names) or its data as CSV.

    Raises
    ------
    Problem
        ``not-found``.
    """
    name, _, form = file.rpartition(".")
    found = next((picture for picture in pictures if picture.name == name), None)
    if found is None or form not in ("json", "csv"):
        raise Problem("not-found", f"there is no figure {file[:100]!r} on this page")
    if form == "csv":
        return csv_file(found.table(), found.name)
    look = theme_named("dark" if request.query_params.get("theme") == "dark" else "light")
    return _json(request, embed(document(found.figure(look), look)))


def csv_file(table: pd.DataFrame, stem: str) -> Response:
    """A table as a CSV file to download; every number reads back to the same bits."""
    plain = table.index.name is None and isinstance(table.index, pd.RangeIndex)
    headers = {"Content-Disposition": f'attachment; filename="{stem}.csv"'}
    content = table.to_csv(index=not plain, date_format="%Y-%m-%d")
    return Response(content, headers=headers, media_type="text/csv; charset=utf-8")


def _json(request: Request, text: str) -> Response:
    content, headers = text.encode(), {"Vary": "Accept-Encoding"}
    if len(content) > _SMALL and accepts_gzip(request):
        content = gzip.compress(content, 4, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type="application/json")
