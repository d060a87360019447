"""Figures of significance: intervals, differences from baselines, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.backtesting.summary import kind_of
from trading_app.evaluation.labels import MEASURES
from trading_app.report.figures.common import add_interval, fit_intervals
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Theme,
    figure,
    label_of,
    numbers,
    strategy_colours,
    translucent,
)

TRAINING_LABELS = {
    "alpha": "entropy temperature",
    "entropy": "entropy of the policy",
    "eval_sharpe": "Sharpe ratio on the validation dates",
    "eval_growth": "yearly log growth on the validation dates",
    "q": "mean action value",
}


def measure_intervals(
    strategies: Mapping[str, Mapping[str, Any]],
    measure: str = "sharpe",
    *,
    level: float = 0.95,
    reference: str | None = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """One measure of each strategy with its interval; the agent's seeds as dots in its row.

    Parameters
    ----------
    strategies : mapping
        Name → ``metrics`` and ``intervals``, as in `trading_app.backtesting.summary`.
    measure : str
        Key of `trading_app.evaluation.labels.MEASURES`.
    level : float
        Coverage of the intervals.
    reference : str, optional
        Baseline in grey.
    theme : Theme
        Colours and template.
    """
    about = MEASURES[measure]
    scale, suffix = (100.0, PERCENT) if about.unit == "percent" else (1.0, "")
    rows = [name for name in strategies if kind_of(name) != "seed"]
    seeds = [
        scale * float(s["metrics"][measure])
        for n, s in strategies.items()
        if kind_of(n) == "seed" and s["metrics"][measure] is not None
    ]
    result = figure(
        f"{about.label} with {100 * level:.0f}{PERCENT} intervals",
        "Each strategy alone; overlapping intervals do not decide a comparison, paired differences do."
        + (" Small dots are the seeds." if seeds else ""),
        theme,
        height=42 * len(rows) + 110,
        showlegend=False,
        hovermode="closest",
        xaxis={"ticksuffix": suffix, "showgrid": True, "zeroline": True},
    )
    colours = strategy_colours(rows, theme, reference)
    for name in rows:
        value = strategies[name]["metrics"][measure]
        low, high = strategies[name]["intervals"][measure]
        add_interval(result, label_of(name), scale, (value, low, high), colours[name], suffix, about.digits)
    agent = next((name for name in rows if kind_of(name) == "agent"), None)
    if agent is not None and seeds:
        result.add_scatter(
            x=numbers(seeds),
            y=[label_of(agent)] * len(seeds),
            mode="markers",
            hovertemplate="seed: %{x:.2f}<extra></extra>",
            marker={"size": 5, "color": theme.paper, "line": {"width": 1.2, "color": theme.agent}},
        )
    fit_intervals(result)
    return result


def sharpe_differences(comparisons: Sequence[Mapping[str, Any]], *, theme: Theme = LIGHT) -> go.Figure:
    """The agent's Sharpe ratio minus each baseline's, with intervals.

    Parameters
    ----------
    comparisons : sequence of mapping
        As in `trading_app.backtesting.summary`.
    theme : Theme
        Colours and template.
    """
    level = comparisons[0]["level"] if comparisons else 0.95
    ahead = sum(c["verdict"] == "better" for c in comparisons)
    behind = sum(c["verdict"] == "worse" for c in comparisons)
    result = figure(
        f"Sharpe ratio minus the baseline's: higher than {ahead}, lower than {behind} of {len(comparisons)}",
        f"Paired bootstrap, {100 * level:.0f}{PERCENT} intervals; one that includes zero is not significant.",
        theme,
        height=42 * len(comparisons) + 110,
        showlegend=False,
        hovermode="closest",
        xaxis={"showgrid": True, "zeroline": True, "zerolinewidth": 2},
    )
    colours = {"better": theme.gain, "worse": theme.loss, "indistinguishable": theme.reference}
    for c in comparisons:
        values = (c["sharpe_difference"], c["sharpe_low"], c["sharpe_high"])
        add_interval(result, label_of(c["baseline"]), 1.0, values, colours[c["verdict"]], "", 2)
    fit_intervals(result)
    return result


def metric_label(metric: str) -> str:
    """Return the readable name of a logged quantity."""
    text = TRAINING_LABELS.get(metric, metric.replace("_", " ").replace("/", ": "))
    return text[:1].upper() + text[1:]


def training_curve(progress: pd.DataFrame, metric: str, *, theme: Theme = LIGHT) -> go.Figure:
    """One quantity over training, a thin line a seed and their mean; with folds, the mean over seeds of each.

    Parameters
    ----------
    progress : DataFrame
        Rows with ``step``, ``seed`` and the metric, as in ``progress.jsonl``; ``fold`` where it was trained anew.
    metric : str
        Column to show.
    theme : Theme
        Colours and template.
    """
    folds = "fold" in progress
    across = "fold" if folds else "seed"
    table = progress.dropna(subset=[metric]).pivot_table(index="step", columns=across, values=metric)
    if len(table) > 400:
        table = table.iloc[np.unique(np.linspace(0, len(table) - 1, 400).astype(int))]
    several = "Thin lines are seeds, the thick one their mean." if table.shape[1] > 1 else "One seed."
    result = figure(
        metric_label(metric),
        "One line for each fold: the mean over its seeds." if folds else several,
        theme,
        height=270,
        xaxis={"title": {"text": "Environment steps"}},
        yaxis={"tickformat": ".3~g"},
        showlegend=folds,
    )
    if folds:
        return _fold_lines(result, table, theme)
    steps = table.index.to_numpy()
    for seed in table.columns if table.shape[1] > 1 else ():
        result.add_scatter(
            x=steps,
            y=numbers(table[seed]),
            mode="lines",
            name=f"Seed {seed}",
            hovertemplate="%{y:.4g}",
            line={"width": 1, "color": translucent(theme.agent, 0.4)},
        )
    result.add_scatter(
        x=steps,
        y=numbers(table.mean(axis=1)),
        mode="lines",
        name="Mean",
        hovertemplate="%{y:.4g}",
        line={"width": 2.4, "color": theme.agent},
    )
    return result


def _fold_lines(result: go.Figure, table: pd.DataFrame, theme: Theme) -> go.Figure:
    """A line for each column, step × fold."""
    colours = [theme.agent, *theme.palette]
    for number, fold in enumerate(table.columns):
        line = table[fold].dropna()
        result.add_scatter(
            x=line.index.to_numpy(),
            y=numbers(line),
            mode="lines",
            name=f"Fold {fold}",
            hovertemplate="%{y:.4g}",
            line={"width": 2, "color": colours[number % len(colours)]},
        )
    return result
