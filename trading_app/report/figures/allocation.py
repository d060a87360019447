"""Figures of one allocation: target weights, their spread over seeds, and changes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.evaluation.labels import format_number
from trading_app.report.figures.common import category_axis
from trading_app.report.theme import LIGHT, PERCENT, Theme, figure, numbers, translucent

#: Assets in a figure; the table beside it has all.
ASSETS = 30


def allocation_bars(
    allocation: pd.DataFrame, *, as_of: str, before: str | None = None, theme: Theme = LIGHT
) -> go.Figure:
    """Target weight of each asset with the spread over seeds, the last target (of the close `before`) and the holdings.

    The frame is asset × ``weight``, ``spread`` (standard deviation over seeds) and, where known, ``before`` and
    ``held``: fractions of the account.
    """
    order = allocation["weight"].abs().sort_values(ascending=False, kind="stable").index
    shown = 100 * allocation.loc[order[:ASSETS]]
    names = [str(name) for name in shown.index]
    weights = allocation["weight"]
    invested = format_number(float(weights.abs().sum()), "percent", 0)
    largest = f"{names[0]} {format_number(float(weights[order[0]]), 'percent', 1)}"
    left = f" The {len(shown)} largest of {len(order)}." if len(order) > len(shown) else ""
    result = figure(
        f"Allocation at the close of {as_of}: {invested} invested, most in {largest}",
        f"Bars: target; lines: one standard deviation over seeds each way.{left}",
        theme,
        height=21 * len(shown) + 90,
        hovermode="closest",
        bargap=0.3,
        xaxis={"ticksuffix": PERCENT, "showgrid": True, "zeroline": True},
    )
    result.add_bar(
        x=numbers(shown["weight"]),
        y=names,
        orientation="h",
        name="Target",
        # Pale, so that lines and marks stand out from it in both looks.
        marker={"color": translucent(theme.agent, 0.5)},
        error_x={
            "type": "data",
            "array": numbers(shown["spread"]),
            "color": theme.ink,
            "thickness": 1.2,
            "width": 3,
        },
        customdata=numbers(shown["spread"]),
        hovertemplate="%{y}: %{x:.2f}" + PERCENT + " ± %{customdata:.2f}<extra></extra>",
    )
    last = f"Target of {before}" if before else "Last target"
    marks = {"before": (last, "circle", theme.paper), "held": ("Held", "diamond", theme.palette[0])}
    for column, (label, symbol, colour) in marks.items():
        if column in shown and shown[column].notna().any():
            result.add_scatter(
                x=numbers(shown[column]),
                y=names,
                mode="markers",
                name=label,
                marker={
                    "symbol": symbol,
                    "size": 8,
                    "color": colour,
                    "line": {"width": 1.5, "color": theme.ink},
                },
                hovertemplate=f"%{{y}}, {label[:1].lower()}{label[1:]}: %{{x:.2f}}"
                + PERCENT
                + "<extra></extra>",
            )
    category_axis(result, dtick=1, tickfont={"size": 11})
    return result


def change_bars(allocation: pd.DataFrame, *, before: str | None = None, theme: Theme = LIGHT) -> go.Figure:
    """Change of each asset's weight from the last target (of the close `before`) and from the holdings."""
    known = [name for name in ("before", "held") if name in allocation and allocation[name].notna().any()]
    changes = pd.DataFrame(
        {name: allocation["weight"] - allocation[name] for name in known}, index=allocation.index
    )
    order = changes.abs().max(axis=1).sort_values(ascending=False, kind="stable").index
    shown = 100 * changes.loc[order[:ASSETS]]
    last = f"the target of {before}" if before else "the last target"
    words = {"before": f"against {last}", "held": "against holdings"}
    turnover = ", ".join(
        f"{format_number(float(changes[name].abs().sum()) / 2, 'percent', 1)} {words[name]}" for name in known
    )
    result = figure(
        f"To trade: {turnover}" if known else "To trade: no earlier target or holdings yet",
        "Change of each weight in percentage points of the account; half of the sum of their sizes is the turnover.",
        theme,
        height=21 * len(shown) + 90,
        hovermode="closest",
        barmode="group",
        bargap=0.3,
        xaxis={"ticksuffix": PERCENT, "showgrid": True, "zeroline": True},
    )
    colours = {"before": theme.palette[0], "held": theme.agent}
    for name in known:
        result.add_bar(
            x=numbers(np.asarray(shown[name])),
            y=[str(asset) for asset in shown.index],
            orientation="h",
            name=words[name][:1].upper() + words[name][1:],
            marker={"color": colours[name]},
            hovertemplate="%{y}: %{x:+.2f}" + PERCENT + f" {words[name]}<extra></extra>",
        )
    category_axis(result, dtick=1, tickfont={"size": 11})
    return result
