"""Figures of contributions by asset and of the dates of folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotly.graph_objects as go

from trading_app.evaluation.labels import format_number
from trading_app.report.figures.common import category_axis
from trading_app.report.theme import LIGHT, PERCENT, Theme, figure, numbers

PARTS = {"train": "Training", "validation": "Validation", "test": "Test"}
#: As many bars as fit; the middle ones of more assets share one.
BARS = 24


def contributions(weights: pd.DataFrame, equity: pd.Series, trades: pd.DataFrame) -> pd.DataFrame:
    """Return the price gain of each asset on each session, before costs.

    The gain is the value of a position at a close minus its value at the last close minus purchases since then. Summed
    over assets it is the price gain of the session, at any fill price of the trades.

    Weights are holdings at the close as fractions of the account; equity, the signed ``value`` of a trade (with
    ``date`` and ``symbol``) and the result are in units of the account's start. Weights and result are date × symbol.
    """
    worth = weights.mul(equity.reindex(weights.index), axis=0)
    bought = trades.pivot_table(index="date", columns="symbol", values="value", aggfunc="sum")
    bought = bought.reindex(index=weights.index, columns=weights.columns).fillna(0.0)
    gains = worth.diff() - bought
    gains.iloc[0] = worth.iloc[0] - bought.iloc[0]
    return gains


def contribution_bars(gains: pd.DataFrame, *, theme: Theme = LIGHT) -> go.Figure:
    """Price gain of each asset over the whole period, from `contributions`, the largest on top."""
    total = gains.sum().sort_values(ascending=False, kind="stable")
    shown = total
    if len(total) > BARS:
        ends = BARS // 2
        middle = total.iloc[ends : len(total) - ends]
        rest = pd.Series({f"{len(middle)} others": float(middle.sum())})
        shown = pd.concat([total.iloc[:ends], rest, total.iloc[len(total) - ends :]])
    best = format_number(float(total.iloc[0]), "percent", 1)
    worst = format_number(float(total.iloc[-1]), "percent", 1)
    result = figure(
        f"Contribution of each asset: {total.index[0]} {best} to {total.index[-1]} {worst}",
        "Price gains of the positions before costs, percent of the account's start; their sum is the gross gain.",
        theme,
        height=19 * len(shown) + 80,
        hovermode="closest",
        showlegend=False,
        xaxis={"ticksuffix": PERCENT, "showgrid": True, "zeroline": True},
    )
    result.add_bar(
        x=numbers(100 * shown),
        y=[str(name) for name in shown.index],
        orientation="h",
        marker={"color": [theme.gain if value >= 0 else theme.loss for value in shown]},
        text=[format_number(value, "percent", 1) for value in shown],
        textposition="outside",
        textfont={"size": 11, "color": theme.muted},
        cliponaxis=False,
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    result.update_xaxes(range=_span(shown, 0.2))
    result.update_layout(
        meta={"narrow": {"layout.xaxis.range": _span(shown, 0.36), "layout.xaxis.nticks": 4}}
    )
    category_axis(result, dtick=1, tickfont={"size": 11})
    return result


def _span(shown: pd.Series, room: float) -> list[float]:
    """Return the range of an axis in percent, with space beside the longest bars for their texts."""
    low, high = min(float(shown.min()), 0.0), max(float(shown.max()), 0.0)
    air = room * (high - low or 1.0)
    return [100 * (low - (air if low < 0 else 0)), 100 * (high + air)]


def fold_strip(folds: Sequence[Mapping[str, Sequence[str]]], *, theme: Theme = LIGHT) -> go.Figure:
    """Training, validation and test dates of each fold (part → first and last date), one row each."""
    many = len(folds) > 1
    result = figure(
        f"Training, validation and test dates of {len(folds)} folds"
        if many
        else "Training, validation and test dates",
        "The test dates are after all dates of training and model selection.",
        theme,
        height=30 * len(folds) + 110,
        barmode="overlay",
        hovermode="closest",
        bargap=0.35,
        xaxis={"type": "date"},
    )
    colours = {"train": theme.reference, "validation": theme.palette[0], "test": theme.agent}
    for part, label in PARTS.items():
        rows = [(k, fold[part]) for k, fold in enumerate(folds, start=1) if fold.get(part)]
        if not rows:
            continue
        starts = pd.DatetimeIndex([span[0] for _, span in rows])
        ends = pd.DatetimeIndex([span[1] for _, span in rows])
        result.add_bar(
            base=[f"{day:%Y-%m-%d}" for day in starts],
            x=[int((end - start).days) * 86_400_000 for start, end in zip(starts, ends, strict=True)],
            y=[f"Fold {k}" if many else "Run" for k, _ in rows],
            orientation="h",
            name=label,
            marker={"color": colours[part]},
            text=[
                f"{label}: {start:%d %b %Y} to {end:%d %b %Y}"
                for start, end in zip(starts, ends, strict=True)
            ],
            textposition="none",
            hovertemplate="%{text}<extra></extra>",
        )
    category_axis(result, showticklabels=many)
    return result
