"""Figures that compare runs: growth, measures with intervals, differences from a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trading_app.evaluation.labels import MEASURES, format_number
from trading_app.report.figures.common import add_line, growth_axis, interval_figure
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Focus,
    Theme,
    figure,
    focused,
    label_of,
    names_of,
    thin,
)

DASHES = ("solid", "dash", "dot", "dashdot")


def run_colours(runs: Sequence[str], theme: Theme) -> dict[str, str]:
    """A colour for each run, the same in every figure of a page."""
    colours = [theme.agent, *theme.palette]
    return {run: colours[i % len(colours)] for i, run in enumerate(runs)}


def run_curves(
    runs: pd.DataFrame,
    baselines: pd.DataFrame,
    *,
    log: bool = True,
    focus: Focus = None,
    theme: Theme = LIGHT,
) -> go.Figure:
    """Growth of several runs' agents and of baselines, over their common dates.

    Both frames are date × name, over the same dates, each starting at 1; there may be no baselines.
    """
    first, last = runs.index[0], runs.index[-1]
    result = figure(
        "Growth of 1, after costs",
        f"{first:%d %b %Y} to {last:%d %b %Y}, the common dates; {'log' if log else 'linear'} axis. "
        "Grey: baselines.",
        theme,
        height=440,
        yaxis=growth_axis(log, nticks=8),
    )
    runs, baselines = focused(runs, focus), focused(baselines, focus)
    rows = thin(runs, 900)
    for k, name in enumerate(names_of(baselines)):
        dash = {"dash": DASHES[k % len(DASHES)]}
        label, line = label_of(name), baselines[name].iloc[rows]
        add_line(result, line, label, theme.reference, 1.4, "%{y:.3f}", line=dash, legendrank=1000 + k)
    colours = run_colours(names_of(runs), theme)
    for k, name in enumerate(names_of(runs)):
        # Colours repeat after nine runs, then with other dashes.
        dash = {"dash": DASHES[k // (1 + len(theme.palette)) % len(DASHES)]}
        line = runs[name].iloc[rows]
        add_line(result, line, name, colours[name], 2, "%{y:.3f}", line=dash, legendrank=k)
    return result


def run_measures(
    entries: Mapping[str, Mapping[str, Any]],
    measure: str,
    *,
    level: float,
    runs: Sequence[str],
    theme: Theme = LIGHT,
) -> go.Figure:
    """One measure (of `MEASURES`) of runs and, under other names, of baselines, with its interval of coverage `level`.

    Entries are name → ``metrics`` and ``intervals``, as in `trading_app.backtesting.summary`.
    """
    about = MEASURES[measure]
    scale, suffix = {"percent": (100.0, PERCENT), "ratio": (1.0, ""), "bps": (1.0, "\u202fbp")}[about.unit]
    colours = run_colours(runs, theme)
    rows = []
    for name, entry in entries.items():
        low, high = entry["intervals"].get(measure) or (None, None)
        label = name if name in colours else label_of(name)
        rows.append((label, (entry["metrics"].get(measure), low, high), colours.get(name, theme.reference)))
    return interval_figure(
        f"{about.label} with {format_number(level, 'percent', 0)} intervals",
        f"{about.meaning[:1].upper()}{about.meaning[1:]}; each over its own dates.",
        rows,
        theme,
        row_height=34,
        scale=scale,
        suffix=suffix,
        digits=about.digits,
    )


def run_differences(
    comparisons: Mapping[str, Mapping[str, Any]], baseline: str, *, theme: Theme = LIGHT
) -> go.Figure:
    """Sharpe ratio of each run minus that of one baseline under the run's own costs and dates, with intervals."""
    ahead = sum(entry["verdict"] == "better" for entry in comparisons.values())
    behind = sum(entry["verdict"] == "worse" for entry in comparisons.values())
    colours = {"better": theme.gain, "worse": theme.loss, "indistinguishable": theme.reference}
    rows = [
        (
            run,
            (entry["sharpe_difference"], entry["sharpe_low"], entry["sharpe_high"]),
            colours[entry["verdict"]],
        )
        for run, entry in comparisons.items()
    ]
    return interval_figure(
        f"Sharpe ratio minus {label_of(baseline).lower()}'s: {ahead} of {len(comparisons)} higher, {behind} lower",
        "Paired bootstrap under each run's own dates and costs; an interval that includes zero is not significant.",
        rows,
        theme,
        row_height=34,
        zerolinewidth=2,
    )
