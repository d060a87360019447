"""Parts that several figure modules share: axes of categories and of growth, points with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from trading_app.report.theme import numbers, translucent

__all__ = ["add_interval", "category_axis", "fit_intervals", "growth_axis"]


def category_axis(result: go.Figure, **settings: Any) -> None:
    """Make the vertical axis one of categories, from the top down."""
    result.update_yaxes(autorange="reversed", type="category", showgrid=False, **settings)


def growth_axis(log: bool, **settings: Any) -> dict[str, Any]:
    """Return the settings of an axis for the value of accounts that start at 1."""
    kind = "log" if log else "linear"
    return {"type": kind, "tickformat": ".3~g", **settings, "title": {"text": "Value (start = 1)"}}


def add_interval(
    result: go.Figure,
    label: str,
    scale: float,
    values: tuple[float | None, float | None, float | None],
    colour: str,
    suffix: str,
    digits: int,
) -> None:
    """Add a point with a bar from low to high in a row of its own; undefined values are not drawn."""
    value, low, high = (np.nan if v is None else scale * v for v in values)
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


def fit_intervals(result: go.Figure) -> None:
    """Fit the axes to intervals from `add_interval`: rows from the top down, zero and some margin in the range."""
    ends = np.concatenate([np.asarray(trace.x, dtype=np.float64) for trace in result.data] or [np.zeros(1)])
    low, high = (float(f(np.append(ends[np.isfinite(ends)], 0.0))) for f in (np.min, np.max))
    margin = 0.04 * (high - low or 1.0)
    result.update_xaxes(range=[low - margin, high + margin])
    category_axis(result)
