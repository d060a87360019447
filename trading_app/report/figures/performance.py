"""Figures of performance over time: growth, drawdowns, rolling measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.backtesting.summary import AGENT, kind_of
from trading_app.evaluation.labels import format_measure
from trading_app.evaluation.metrics import drawdowns, worst_drawdowns
from trading_app.report.figures.common import add_line, growth_axis
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Focus,
    Theme,
    figure,
    focused,
    label_of,
    names_of,
    strategy_colours,
    thin,
    translucent,
)


def equity_curve(
    equity: pd.DataFrame,
    *,
    reference: str | None = None,
    log: bool = True,
    focus: Focus = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Growth of the agent beside the baselines, its seeds as a band, the reference in grey.

    Equity is date × strategy, each starting at 1. On a logarithmic axis equal growth is equally steep.
    """
    seeds = [name for name in names_of(equity) if kind_of(name) == "seed"]
    lines = [name for name in names_of(equity) if kind_of(name) != "seed"]
    near = focused(equity, focus)
    shown = near.iloc[thin(near.get(AGENT, near))]
    fan = f" The band spans the {len(seeds)} seeds." if len(seeds) > 1 else ""
    result = figure(
        "Growth of 1, after costs",
        f"Compounded value of the account, {'log' if log else 'linear'} axis.{fan}",
        theme,
        height=440,
        yaxis=growth_axis(log),
    )
    if len(seeds) > 1:
        _add_fan(result, shown[seeds], theme)
    colours = strategy_colours(lines, theme, reference)
    # The agent last, so that it lies on top.
    for name in sorted(lines, key=lambda name: kind_of(name) == "agent"):
        own = kind_of(name) == "agent"
        width, rank = (2.6, 1) if own else (1.4, 1000)
        add_line(result, shown[name], label_of(name), colours[name], width, "%{y:.3f}", legendrank=rank)
    return result


def _add_fan(result: go.Figure, seeds: pd.DataFrame, theme: Theme) -> None:
    band: dict[str, Any] = {"mode": "lines", "hoverinfo": "skip", "legendgroup": "seeds"}
    add_line(result, seeds.min(axis=1), "Seed range", theme.agent, 0, None, showlegend=False, **band)
    band |= {"fill": "tonexty", "fillcolor": translucent(theme.agent, 0.22), "legendrank": 2}
    add_line(result, seeds.max(axis=1), "Seed range", theme.agent, 0, None, **band)


def drawdown(
    equity: pd.DataFrame,
    *,
    strategy: str = AGENT,
    reference: str | None = None,
    worst: int = 5,
    focus: Focus = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Drawdown of a strategy (equity: date × strategy): loss since the peak, the `worst` falls shaded and numbered.

    A reference is drawn as a line.
    """
    falls = worst_drawdowns(equity[strategy], worst)
    depth = format_measure("max_drawdown", falls["depth"].iloc[0] if len(falls) else 0.0)
    result = figure(
        f"Maximum drawdown: {depth}",
        "Loss since the highest value so far."
        + (f" The {len(falls)} deepest drawdowns are shaded and numbered." if len(falls) > 1 else ""),
        theme,
        height=320,
        yaxis={"ticksuffix": PERCENT},
    )
    names = [strategy] + ([reference] if reference is not None and reference in equity else [])
    under = focused(pd.DataFrame(100 * drawdowns(equity[names]), equity.index, names), focus)
    # Space for the numbers below the deepest fall.
    result.update_yaxes(range=[1.22 * min(float(under.to_numpy().min()), -0.5), 0])
    troughs = under.index.get_indexer(pd.Index(falls["trough"]))
    rows = np.union1d(thin(under[strategy]), troughs[troughs >= 0])
    for name in reversed(names):
        own = name == strategy
        colour = theme.agent if own else theme.reference
        fill = {"fill": "tozeroy", "fillcolor": translucent(colour, 0.25)} if own else {}
        line, rank = under[name].iloc[rows], 1 if own else 2
        add_line(result, line, label_of(name), colour, 1.4, "%{y:.1f}" + PERCENT, legendrank=rank, **fill)
    _mark_falls(result, falls, equity.index[-1], theme)
    return result


def _mark_falls(result: go.Figure, falls: pd.DataFrame, last: pd.Timestamp, theme: Theme) -> None:
    records = falls.assign(end=falls["recovery"].fillna(last)).to_dict("records")
    begin = pd.Timestamp(min((fall["peak"] for fall in records), default=last))
    span = max(last - begin, pd.Timedelta(days=1))
    middles = [(fall["peak"] + (fall["end"] - fall["peak"]) / 2 - begin) / span for fall in records]
    for number, fall in enumerate(records, start=1):
        result.add_vrect(
            x0=f"{fall['peak']:%Y-%m-%d}",
            x1=f"{fall['end']:%Y-%m-%d}",
            fillcolor=translucent(theme.muted, 0.12),
            line_width=0,
            layer="below",
        )
        # A number beside that of a deeper fall is lifted above it.
        crowded = any(abs(middles[number - 1] - other) < 0.06 for other in middles[: number - 1])
        result.add_annotation(
            x=f"{begin + middles[number - 1] * span:%Y-%m-%d}",
            y=0,
            yref="paper",
            yanchor="bottom",
            yshift=13 if crowded else 0,
            text=f"<b>{number}</b>",
            showarrow=False,
            font={"size": 11, "color": theme.muted},
        )


def rolling(
    returns: pd.DataFrame,
    *,
    strategy: str = AGENT,
    reference: str | None = None,
    window: int = 126,
    periods: int = 252,
    focus: Focus = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Rolling Sharpe ratio, volatility and, given a reference, beta to it.

    The returns are simple, date × strategy. The window counts sessions; it is a third of a series that is too short.
    """
    window = max(min(window, len(returns) // 3), 2)
    names = [strategy] + ([reference] if reference is not None and reference in returns else [])
    means, spreads = returns[names].rolling(window).mean(), returns[names].rolling(window).std()
    ratio = (means / spreads.where(spreads > 1e-12)) * np.sqrt(periods)
    panels: list[tuple[str, pd.DataFrame, str, str]] = [
        ("Sharpe ratio", ratio, "%{y:.2f}", ""),
        ("Volatility, annualised", 100 * spreads * np.sqrt(periods), "%{y:.1f}" + PERCENT, PERCENT),
    ]
    if len(names) == 2:
        shared = returns[strategy].rolling(window).cov(returns[names[1]])
        beta = (shared / (spreads[names[1]] ** 2).where(spreads[names[1]] > 1e-12)).to_frame(strategy)
        panels.append((f"Beta to {label_of(names[1]).lower()}", beta, "%{y:.2f}", ""))
    shown = [
        (heading, focused(values.iloc[window - 1 :], focus), hover, unit)
        for heading, values, hover, unit in panels
    ]
    return _rolling_panels(shown, names, window, theme)


def _rolling_panels(
    panels: list[tuple[str, pd.DataFrame, str, str]], names: list[str], window: int, theme: Theme
) -> go.Figure:
    """Panels from the top down on one time axis: (heading, values, hover text, unit)."""
    result = figure(
        f"Rolling risk and return over {window} sessions",
        "Each point is computed from the sessions of the window that ends there.",
        theme,
        height=150 * len(panels) + 90,
        legend={"y": 1.05},
        xaxis={"anchor": _axis(len(panels) - 1)},
    )
    share, gap = 1 / len(panels), 0.045
    axes, headings = {}, []
    colours = strategy_colours(names, theme) | {names[0]: theme.agent}
    for row, (heading, values, hover, unit) in enumerate(panels):
        top = 1 - row * share
        axes[_axis(row).replace("y", "yaxis")] = {
            "domain": [max(top - share + gap, 0), top - (gap if row else 0)],
            "ticksuffix": unit,
            "nticks": 5,
        }
        headings.append(
            {
                "text": heading,
                "x": 0,
                "xref": "paper",
                "xanchor": "left",
                "y": top - (gap if row else 0),
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"size": 12, "color": theme.muted},
            }
        )
        shown = values.iloc[thin(values, 500)]
        for name in names_of(values):
            panel = {"yaxis": _axis(row), "legendgroup": name, "showlegend": row == 0}
            width = 2 if name == names[0] else 1.3
            add_line(result, shown[name], label_of(name), colours[name], width, hover, **panel)
    result.update_layout(axes, annotations=headings)
    return result


def _axis(row: int) -> str:
    """Plotly's name of the vertical axis of a row."""
    return "y" if row == 0 else f"y{row + 1}"
