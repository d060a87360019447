"""Figures of returns by calendar and by size: months, years, distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from trading_app.evaluation.labels import format_measure, format_number
from trading_app.evaluation.metrics import TAIL, cvar, kurtosis, skew
from trading_app.report.figures.common import category_axis
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Theme,
    figure,
    label_of,
    names_of,
    numbers,
    strategy_colours,
)

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def monthly_heatmap(returns: pd.Series, *, theme: Theme = LIGHT) -> go.Figure:
    """Compounded return of each calendar month, year × month, of daily simple returns."""
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
        colorscale=[[0, theme.cell_loss], [0.5, theme.paper], [1, theme.cell_gain]],
        zmid=0,
        zmin=-bound,
        zmax=bound,
        showscale=False,
        xgap=2,
        ygap=2,
        hoverongaps=False,
        hovertemplate="%{x} %{y}: %{z:.1f}" + PERCENT + "<extra></extra>",
    )
    category_axis(result, dtick=1)
    result.update_xaxes(side="top", showline=False, ticks="", fixedrange=True)
    return result


def _cell_texts(values: npt.NDArray[np.float64], digits: int) -> list[list[str]]:
    return [[format_number(v, "ratio", digits) if np.isfinite(v) else "" for v in row] for row in values]


def yearly_bars(returns: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Compounded return of each calendar year of strategies side by side; simple returns, date × strategy."""
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
            x=[period.year for period in pd.PeriodIndex(years.index)],
            y=numbers(100 * years),
            name=label_of(name),
            marker={"color": colours[name]},
            hovertemplate="%{y:.1f}" + PERCENT,
        )
    count = last.year - first.year + 1
    result.update_xaxes(tickformat="d", dtick=-(-count // 8), separatethousands=False)
    return result


def return_distribution(returns: pd.Series, *, theme: Theme = LIGHT) -> go.Figure:
    """Histogram of daily simple returns with a normal distribution of the same mean and deviation, and the tail."""
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
        f"{format_number(float(kurtosis(returns)), 'ratio', 1)}. Dotted: a normal distribution. The first "
        "and last bar include all returns beyond.",
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
            name="Normal distribution",
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
