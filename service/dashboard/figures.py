"""Figures of pages: a figure function with its exact data, drawn by plotly.js, downloaded as CSV or PNG.

A page has a card for each figure (`templates/parts.html`). The browser fetches a figure when its card comes near the
screen. Cards of the first screen have the caption and height of their figure from the start, so that nothing moves
when plotly.js draws them.
"""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import plotly.graph_objects as go
from starlette.requests import Request
from starlette.responses import Response

from service.core.problems import Problem
from service.dashboard.assets import accepts_gzip
from trading_app.report.payload import document, embed
from trading_app.report.theme import HEIGHT, LIGHT, Theme, theme_named

logger = logging.getLogger("equitrade.dashboard")

#: Shorter answers are not compressed.
_COMPRESSED_FROM = 1400
#: Figures of a page whose caption and height are known before plotly.js draws them: those of the first screen.
FIRST_SCREEN = 3


@dataclass(frozen=True)
class PageFigure:
    """A figure on a page.

    Attributes
    ----------
    name : str
        Its id on the page and in file names: lower-case letters, digits and dashes.
    title : str
        Title on the page until the figure, which has a title of its own, is drawn.
    figure : callable
        Function from a theme to the figure.
    table : callable
        Function that returns the data behind the figure, exact and complete, for the download.
    wide : bool
        Whether it has a row of its own on a wide screen.
    height : int
        Height in pixels, about right, reserved until the figure is drawn.
    has_log_axis : bool
        Whether a button switches its vertical axis between logarithmic and linear.
    zooms_in : bool
        Whether it can be fetched in more detail for the dates in view, see `Zoom`.
    """

    name: str
    title: str
    figure: Callable[[Theme], go.Figure]
    table: Callable[[], pd.DataFrame]
    wide: bool = True
    height: int = HEIGHT
    has_log_axis: bool = False
    zooms_in: bool = False


@dataclass(frozen=True)
class Caption:
    """Title, subtitle and height of a figure as a page shows them before the figure is drawn."""

    title: str
    subtitle: str
    height: int


@dataclass(frozen=True)
class Gallery:
    """Figures for a template: the address of their files, and the view of the page that they belong to."""

    path: str
    view: dict[str, str | list[str]]
    figures: dict[str, PageFigure]

    def url(self, name: str, extension: str) -> str:
        """Address of a figure's file."""
        return address(f"{self.path}/{name}.{extension}", self.view)

    def caption(self, name: str) -> Caption:
        """Caption of a figure: its own on the first screen, else the working title."""
        figure = self.figures[name]
        if name in list(self.figures)[:FIRST_SCREEN]:
            try:
                layout = figure.figure(LIGHT).layout
                return Caption(layout.title.text, layout.title.subtitle.text, layout.height or HEIGHT)
            except Exception:
                # The request for the figure itself fails too, and its card shows the reason.
                logger.exception("figure %r cannot be drawn", name)
        return Caption(figure.title, "", figure.height)

    def starting(self, *prefixes: str) -> list[str]:
        """Names of the figures that begin with one of the prefixes, in their order."""
        return [name for name in self.figures if name.startswith(prefixes)]


def address(path: str, view: Mapping[str, str | list[str] | None]) -> str:
    """A path with a view as its query string, without members that are None or empty."""
    query = urlencode({key: value for key, value in view.items() if value}, doseq=True)
    return f"{path}?{query}" if query else path


def gallery(figures: Iterable[PageFigure], path: str, **view: str | list[str] | None) -> Gallery:
    """Figures for a template, in the order of the page.

    `path` is the address of the page's figure route without the file, `view` the members of the query string that the
    figures depend on; what is None or empty is left out.
    """
    known = {key: value for key, value in view.items() if value}
    return Gallery(path, known, {figure.name: figure for figure in figures})


def themed(function: Callable[..., go.Figure], *args: Any, **kwargs: Any) -> Callable[[Theme], go.Figure]:
    """A figure function with its data bound, so that only the theme is missing."""
    return lambda theme: function(*args, **kwargs, theme=theme)


def figure_file(request: Request, figures: Iterable[PageFigure], file: str) -> Response:
    """Answer with a figure as JSON (``NAME.json``, in the theme that ``?theme=`` names) or its data as CSV.

    Raises `Problem` ``not-found``.
    """
    name, _, extension = file.rpartition(".")
    found = next((figure for figure in figures if figure.name == name), None)
    if found is None or extension not in ("json", "csv"):
        raise Problem("not-found", f"there is no figure {file[:100]!r} on this page")
    if extension == "csv":
        return csv_file(found.table(), found.name)
    theme = theme_named("dark" if request.query_params.get("theme") == "dark" else "light")
    return _json(request, embed(document(found.figure(theme), theme)))


def csv_file(table: pd.DataFrame, stem: str) -> Response:
    """A table as a CSV file to download; every number reads back to the same bits."""
    plain = table.index.name is None and isinstance(table.index, pd.RangeIndex)
    headers = {"Content-Disposition": f'attachment; filename="{stem}.csv"'}
    content = table.to_csv(index=not plain, date_format="%Y-%m-%d")
    return Response(content, headers=headers, media_type="text/csv; charset=utf-8")


def _json(request: Request, text: str) -> Response:
    content, headers = text.encode(), {"Vary": "Accept-Encoding"}
    if len(content) > _COMPRESSED_FROM and accepts_gzip(request):
        content = gzip.compress(content, 4, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type="application/json")
