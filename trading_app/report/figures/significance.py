"""Figures of significance: intervals, differences from baselines, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trading_app.backtesting.summary import kind_of
from trading_app.evaluation.labels import MEASURES
from trading_app.report.figures.common import Interval, add_line, fit_range, interval_figure
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
    "objective": "mean reward of a step",
    "entropy": "entropy of the policy",
    "eval_sharpe": "Sharpe ratio on the validation dates",
    "eval_growth": "yearly log growth on the validation dates",
    "eval_train_sharpe": "Sharpe ratio on the last training dates",
    "eval_train_growth": "yearly log growth on the last training dates",
    "q": "mean action value",
}


def sharpe_intervals(
    strategies: Mapping[str, Mapping[str, Any]],
    *,
    level: float = 0.95,
    reference: str | None = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Sharpe ratio of each strategy with its interval of coverage `level`; the reference is grey.

    `strategies` is that part of the evidence of a backtest. The agent's seeds are dots in its row.
    """
    names = [name for name in strategies if kind_of(name) != "seed"]
    found = {name: entry["metrics"]["sharpe"] for name, entry in strategies.items()}
    seeds = [value for name, value in found.items() if kind_of(name) == "seed" and value is not None]
    colours = strategy_colours(names, theme, reference)
    rows: list[tuple[str, Interval, str]] = []
    for name in names:
        low, high = strategies[name]["intervals"]["sharpe"]
        rows.append((label_of(name), (found[name], low, high), colours[name]))
    result = interval_figure(
        f"{MEASURES['sharpe'].label} with {100 * level:.0f}{PERCENT} intervals",
        "Each strategy alone; overlapping intervals do not decide a comparison, paired differences do."
        + (" Small dots are the seeds." if seeds else ""),
        rows,
        theme,
        row_height=42,
    )
    agent = next((name for name in names if kind_of(name) == "agent"), None)
    if agent is not None and seeds:
        result.add_scatter(
            x=numbers(seeds),
            y=[label_of(agent)] * len(seeds),
            mode="markers",
            hovertemplate="seed: %{x:.2f}<extra></extra>",
            marker={"size": 5, "color": theme.paper, "line": {"width": 1.2, "color": theme.agent}},
        )
        fit_range(result)
    return result


def sharpe_differences(comparisons: Sequence[Mapping[str, Any]], *, theme: Theme = LIGHT) -> go.Figure:
    """Sharpe ratio of the agent minus that of each baseline, with the intervals of the evidence."""
    level = comparisons[0]["level"] if comparisons else 0.95
    ahead = sum(c["verdict"] == "better" for c in comparisons)
    behind = sum(c["verdict"] == "worse" for c in comparisons)
    colours = {"better": theme.gain, "worse": theme.loss, "indistinguishable": theme.reference}
    rows = [
        (
            label_of(c["baseline"]),
            (c["sharpe_difference"], c["sharpe_low"], c["sharpe_high"]),
            colours[c["verdict"]],
        )
        for c in comparisons
    ]
    return interval_figure(
        f"Sharpe ratio minus the baseline's: higher than {ahead}, lower than {behind} of {len(comparisons)}",
        f"Paired bootstrap, {100 * level:.0f}{PERCENT} intervals; one that includes zero is not significant.",
        rows,
        theme,
        row_height=42,
        zerolinewidth=2,
    )


def metric_label(metric: str) -> str:
    """Return the readable name of a logged quantity."""
    text = TRAINING_LABELS.get(metric, metric.replace("_", " ").replace("/", ": "))
    return text[:1].upper() + text[1:]


def training_curve(progress: pd.DataFrame, metric: str, *, theme: Theme = LIGHT) -> go.Figure:
    """One quantity over training, a thin line a seed and their mean; with folds, the mean over seeds of each.

    The progress has the rows of ``progress.jsonl``: ``step``, ``seed`` and the metric; ``fold`` where it was trained
    anew.
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
        colours = [theme.agent, *theme.palette]
        for number, fold in enumerate(table.columns):
            line, colour = table[fold].dropna(), colours[number % len(colours)]
            add_line(result, line, f"Fold {fold}", colour, 2, "%{y:.4g}", mode="lines")
        return result
    for seed in table.columns if table.shape[1] > 1 else ():
        pale = translucent(theme.agent, 0.4)
        add_line(result, table[seed], f"Seed {seed}", pale, 1, "%{y:.4g}", mode="lines")
    add_line(result, table.mean(axis=1), "Mean", theme.agent, 2.4, "%{y:.4g}", mode="lines")
    return result
