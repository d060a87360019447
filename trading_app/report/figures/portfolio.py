"""Figures of the portfolio: weights, exposure, turnover and costs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.evaluation.labels import format_number
from trading_app.report.figures.common import add_line, category_axis
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Focus,
    Theme,
    averaged,
    days,
    figure,
    focused,
    names_of,
    numbers,
    template,
    translucent,
)

#: Layers that a reader can tell apart.
LAYERS = 8
COST_LABELS = {
    "price_pnl": "Price gains",
    "commission": "Commission",
    "spread": "Spread",
    "impact": "Impact",
    "borrow": "Borrow",
    "interest": "Interest",
}


def weights_area(
    weights: pd.DataFrame, *, layers: int = LAYERS, focus: Focus = None, theme: Theme = LIGHT
) -> go.Figure:
    """Holdings over time as stacked areas, long above zero and short below.

    Weights are date × symbol, fractions of the account after each session's fill. The largest on average have a layer
    of their own, the others share one.
    """
    held = weights.iloc[1:] if len(weights) > 1 and not weights.iloc[0].any() else weights
    size = held.abs().mean().sort_values(ascending=False, kind="stable")
    alone = list(size.index[:layers] if len(size) > layers + 1 else size.index)
    rest = [symbol for symbol in held.columns if symbol not in alone]
    long, short = held.clip(lower=0), held.clip(upper=0)
    result = figure(
        "Weights over time",
        f"Share of the account in each asset; the rest up to 100{PERCENT} is cash."
        + (f" The {len(alone)} largest on average; {len(rest)} others together." if rest else ""),
        theme,
        height=400,
        yaxis={"ticksuffix": PERCENT},
    )
    colours = [theme.agent, *theme.palette]
    parts = {symbol: ([symbol], colours[i % len(colours)]) for i, symbol in enumerate(alone)}
    if rest:
        parts[f"{len(rest)} others"] = (rest, theme.axis)
    for name, (symbols, colour) in parts.items():
        sides = pd.DataFrame({"long": long[symbols].sum(axis=1), "short": short[symbols].sum(axis=1)})
        shown = averaged(focused(100 * sides, focus))
        for side in ("long", "short"):
            if not shown[side].any() and (side == "short" or shown["short"].any()):
                continue
            legend = {"legendgroup": name, "showlegend": side == "long" or not shown["long"].any()}
            area = {"stackgroup": side, "fillcolor": translucent(colour, 0.8)}
            add_line(result, shown[side], name, colour, 0.4, "%{y:.1f}" + PERCENT, **legend, **area)
    return result


def weights_heatmap(weights: pd.DataFrame, *, focus: Focus = None, theme: Theme = LIGHT) -> go.Figure:
    """Every asset's weight (date × symbol) over time, a row each, the largest on top."""
    shown = averaged(focused(100 * weights, focus), 260)
    order = weights.abs().mean().sort_values(ascending=False, kind="stable").index
    values = shown[order].to_numpy(dtype=np.float64).T
    bound = max(float(np.quantile(np.abs(values), 0.995)), 1.0)
    short = bool((values < -1e-9).any())
    ends = [theme.loss, theme.paper, theme.gain] if short else [theme.paper, theme.gain]
    result = figure(
        f"Each asset's weight, all {len(order)}",
        f"Ordered by average size; the strongest colour stands for {bound:.0f}{PERCENT}"
        + (", orange for short positions." if short else "."),
        theme,
        height=17 * len(order) + 90,
        hovermode="closest",
    )
    result.add_heatmap(
        x=days(shown.index),
        y=[str(symbol) for symbol in order],
        z=numbers(values),
        colorscale=[
            [place, colour] for place, colour in zip(np.linspace(0, 1, len(ends)).tolist(), ends, strict=True)
        ],
        zmin=-bound if short else 0,
        zmax=bound,
        showscale=False,
        ygap=1,
        hovertemplate="%{y}, %{x}: %{z:.1f}" + PERCENT + "<extra></extra>",
    )
    category_axis(result, dtick=1, tickfont={"size": 11})
    return result


def exposure(weights: pd.DataFrame, *, focus: Focus = None, theme: Theme = LIGHT) -> go.Figure:
    """Gross and net exposure and cash over time, of weights date × symbol."""
    net = weights.sum(axis=1)
    shorts = bool((weights < -1e-9).any(axis=None))
    parts = pd.DataFrame({"Gross": weights.abs().sum(axis=1), "Net": net, "Cash": 1 - net}).iloc[1:]
    mean = {name: format_number(value, "percent", 0) for name, value in parts.mean().items()}
    if not shorts:  # gross and net are the same line
        parts = parts.drop(columns="Gross").rename(columns={"Net": "Invested"})
    result = figure(
        f"Exposure: {mean['Gross']} gross, {mean['Net']} net on average"
        if shorts
        else f"Exposure: {mean['Net']} invested on average",
        "Gross is the sum of positions regardless of sign, net their sum, cash the rest."
        if shorts
        else "Share of the account in assets and in cash; there are no short positions.",
        theme,
        height=300,
        yaxis={"ticksuffix": PERCENT, "rangemode": "tozero"},
    )
    shown = averaged(focused(100 * parts, focus))
    colours = dict.fromkeys(names_of(shown), theme.agent)
    colours |= {"Gross": theme.palette[0], "Cash": theme.reference}
    for name in names_of(shown):
        dash = {"dash": "dot" if name == "Cash" else "solid"}
        add_line(result, shown[name], name, colours[name], 1.8, "%{y:.0f}" + PERCENT, line=dash)
    return result


def turnover_bars(turnover: pd.Series, *, periods: int = 252, theme: Theme = LIGHT) -> go.Figure:
    """Turnover (½ Σ|Δw| a session) of each month, of each quarter over more than ten years, with the average."""
    index = pd.DatetimeIndex(turnover.index)
    unit, code, a_year = (
        ("month", "M", 12) if len(index.to_period("M").unique()) <= 120 else ("quarter", "Q", 4)
    )
    parts = 100 * turnover.groupby(index.to_period(code)).sum()
    spans = pd.PeriodIndex(parts.index)
    annual = float(turnover.iloc[1:].mean()) * periods if len(turnover) > 1 else 0.0
    result = figure(
        f"Turnover: {format_number(annual, 'percent', 0)} of the account a year",
        f"Half of the value bought and sold each {unit}. The dotted line is the average.",
        theme,
        height=300,
        yaxis={"ticksuffix": PERCENT, "rangemode": "tozero"},
        bargap=0.15,
        hovermode="closest",
    )
    result.add_bar(
        x=days(spans.start_time + (spans.end_time - spans.start_time) / 2),
        y=numbers(parts),
        name="Turnover",
        marker={"color": theme.agent, "line": {"width": 0}},
        text=[f"{span:%b %Y}" if unit == "month" else f"Q{span.quarter} {span.year}" for span in spans],
        textposition="none",
        hovertemplate="%{text}: %{y:.1f}" + PERCENT + "<extra></extra>",
    )
    result.add_hline(y=100 * annual / a_year, line={"color": theme.muted, "width": 1.2, "dash": "dot"})
    # Some air at the ends, or the first bar lies on the axis.
    air = pd.Timedelta(days=8 if unit == "month" else 24)
    result.update_xaxes(range=days(pd.DatetimeIndex([spans[0].start_time - air, spans[-1].end_time + air])))
    return result


def cost_waterfall(totals: Mapping[str, float], *, theme: Theme = LIGHT) -> go.Figure:
    """From gross to net profit, component by component.

    The totals are those of a backtest's evidence, in units of the account's start; costs are positive.
    """
    steps = {"price_pnl": totals["price_pnl"]}
    steps |= {name: -totals.get(name, 0.0) for name in ("commission", "spread", "impact", "borrow")}
    steps["interest"] = totals.get("interest", 0.0)
    steps = {name: value for name, value in steps.items() if name == "price_pnl" or abs(value) > 1e-12}
    net = sum(steps.values())
    gross = steps["price_pnl"]
    moved = "costs took" if gross >= net else "interest added"
    share, whole = (abs(gross - net) / gross, "the gains") if gross > 0 else (abs(gross - net), "the capital")
    result = figure(
        f"From gross to net: {moved} {format_number(share, 'percent', 1)} of {whole}",
        "Profit by source over the whole period, percent of the account's start.",
        theme,
        height=340,
        yaxis={"ticksuffix": PERCENT},
        showlegend=False,
        hovermode="closest",
    )
    values = [100 * value for value in steps.values()]
    heights = np.cumsum([0.0, *values])
    colours = [theme.gain if value >= 0 else theme.loss for value in values]
    result.add_bar(
        x=[*(COST_LABELS[name] for name in steps), "Net"],
        y=numbers([*values, 100 * net]),
        base=[*map(float, heights[:-1]), 0.0],
        marker={"color": [*colours, theme.reference]},
        text=[format_number(value, "percent", _digits(100 * value)) for value in (*steps.values(), net)],
        textposition="outside",
        textfont={"size": 12, "color": theme.ink},
        cliponaxis=False,
        hovertemplate="%{x}: %{text}<extra></extra>",
    )
    half = (1 - template(theme).layout.bargap) / 2
    for k, height in enumerate(heights[1:]):
        line = {"color": theme.axis, "width": 1}
        result.add_shape(type="line", x0=k + half, x1=k + 1 - half, y0=height, y1=height, line=line)
    top, bottom = max(float(heights.max()), 0.0), min(float(heights.min()), 0.0)
    room = 0.12 * (top - bottom or 1.0)
    result.update_yaxes(range=[bottom - (room if bottom < 0 else 0), top + room])
    return result


def _digits(percent: float) -> int:
    return 1 if abs(percent) >= 10 else 2
