"""Parts that several figure modules share: axes of categories and of growth, dated lines, intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.report.theme import Theme, days, figure, numbers, translucent

#: Value, low and high end; None where undefined.
Interval = tuple[float | None, float | None, float | None]


def category_axis(result: go.Figure, **settings: Any) -> None:
    """Make the vertical axis one of categories, from the top down."""
    result.update_yaxes(autorange="reversed", type="category", showgrid=False, **settings)


def growth_axis(log: bool, **settings: Any) -> dict[str, Any]:
    """Return the settings of an axis for the value of accounts that start at 1."""
    kind = "log" if log else "linear"
    return {"type": kind, "tickformat": ".3~g", **settings, "title": {"text": "Value (start = 1)"}}


def add_line(
    result: go.Figure,
    values: pd.Series,
    name: str,
    colour: str,
    width: float,
    hover: str | None,
    **options: Any,
) -> None:
    """Add a line of values by date, or by step where the index has numbers."""
    dated = isinstance(values.index, pd.DatetimeIndex)
    result.add_scatter(
        x=days(values.index) if dated else values.index.to_numpy(),
        y=numbers(values),
        name=name,
        line={"color": colour, "width": width} | options.pop("line", {}),
        hovertemplate=hover,
        **options,
    )


def interval_figure(
    title: str,
    subtitle: str,
    rows: Sequence[tuple[str, Interval, str]],
    theme: Theme,
    *,
    row_height: int,
    scale: float = 1.0,
    suffix: str = "",
    digits: int = 2,
    **axis: Any,
) -> go.Figure:
    """A row for each (label, interval, colour): a point with a bar from low to high; undefined values are not drawn.

    Values are multiplied by `scale`; `axis` has further settings of their axis.
    """
    result = figure(
        title,
        subtitle,
        theme,
        height=row_height * len(rows) + 110,
        showlegend=False,
        hovermode="closest",
        xaxis={"ticksuffix": suffix, "showgrid": True, "zeroline": True, **axis},
    )
    for label, interval, colour in rows:
        value, low, high = (np.nan if v is None else scale * v for v in interval)
        result.add_scatter(
            x=numbers([low, high]),
            y=[label, label],
            mode="lines",
            line={"color": translucent(colour, 0.55), "width": 7},
            hoverinfo="skip",
        )
        result.add_scatter(
            x=numbers([value]),
            y=[label],
            mode="markers",
            marker={"size": 11, "color": colour},
            hovertemplate=f"{label}: %{{x:.{digits}f}}{suffix} ({low:.{digits}f} to {high:.{digits}f})"
            "<extra></extra>",
        )
    fit_range(result)
    category_axis(result)
    return result


def fit_range(result: go.Figure) -> None:
    """Fit the horizontal axis to all points and to zero, with some margin."""
    ends = np.concatenate([np.asarray(trace.x, dtype=np.float64) for trace in result.data] or [np.zeros(1)])
    low, high = (float(f(np.append(ends[np.isfinite(ends)], 0.0))) for f in (np.min, np.max))
    margin = 0.04 * (high - low or 1.0)
    result.update_xaxes(range=[low - margin, high + margin])
