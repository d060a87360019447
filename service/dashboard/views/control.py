"""Figures that other packages offer to the dashboard, in its theme.

A package offers them through the entry-point group ``equitrade.dashboard``: a function that takes the state directory
and gives ``title``, ``advice`` and ``results``, each with ``name``, ``folder``, ``state`` (``current``, ``outdated`` or
``undrawn``) and ``advice``. A folder holds ``dashboard.json`` (``notes``, ``tables`` with ``caption`` and ``rows``,
``figures`` with ``name``, ``title``, ``subtitle`` and ``view``) and for each figure ``NAME.plotly.json`` and
``NAME.csv``. So the service imports nothing of those packages, and a request computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import wrap
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from service.core.problems import Problem
from service.dashboard.figures import PageFigure
from trading_app.report.tables import Cell, Table
from trading_app.report.theme import LIGHT, Theme, figure

GROUP = "equitrade.dashboard"
# Settings of a look that a figure of another package brings.
_LOOK = ("template", "font", "title", "paper_bgcolor", "plot_bgcolor", "legend", "margin")
_PANEL_TOP = 0.93
_PANEL_GAP = 0.012
# Letters of a row's name that a phone shows on one line.
_LONG = 18


@dataclass(frozen=True)
class Offer:
    """One folder of figures; `key` is its name in the address, `title` says whose they are.

    `state` is ``current``, ``outdated`` or ``undrawn``, and `advice` says what to do about it. `index` is the content
    of ``dashboard.json``; None where nothing was drawn or it cannot be read.
    """

    key: str
    title: str
    folder: Path
    state: str
    advice: str
    index: Mapping[str, Any] | None

    @property
    def views(self) -> list[str]:
        """Parts of the study that figures belong to."""
        figures = self.index["figures"] if self.index else []
        return list(dict.fromkeys(entry["view"] for entry in figures if entry["view"]))


def offers(home: Path) -> tuple[list[Offer], list[str]]:
    """Everything that installed packages offer, and advice for those that have nothing yet."""
    found: list[Offer] = []
    advice: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        offered = point.load()(home)
        for result in offered["results"]:
            key = f"{point.name}-{result['name']}"
            index = None if result["state"] == "undrawn" else _index(Path(result["folder"]))
            found.append(
                Offer(
                    key,
                    offered["title"],
                    Path(result["folder"]),
                    result["state"] if index else "undrawn",
                    result["advice"] or offered["advice"],
                    index,
                )
            )
        if not offered["results"]:
            advice.append(offered["advice"])
    return found, advice


def choose_offer(found: list[Offer], key: str) -> Offer | None:
    """The folder that an address names, by default the first with figures; None where there is nothing.

    Raises `Problem` ``not-found``.
    """
    if not key:
        return next((offer for offer in found if offer.index), found[0] if found else None)
    for offer in found:
        if offer.key == key:
            return offer
    known = ", ".join(offer.key for offer in found) or "none yet"
    raise Problem("not-found", f"there are no results {key[:100]!r}; there are {known}")


def figures_of(offer: Offer, view: str) -> list[PageFigure]:
    """Figures of the whole study and of one of its parts, the first by default.

    Raises `Problem` ``not-found`` for another part.
    """
    if offer.index is None:
        return []
    chosen = chosen_view(offer, view)
    return [
        PageFigure(
            entry["name"],
            _title(entry),
            partial(_figure, offer, entry),
            partial(_table, offer, entry["name"]),
            wide=True,
        )
        for entry in offer.index["figures"]
        if entry["view"] in ("", chosen)
    ]


def chosen_view(offer: Offer, view: str) -> str:
    """The part of a study to show."""
    if not view:
        return offer.views[0] if offer.views else ""
    if view not in offer.views:
        raise Problem(
            "not-found", f"there is no {view[:100]!r} in {offer.key}; there are {', '.join(offer.views)}"
        )
    return view


def tables_of(offer: Offer) -> list[tuple[str, Table]]:
    """Tables with the head of their first column."""
    made = []
    for entry in offer.index["tables"] if offer.index else []:
        if not entry["rows"]:
            continue
        first, *columns = entry["rows"][0]
        rows = tuple((str(row[first]), tuple(Cell(str(row[c])) for c in columns)) for row in entry["rows"])
        heads = tuple(str(name)[:1].upper() + str(name)[1:] for name in columns)
        made.append((first, Table(entry["caption"], heads, rows)))
    return made


def dressed(made: go.Figure, title: str, subtitle: str, theme: Theme) -> go.Figure:
    """A figure drawn with the colours of `LIGHT` in a theme; panels in a row stand one below the other on a phone."""
    content = made.to_plotly_json()
    layout = {key: value for key, value in content["layout"].items() if key not in _LOOK}
    for key, value in layout.items():
        if key.startswith(("xaxis", "yaxis")):
            value.pop("gridcolor", None)
            if isinstance(value.get("title"), dict):
                value["title"].pop("font", None)
    height = int(layout.pop("height", 380))
    panels = _panels(layout)
    if len(panels) > 1:
        layout = _room_for_titles(layout, panels)
        layout["meta"] = {"narrow": _stacked(layout, panels, height)}
    else:
        layout["hovermode"] = "closest"
        rows = layout.get("yaxis", {}).get("categoryarray")
        if rows is not None:  # room above the first and below the last
            layout["yaxis"] = {**layout["yaxis"], "range": [-0.6, len(rows) - 0.4]}
        layout["meta"] = {"narrow": _wrapped(content["data"])}
    content = {"data": list(content["data"]), "layout": layout}
    if theme is not LIGHT:
        content = _recoloured(content, theme)
    result = figure(title, subtitle, theme, height=height, **content["layout"])
    result.add_traces(list(go.Figure(data=content["data"]).data))
    return result


def _figure(offer: Offer, entry: Mapping[str, Any], theme: Theme) -> go.Figure:
    path = offer.folder / f"{entry['name']}.plotly.json"
    try:
        made = go.Figure(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise Problem("not-found", f"{path.name} cannot be read ({error}); draw the figures again") from None
    return dressed(made, _title(entry), entry["subtitle"], theme)


def _title(entry: Mapping[str, Any]) -> str:
    """Title of a figure, without the part of the study, which is a heading of the page."""
    title = str(entry["title"]).removeprefix(f"{entry['view']}: ")
    return title[:1].upper() + title[1:]


def _table(offer: Offer, name: str) -> pd.DataFrame:
    path = offer.folder / f"{name}.csv"
    try:
        return pd.read_csv(path)
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
    except (OSError, ValueError) as error:
        raise Problem("not-found", f"{path.name} cannot be read ({error}); draw the figures again") from None


def _index(folder: Path) -> Mapping[str, Any] | None:
    try:
        index: Mapping[str, Any] = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
        complete = {"notes", "tables", "figures"} <= set(index)
    except (OSError, ValueError, TypeError):
        return None
    return index if complete else None


def _panels(layout: Mapping[str, Any]) -> list[str]:
    """Numbers of the panels in a row, as their axes' names end: ``""``, ``"2"``, ``"3"`` …"""
    return sorted(
        (key.removeprefix("xaxis") for key in layout if key.startswith("xaxis") and "domain" in layout[key]),
        key=lambda number: int(number or 1),
    )


def _room_for_titles(layout: Mapping[str, Any], panels: list[str]) -> dict[str, Any]:
    """The panels a little lower, so that their titles have room below the upper edge, and apart, so that the last
    number below one does not run into the first below the next."""
    made = dict(layout)
    for place, number in enumerate(panels):
        left, right = made[f"xaxis{number}"]["domain"]
        inner = (_PANEL_GAP if place else 0.0, _PANEL_GAP if place < len(panels) - 1 else 0.0)
        made[f"xaxis{number}"] = {**made[f"xaxis{number}"], "domain": [left + inner[0], right - inner[1]]}
        made[f"yaxis{number}"] = {**made.get(f"yaxis{number}", {}), "domain": [0.0, _PANEL_TOP]}
    made["annotations"] = [
        {**note, "y": _PANEL_TOP + 0.01, "font": {"size": 13}} for note in made.get("annotations", ())
    ]
    return made


def _stacked(layout: Mapping[str, Any], panels: list[str], height: int) -> dict[str, Any]:
    """Changes of a layout that put panels of a row below one another."""
    count = len(panels)
    narrow: dict[str, Any] = {"layout.height": 120 + 230 * count}
    for place, number in enumerate(panels):
        top = 1 - place / count
        narrow[f"layout.xaxis{number}.domain"] = [0.0, 1.0]
        narrow[f"layout.yaxis{number}.domain"] = [top - 0.72 / count, top - 0.09 / count]
        narrow[f"layout.yaxis{number}.showticklabels"] = True
        if place < len(layout.get("annotations", ())):
            narrow[f"layout.annotations.{place}.x"] = 0.5
            narrow[f"layout.annotations.{place}.y"] = top - 0.08 / count
        if place < count - 1:
            narrow[f"layout.xaxis{number}.title.text"] = ""
    return narrow


def _wrapped(traces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Changes of a layout that break long row names, so that the plot has room."""
    names = list(dict.fromkeys(y for trace in traces for y in trace.get("y", ()) if isinstance(y, str)))
    if max(map(len, names), default=0) <= _LONG:
        return {}
    broken = ["<br>".join(wrap(name, _LONG)) for name in names]
    return {
        "layout.height": 110 + 46 * len(names),
        "layout.yaxis.tickvals": names,
        "layout.yaxis.ticktext": broken,
        "layout.yaxis.tickfont.size": 9,
        "layout.xaxis.title.font.size": 10,
    }


def _recoloured(content: Any, theme: Theme) -> Any:
    """The same content with each colour of the light theme replaced by that of another theme."""
    if isinstance(content, dict):
        return {key: _recoloured(value, theme) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_recoloured(value, theme) for value in content]
    return _colour(content, theme) if isinstance(content, str) else content


def _colour(text: str, theme: Theme) -> str:
    pairs = zip(_colours(LIGHT), _colours(theme), strict=True)
    swaps = {one.lower(): other for one, other in pairs}
    if text.lower() in swaps:
        return swaps[text.lower()]
    if text.startswith("rgba(") and text.count(",") == 3:
        *parts, opacity = text.removeprefix("rgba(").removesuffix(")").split(",")
        solid = "#" + "".join(f"{int(part):02x}" for part in parts)
        if solid in swaps:
            red, green, blue = (int(swaps[solid][i : i + 2], 16) for i in (1, 3, 5))
            return f"rgba({red},{green},{blue},{opacity})"
    return text


def _colours(theme: Theme) -> tuple[str, ...]:
    return (theme.agent, theme.reference, theme.ink, *theme.palette)
