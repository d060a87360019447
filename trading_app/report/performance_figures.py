"""Figures of performance: growth, drawdowns, rolling measures, calendar returns, distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_app.evidence import AGENT, kind_of
from trading_app.measures import format_measure, format_number
from trading_app.metrics import TAIL, cvar, drawdowns, kurtosis, skew, worst_drawdowns
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Theme,
    days,
    figure,
    label_of,
    names_of,
    numbers,
    strategy_colours,
    thin,
    translucent,
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def equity_curve(
    equity: pd.DataFrame, *, reference: str | None = None, log: bool = True, theme: Theme = LIGHT
) -> go.Figure:
    """Growth of the agent beside the baselines, its seeds as a fan.

    Parameters
    ----------
    equity : DataFrame
        Date × strategy, each starting at 1; ``agent``, ``seed-…`` and baselines are told apart by name.
    reference : str, optional
        Baseline drawn in grey.
    log : bool
        Logarithmic axis, on which equal growth is equally steep.
    theme : Theme
        The look.
    """
    seeds = [name for name in names_of(equity) if kind_of(name) == "seed"]
    lines = [name for name in names_of(equity) if kind_of(name) != "seed"]
    shown = equity.iloc[thin(equity.get(AGENT, equity))]
    fan = f" The band spans the {len(seeds)} seeds." if len(seeds) > 1 else ""
    result = figure(
        "Growth of 1, after costs",
        f"Compounded value of the account, {'log' if log else 'linear'} axis.{fan}",
        theme,
        height=440,
        yaxis={
            "type": "log" if log else "linear",
            "tickformat": ".3~g",
            "title": {"text": "Value (start = 1)"},
        },
    )
    if len(seeds) > 1:
        _add_fan(result, shown[seeds], theme)
    colours = strategy_colours(lines, theme, reference)
    # The agent last, so that it lies on top.
    for name in sorted(lines, key=lambda name: kind_of(name) == "agent"):
        own = kind_of(name) == "agent"
        result.add_scatter(
            x=days(shown.index),
            y=numbers(shown[name]),
            name=label_of(name),
            line={"color": colours[name], "width": 2.6 if own else 1.4},
            hovertemplate="%{y:.3f}",
            legendrank=1 if own else 1000,
        )
    return result


def _add_fan(result: go.Figure, seeds: pd.DataFrame, theme: Theme) -> None:
    dates, label = days(seeds.index), "Seed range"
    edge = {"width": 0, "color": theme.agent}
    result.add_scatter(
        x=dates,
        y=numbers(seeds.min(axis=1)),
        line=edge,
        showlegend=False,
        hoverinfo="skip",
        name=label,
        legendgroup="seeds",
    )
    result.add_scatter(
        x=dates,
        y=numbers(seeds.max(axis=1)),
        line=edge,
        fill="tonexty",
        fillcolor=translucent(theme.agent, 0.22),
        hoverinfo="skip",
        name=label,
        legendrank=2,
        legendgroup="seeds",
    )


def drawdown(
    equity: pd.DataFrame,
    *,
    strategy: str = AGENT,
    reference: str | None = None,
    worst: int = 5,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Distance from the peak, with the worst falls numbered.

    Parameters
    ----------
    equity : DataFrame
        Date × strategy.
    strategy : str
        The one to fill and mark.
    reference : str, optional
        A second one, as a line.
    worst : int
        How many falls to mark, as in `trading_app.metrics.worst_drawdowns`.
    theme : Theme
        The look.
    """
    falls = worst_drawdowns(equity[strategy], worst)
    depth = format_measure("max_drawdown", falls["depth"].iloc[0] if len(falls) else 0.0)
    result = figure(
        f"Drawdown: worst fall {depth}",
        "Distance from the highest value so far."
        + (f" The {len(falls)} deepest falls are shaded and numbered." if len(falls) > 1 else ""),
        theme,
        height=320,
        yaxis={"ticksuffix": PERCENT, "rangemode": "tozero"},
    )
    names = [strategy] + ([reference] if reference is not None and reference in equity else [])
    under = pd.DataFrame(100 * drawdowns(equity[names]), equity.index, names)
    rows = np.union1d(thin(under[strategy]), equity.index.get_indexer(pd.Index(falls["trough"])))
    for name in reversed(names):
        own = name == strategy
        colour = theme.loss if own else theme.reference
        result.add_scatter(
            x=days(under.index[rows]),
            y=numbers(under[name].iloc[rows]),
            name=label_of(name),
            line={"color": colour, "width": 1.4},
            fill="tozeroy" if own else None,
            fillcolor=translucent(colour, 0.25) if own else None,
            hovertemplate="%{y:.1f}" + PERCENT,
            legendrank=1 if own else 2,
        )
    _mark_falls(result, falls, equity.index[-1], theme)
    return result


def _mark_falls(result: go.Figure, falls: pd.DataFrame, last: pd.Timestamp, theme: Theme) -> None:
    for number, fall in enumerate(falls.to_dict("records"), start=1):
        end = last if pd.isna(fall["recovery"]) else fall["recovery"]
        result.add_vrect(
            x0=f"{fall['peak']:%Y-%m-%d}",
            x1=f"{end:%Y-%m-%d}",
            fillcolor=translucent(theme.muted, 0.12),
            line_width=0,
            layer="below",
        )
        middle = fall["peak"] + (end - fall["peak"]) / 2
        result.add_annotation(
            x=f"{middle:%Y-%m-%d}",
            y=0,
            yref="paper",
            yanchor="bottom",
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
    theme: Theme = LIGHT,
) -> go.Figure:
    """Rolling Sharpe ratio, volatility and, given a reference, beta to it.

    Parameters
    ----------
    returns : DataFrame
        Date × strategy simple returns.
    strategy, reference : str
        Columns; the reference is optional.
    window : int
        Sessions; shortened to a third of a short series.
    periods : int
        Periods a year.
    theme : Theme
        The look.
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
    return _rolling_panels(panels, names, window, theme)


def _rolling_panels(
    panels: list[tuple[str, pd.DataFrame, str, str]], names: list[str], window: int, theme: Theme
) -> go.Figure:
    result = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.09,
        subplot_titles=[p[0] for p in panels],
    )
    frame = figure(
        f"Rolling {window} sessions: risk and reward through time",
        "Each point looks back over the window; the line at zero is no reward for risk.",
        theme,
        height=150 * len(panels) + 90,
    )
    result.update_layout(frame.layout)
    result.update_annotations(x=0, xanchor="left", font={"size": 12, "color": theme.muted})
    colours = strategy_colours(names, theme) | {names[0]: theme.agent}
    for row, (_, values, hover, suffix) in enumerate(panels, start=1):
        shown = values.iloc[window - 1 :]
        shown = shown.iloc[thin(shown, 500)]
        for name in names_of(values):
            result.add_scatter(
                x=days(shown.index),
                y=numbers(shown[name]),
                name=label_of(name),
                legendgroup=name,
                showlegend=row == 1,
                line={"color": colours[name], "width": 2 if name == names[0] else 1.3},
                hovertemplate=hover,
                row=row,
                col=1,
            )
        result.update_yaxes(ticksuffix=suffix, nticks=5, row=row, col=1)
    result.update_layout(legend={"y": 1.05})
    return result


def monthly_heatmap(returns: pd.Series, *, theme: Theme = LIGHT) -> go.Figure:
    """Compounded return of each calendar month, year × month.

    Parameters
    ----------
    returns : Series
        Simple returns by date.
    theme : Theme
        The look.
    """
    months = calendar_returns(returns, "M")
    index = pd.PeriodIndex(months.index)
    table = pd.DataFrame({"year": index.year, "month": index.month, "value": 100 * months.to_numpy()})
    grid = table.pivot(index="year", columns="month", values="value").reindex(columns=range(1, 13))
    values = grid.to_numpy(dtype=np.float64)
    bound = max(float(np.nanquantile(np.abs(values), 0.95)), 0.5)
    share = float((months > 0).mean())
    result = figure(
        f"Monthly returns: {format_number(share, 'percent', 0)} of months gained",
        "Percent, after costs; orange is a loss, blue a gain.",
        theme,
        height=30 * len(grid) + 110,
        hovermode="closest",
        # A phone shows a month as a narrow cell: whole percents, and letters for months.
        meta={
            "narrow": {
                "data.0.text": _cell_texts(values, 0),
                "data.0.textfont.size": 10,
                "layout.xaxis.tickvals": list(MONTHS),
                "layout.xaxis.ticktext": [month[0] for month in MONTHS],
            }
        },
    )
    result.add_heatmap(
        x=list(MONTHS),
        y=[str(year) for year in grid.index],
        z=numbers(values),
        text=_cell_texts(values, 1),
        texttemplate="%{text}",
        textfont={"size": 12},
        colorscale=[[0, theme.loss], [0.5, theme.paper], [1, theme.gain]],
        zmid=0,
        zmin=-bound,
        zmax=bound,
        showscale=False,
        xgap=2,
        ygap=2,
        hoverongaps=False,
        hovertemplate="%{x} %{y}: %{z:.1f}" + PERCENT + "<extra></extra>",
    )
    result.update_yaxes(autorange="reversed", type="category", showgrid=False, dtick=1)
    result.update_xaxes(side="top", showline=False, ticks="", fixedrange=True)
    return result


def _cell_texts(values: npt.NDArray[np.float64], digits: int) -> list[list[str]]:
    return [[format_number(v, "ratio", digits) if np.isfinite(v) else "" for v in row] for row in values]


def yearly_bars(returns: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Compounded return of each calendar year, strategies side by side.

    Parameters
    ----------
    returns : DataFrame
        Date × strategy; the agent and what to hold it against.
    theme : Theme
        The look.
    """
    first, last = returns.index[0], returns.index[-1]
    result = figure(
        "Return of each year",
        f"Compounded, after costs. First and last year run from {first:%d %b %Y} and to {last:%d %b %Y}.",
        theme,
        yaxis={"ticksuffix": PERCENT},
        bargap=0.3,
    )
    colours = strategy_colours(names_of(returns), theme)
    for name in names_of(returns):
        years = calendar_returns(returns[name], "Y")
        result.add_bar(
            x=[str(period) for period in years.index],
            y=numbers(100 * years),
            name=label_of(name),
            marker={"color": colours[name]},
            hovertemplate="%{y:.1f}" + PERCENT,
        )
    result.update_xaxes(type="category")
    return result


def return_distribution(returns: pd.Series, *, theme: Theme = LIGHT) -> go.Figure:
    """Histogram of daily returns with a normal law of the same mean and spread, and the tail.

    Parameters
    ----------
    returns : Series
        Simple returns by date.
    theme : Theme
        The look.
    """
    values = 100 * returns.to_numpy(dtype=np.float64)
    low, high = np.quantile(values, [0.001, 0.999]) if len(values) > 1000 else (values.min(), values.max())
    edges = np.linspace(low, high if high > low else low + 1.0, 61)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    centres = (edges[1:] + edges[:-1]) / 2
    tail = 100 * float(cvar(returns))
    threshold = float(np.quantile(values, TAIL))
    result = figure(
        f"Daily returns: the worst 5{PERCENT} average {format_measure('cvar_5', tail / 100)}",
        f"Skewness {format_number(float(skew(returns)), 'ratio', 2)}, excess kurtosis "
        f"{format_number(float(kurtosis(returns)), 'ratio', 1)}. Dotted: a normal law. Bars at the ends "
        "hold all beyond them.",
        theme,
        height=320,
        bargap=0.05,
        xaxis={"ticksuffix": PERCENT},
        yaxis={"title": {"text": "Sessions"}},
    )
    result.add_bar(
        x=numbers(centres),
        y=counts.astype(np.int32),
        name="Sessions",
        marker={"color": [theme.loss if c < threshold else theme.agent for c in centres]},
        hovertemplate="%{y} sessions near %{x:.2f}<extra></extra>",
        showlegend=False,
    )
    spread = values.std()
    if spread > 0:
        width = edges[1] - edges[0]
        density = np.exp(-0.5 * ((centres - values.mean()) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
        result.add_scatter(
            x=numbers(centres),
            y=numbers(density * width * len(values)),
            name="Normal law",
            hoverinfo="skip",
            line={"color": theme.muted, "width": 1.5, "dash": "dot"},
            showlegend=False,
        )
    result.update_layout(hovermode="closest")
    return result


def calendar_returns(returns: pd.Series, frequency: str) -> pd.Series:
    """Compounded returns by calendar month (``"M"``) or year (``"Y"``), indexed by period."""
    periods = pd.DatetimeIndex(returns.index).to_period(frequency)
    return (1 + returns).groupby(periods).prod() - 1
