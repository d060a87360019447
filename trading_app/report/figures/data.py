"""Figures of prices: missing sessions by symbol, and findings of the checks by year."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.report.figures.common import category_axis
from trading_app.report.theme import LIGHT, Theme, figure, numbers

EVERY = "*"
ROWS = 40


def gaps_calendar(
    missing: pd.DataFrame, listed: pd.DataFrame, *, start: str, end: str, theme: Theme = LIGHT
) -> go.Figure:
    """Sessions without a price, symbol × month, of prices from `start` to `end`; blank before a listing and after it.

    The tables are those of `data.snapshots.coverage`: `missing_sessions` and `symbol_dates`.
    """
    shown, left_out = _symbols(missing, listed)
    months = pd.period_range(pd.Timestamp(start), pd.Timestamp(end), freq="M")
    counts = _counts(missing, shown, months)
    for row, symbol in enumerate(shown):
        if symbol != EVERY:
            _blank(counts[row], listed[listed["symbol"] == symbol].iloc[0], months)
    count = len(missing)
    result = figure(
        f"Gaps: {count} missing {'session' if count == 1 else 'sessions'}"
        if count
        else "Gaps: no session is missing",
        _most(missing)
        + "A cell is a month; the stronger its colour, the more sessions lack a price. Blank: not listed."
        + (f" {left_out} symbols with fewer gaps have theirs in the CSV alone." if left_out else ""),
        theme,
        height=20 * len(shown) + 120,
        hovermode="closest",
        meta={"narrow": {"layout.yaxis.tickfont.size": 9}},
    )
    # One missing session must be visible beside a month without any.
    few = _between(theme.grid, theme.loss, 0.45)
    result.add_heatmap(
        x=[str(month.to_timestamp().date()) for month in months],
        y=["every symbol" if symbol == EVERY else symbol for symbol in shown],
        z=numbers(counts),
        colorscale=[[0, theme.grid], [1e-6, few], [1, theme.loss]]
        if count
        else [[0, theme.grid], [1, theme.grid]],
        zmin=0,
        zmax=max(5.0, float(np.nanmax(counts)) if counts.size and np.isfinite(counts).any() else 5.0),
        showscale=False,
        hoverongaps=False,
        ygap=2,
        hovertemplate="%{y}, %{x|%B %Y}: %{z:.0f} sessions missing<extra></extra>",
    )
    category_axis(result, dtick=1)
    result.update_xaxes(showgrid=False, type="date")
    return result


def findings_by_year(
    findings: pd.DataFrame, *, start: str | None = None, end: str | None = None, theme: Theme = LIGHT
) -> go.Figure:
    """Findings of the checks (`data.quality.findings.Report.to_frame`) in each year, by kind.

    The years shown are those from `start` to `end`, by default those with findings.
    """
    dated = findings.dropna(subset=["date"])
    years = pd.to_datetime(dated["date"]).dt.year
    undated = len(findings) - len(dated)
    result = figure(
        f"Findings of the checks: {len(findings)}",
        "By the year of their date." + (f" {undated} more have no date." if undated else ""),
        theme,
        height=300,
        barmode="stack",
        xaxis={"tickformat": "d", "separatethousands": False},
        yaxis={"tickformat": "d", "rangemode": "tozero"},
    )
    shown = [*years, *(pd.Timestamp(day).year for day in (start, end) if day)]
    if shown:
        result.update_xaxes(range=[min(shown) - 0.6, max(shown) + 0.6])
        # Years and counts are whole numbers; Plotly would place ticks between them where there are few.
        if max(shown) - min(shown) < 10:
            result.update_xaxes(dtick=1)
    if years.value_counts().max() < 6:
        result.update_yaxes(dtick=1)
    colours = (theme.agent, *theme.palette)
    for number, (kind, own) in enumerate(years.groupby(dated["kind"], sort=False)):
        tally = own.value_counts().sort_index()
        result.add_bar(
            x=tally.index.to_numpy(),
            y=tally.to_numpy(),
            name=str(kind).replace("-", " "),
            marker={"color": colours[number % len(colours)]},
            hovertemplate="%{y}",
            showlegend=True,
        )
    return result


def _most(missing: pd.DataFrame) -> str:
    """Return a sentence on the symbols with the most missing sessions."""
    if missing.empty:
        return "Every symbol has a price on each session since it was listed. "
    tally = missing["symbol"].replace({EVERY: "every symbol"}).value_counts().head(3)
    return f"Most: {', '.join(f'{symbol} {number}' for symbol, number in tally.items())}. "


def _between(first: str, second: str, share: float) -> str:
    """Return a mixture of two hexadecimal colours."""
    pairs = ((int(first[i : i + 2], 16), int(second[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round((1 - share) * a + share * b):02x}" for a, b in pairs)


def _symbols(missing: pd.DataFrame, listed: pd.DataFrame) -> tuple[list[str], int]:
    """Return the symbols to draw: all, or those with the most gaps; sessions missing for all come first."""
    symbols = [str(symbol) for symbol in listed["symbol"]]
    tally = missing["symbol"].value_counts()
    if len(symbols) > ROWS:
        kept = set(sorted(symbols, key=lambda symbol: -int(tally.get(symbol, 0)))[:ROWS])
        symbols = [symbol for symbol in symbols if symbol in kept]
    first = [EVERY] if EVERY in tally.index else []
    return [*first, *symbols], len(listed) - len(symbols)


def _counts(missing: pd.DataFrame, shown: Sequence[str], months: pd.PeriodIndex) -> np.ndarray:
    counts = np.zeros((len(shown), len(months)))
    if len(missing):
        rows = pd.Index(shown).get_indexer(pd.Index(missing["symbol"]))
        columns = months.get_indexer(pd.DatetimeIndex(missing["date"]).to_period("M"))
        there = (rows >= 0) & (columns >= 0)
        np.add.at(counts, (rows[there], columns[there]), 1)
    return counts


def _blank(row: np.ndarray, entry: pd.Series, months: pd.PeriodIndex) -> None:
    if pd.isna(entry["first"]):
        row[:] = np.nan
        return
    first, last = (pd.Timestamp(entry[end]).to_period("M") for end in ("first", "last"))
    row[(months < first) | (months > last)] = np.nan
