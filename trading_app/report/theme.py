"""Theme of all figures: palette, template and helpers for numbers and series.

Colours are those of Okabe & Ito (2008), which stay apart for colour-blind readers; on dark paper they are
lightened where their contrast would be below 3:1. The agent is always blue, the reference baseline always
grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from data.errors import DataError
from trading_app.backtesting.summary import kind_of

Array = npt.NDArray[np.float64]

FONT = (
    "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans', 'Liberation Sans', Arial, "
    "sans-serif"
)
PERCENT = "\u202f%"
HEIGHT = 360


@dataclass(frozen=True)
class Theme:
    """Colours of a theme.

    ``palette`` is for series without a colour of their own; the ``cell`` colours are the ends of heat maps, dark
    enough on dark paper for white numbers on them.
    """

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    axis: str
    agent: str
    reference: str
    gain: str
    loss: str
    cell_gain: str
    cell_loss: str
    palette: tuple[str, ...]


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1a1d21",
    muted="#5b6470",
    grid="#e8ebef",
    axis="#b9c0c9",
    agent="#0072B2",
    reference="#6b7480",
    gain="#0072B2",
    loss="#D55E00",
    cell_gain="#0072B2",
    cell_loss="#D55E00",
    palette=("#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8C7A00", "#7F4F9E", "#4D4D4D"),
)
DARK = Theme(
    name="dark",
    paper="#171a1f",
    ink="#e8eaed",
    muted="#a0a8b3",
    grid="#2a2f37",
    axis="#4a525e",
    agent="#56B4E9",
    reference="#a7afba",
    gain="#56B4E9",
    loss="#F0803C",
    cell_gain="#2A7AB3",
    cell_loss="#BF5518",
    palette=("#E69F00", "#2BBF94", "#DD97BC", "#F0803C", "#3E8FD0", "#F0E442", "#B48BD0", "#C8C8C8"),
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK)}


def theme_named(name: str) -> Theme:
    """Return the theme called ``light`` or ``dark``; DataError for another name."""
    if name not in THEMES:
        raise DataError(f"theme {name!r} not found; available: {', '.join(THEMES)}")
    return THEMES[name]


#: First and last date of the visible part of a figure, as ``YYYY-MM-DD``.
Focus = tuple[str, str] | None


@cache
def template(theme: Theme) -> go.layout.Template:
    """Plotly template of a theme: small margins, a quiet grid, a legend above the plot."""
    axis = {
        "exponentformat": "none",
        "separatethousands": True,
        "gridcolor": theme.grid,
        "linecolor": theme.axis,
        "tickcolor": theme.axis,
        "zerolinecolor": theme.axis,
        "zerolinewidth": 1,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12, "color": theme.muted}},
        "tickfont": {"color": theme.muted, "size": 12},
    }
    layout = {
        "font": {"family": FONT, "size": 13, "color": theme.ink},
        "separators": ".\u202f",
        "paper_bgcolor": theme.paper,
        "plot_bgcolor": theme.paper,
        "colorway": [theme.agent, *theme.palette],
        "title": {
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 0.98,
            "yanchor": "top",
            "pad": {"l": 8},
            "font": {"size": 16},
            "subtitle": {"font": {"size": 12, "color": theme.muted}},
        },
        "margin": {"l": 8, "r": 12, "t": 88, "b": 8, "pad": 0},
        "height": HEIGHT,
        "hovermode": "x unified",
        "hoverlabel": {
            "bgcolor": theme.paper,
            "bordercolor": theme.axis,
            "font": {"family": FONT, "size": 12, "color": theme.ink},
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "xanchor": "left",
            "y": 1.01,
            "yanchor": "bottom",
            "font": {"size": 12, "color": theme.ink},
            "bgcolor": "rgba(0,0,0,0)",
            "itemsizing": "trace",
            "tracegroupgap": 4,
        },
        "xaxis": axis
        | {"showgrid": False, "zeroline": False, "ticks": "outside", "ticklen": 4, "showline": True},
        "yaxis": axis | {"showline": False, "ticks": ""},
        "dragmode": "zoom",
        "bargap": 0.25,
    }
    return go.layout.Template(layout=layout)


def figure(title: str, subtitle: str, theme: Theme, *, height: int = HEIGHT, **layout: Any) -> go.Figure:
    """An empty figure in a theme; `title` and `subtitle` are its main result and explanation, `layout` is Plotly's."""
    # All at once: a figure made without a layout first gets Plotly's own template, which takes as long again.
    start = {"template": template(theme), "title": {"text": title, "subtitle": {"text": subtitle}}}
    return go.Figure(layout={**start, "height": height, **layout})


def strategy_colours(names: Sequence[str], theme: Theme, reference: str | None = None) -> dict[str, str]:
    """A colour for each strategy: agent and seeds blue, the reference grey, the others from the palette.

    The reference is the first baseline by default. Give the names in the order of the report, so that a colour stays
    the same from figure to figure.
    """
    baselines = [name for name in names if kind_of(name) == "baseline"]
    grey = reference if reference in baselines else next(iter(baselines), None)
    others = [name for name in baselines if name != grey]
    colours = {name: theme.agent for name in names if kind_of(name) != "baseline"}
    if grey is not None:
        colours[grey] = theme.reference
    colours |= {name: theme.palette[i % len(theme.palette)] for i, name in enumerate(others)}
    return colours


def names_of(frame: pd.DataFrame) -> list[str]:
    """Names of a frame's columns."""
    return [str(name) for name in frame.columns]


def label_of(strategy: str) -> str:
    """Return the readable name of a strategy."""
    if kind_of(strategy) == "agent":
        return "Agent"
    text = strategy.replace("-", " ")
    return text[:1].upper() + text[1:]


def translucent(colour: str, opacity: float) -> str:
    """A hexadecimal colour with an opacity."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"


def numbers(values: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Return values in single precision, which is enough for a screen and halves the page."""
    return np.asarray(values, dtype=np.float32)


def days(index: pd.Index) -> list[str]:
    """Dates as ``YYYY-MM-DD``."""
    return [str(day) for day in pd.DatetimeIndex(index).to_numpy().astype("datetime64[D]")]


def thin(values: npt.ArrayLike, limit: int = 900) -> npt.NDArray[np.int64]:
    """Return the rows (increasing) of a long series [T] or [T, K] to draw, so that the figure looks the same.

    Of each of `limit` / 2 stretches the rows of the lowest and the highest value of the first column are
    kept, and the first and the last row: peaks and troughs survive.
    """
    array = np.asarray(values, dtype=np.float64)
    series = array if array.ndim == 1 else array[:, 0]
    if len(series) <= limit:
        return np.arange(len(series))
    edges = np.linspace(0, len(series), limit // 2 + 1).astype(int)
    filled = np.nan_to_num(series, nan=0.0)
    rows = {0, len(series) - 1}
    for begin, end in pairwise(edges):
        rows.add(begin + int(filled[begin:end].argmin()))
        rows.add(begin + int(filled[begin:end].argmax()))
    return np.array(sorted(rows))


def focused(frame: pd.DataFrame, focus: Focus) -> pd.DataFrame:
    """Return the rows between two dates and one more at each end, for lines to the edges; all without a focus."""
    if focus is None:
        return frame
    first, last = (pd.Timestamp(day) for day in focus)
    begin = max(int(frame.index.searchsorted(first)) - 1, 0)
    part = frame.iloc[begin : int(frame.index.searchsorted(last, side="right")) + 1]
    return part if len(part) > 1 else frame


def averaged(frame: pd.DataFrame, limit: int = 400) -> pd.DataFrame:
    """Means over equal stretches of rows, each dated by its last row; the frame itself where it is short."""
    if len(frame) <= limit:
        return frame
    groups = np.arange(len(frame)) * limit // len(frame)
    means = frame.groupby(groups).mean()
    last = np.flatnonzero(np.diff(groups, append=limit))
    return means.set_axis(frame.index[last], axis=0)
