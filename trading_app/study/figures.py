"""Figures of a study: differences with intervals, and learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_app.report.figures.common import interval_figure
from trading_app.report.theme import LIGHT, Theme, template, translucent
from trading_app.study.comparisons import group_text, other_text
from trading_app.study.curves import PARTS

__all__ = ["differences_figure", "learning_figure"]

COLUMNS = 2


def differences_figure(document: Mapping[str, Any], *, theme: Theme = LIGHT) -> go.Figure | None:
    """Difference of net Sharpe ratios of the subject from each other strategy; None without comparisons.

    Blue: decided for the subject; orange: decided against it; grey: undecided.
    """
    colours = {"better": theme.gain, "worse": theme.loss}
    rows = []
    for record in [*document["overall"], *document["comparisons"]]:
        estimate = record["sharpe_difference"]
        where = record.get("dataset") or group_text(record)
        interval = estimate["value"], estimate["low"], estimate["high"]
        label = f"{other_text(record)}, {where}"
        rows.append((label, interval, colours.get(record["verdict"], theme.reference)))
    if not rows:
        return None
    return interval_figure(
        f"Net Sharpe ratio of {document['design']['subject']} minus that of the others",
        f"{100 * document['level']:.0f} % intervals; grey: undecided after Holm's correction",
        rows,
        theme,
        row_height=26,
    )


def learning_figure(document: Mapping[str, Any], *, theme: Theme = LIGHT) -> go.Figure | None:
    """Sharpe ratio above the base by update, a panel for each dataset; None where no unit is done.

    Solid lines with bands: validation dates; dashed: training dates.
    """
    labels = [label for label in document["design"]["data"] if _drawn(document, label)]
    if not labels:
        return None
    rows = -(-len(labels) // COLUMNS)
    result = make_subplots(rows=rows, cols=min(COLUMNS, len(labels)), subplot_titles=labels)
    colours = dict(zip(document["design"]["agents"], (theme.agent, *theme.palette), strict=False))
    named: set[str] = set()
    for place, label in enumerate(labels):
        cell = {"row": place // COLUMNS + 1, "col": place % COLUMNS + 1}
        for name in _drawn(document, label):
            agent, summary = document["units"][name]["agent"], document["learning"][name]
            for part in PARTS:
                if part in summary:
                    first = agent not in named and part == "validation"
                    _add_band(result, summary, part, agent, colours[agent], first, cell)
            named.add(agent)
    height = 150 + 280 * rows
    result.update_layout(
        template=template(theme),
        title={
            "text": "Sharpe ratio above the base while learning",
            "subtitle": {
                "text": "Solid: validation dates, with intervals over seeds. Dashed: training dates."
            },
        },
        height=height,
        margin={"t": 150},
        legend={"yref": "container", "y": 1 - 70 / height, "yanchor": "top"},
    )
    return result.update_xaxes(title_text="updates")


def _drawn(document: Mapping[str, Any], label: str) -> list[str]:
    return [name for name, unit in document["units"].items() if unit["dataset"] == label]


def _add_band(
    result: go.Figure,
    summary: Mapping[str, Any],
    part: str,
    agent: str,
    colour: str,
    legend: bool,
    cell: Mapping[str, int],
) -> None:
    band, x = summary[part], summary["updates"]
    inside = part == "training"
    if not inside and None not in band["low"]:
        outline = {"x": [*x, *x[::-1]], "y": [*band["high"], *band["low"][::-1]]}
        result.add_scatter(
            **outline,
            mode="lines",
            fill="toself",
            fillcolor=translucent(colour, 0.12),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
            legendgroup=agent,
            **cell,
        )
    result.add_scatter(
        x=x,
        y=band["estimate"],
        name=agent,
        mode="lines",
        line={"color": colour, "width": 2, "dash": "dash" if inside else "solid"},
        showlegend=legend,
        legendgroup=agent,
        **cell,
    )
