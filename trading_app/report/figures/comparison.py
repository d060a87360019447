"""Figures that compare runs: growth, measures with intervals, differences from a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from trading_app.evaluation.labels import MEASURES, format_number
from trading_app.report.figures.common import add_interval, fit_intervals, growth_axis
from trading_app.report.theme import (
    LIGHT,
    PERCENT,
    Focus,
    Theme,
    days,
    figure,
    focused,
    label_of,
    names_of,
    numbers,
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

    Parameters
    ----------
    runs, baselines : DataFrame
        Date × name, over the same dates, each starting at 1; there may be no baselines.
    log : bool
        Logarithmic axis.
    focus : tuple of str, optional
        First and last date of the visible part, which is drawn in detail.
    theme : Theme
        Colours and template.
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
        result.add_scatter(
            x=days(baselines.index[rows]),
            y=numbers(baselines[name].iloc[rows]),
            name=label_of(name),
            line={"color": theme.reference, "width": 1.4, "dash": DASHES[k % len(DASHES)]},
            hovertemplate="%{y:.3f}",
            legendrank=1000 + k,
        )
    colours = run_colours(names_of(runs), theme)
    for k, name in enumerate(names_of(runs)):
        result.add_scatter(
            x=days(runs.index[rows]),
            y=numbers(runs[name].iloc[rows]),
            name=name,
            # Colours repeat after nine runs, then with other dashes.
            line={
                "color": colours[name],
                "width": 2,
                "dash": DASHES[k // (1 + len(theme.palette)) % len(DASHES)],
            },
            hovertemplate="%{y:.3f}",
            legendrank=k,
        )
    return result


def run_measures(
    entries: Mapping[str, Mapping[str, Any]],
    measure: str,
    *,
    level: float,
    runs: Sequence[str],
    theme: Theme = LIGHT,
) -> go.Figure:
    """One measure of runs and baselines with its interval.

    Parameters
    ----------
    entries : mapping
        Name → ``metrics`` and ``intervals``, as in `trading_app.backtesting.summary`.
    measure : str
        Key of `trading_app.evaluation.labels.MEASURES`.
    level : float
        Coverage of the intervals.
    runs : sequence of str
        Which of the names are runs; the others are baselines.
    theme : Theme
        Colours and template.
    """
    about = MEASURES[measure]
    scale, suffix = {"percent": (100.0, PERCENT), "ratio": (1.0, ""), "bps": (1.0, "\u202fbp")}[about.unit]
    result = figure(
        f"{about.label} with {format_number(level, 'percent', 0)} intervals",
        f"{about.meaning[:1].upper()}{about.meaning[1:]}; each over its own dates.",
        theme,
        height=34 * len(entries) + 110,
        showlegend=False,
        hovermode="closest",
        xaxis={"ticksuffix": suffix, "showgrid": True, "zeroline": True},
    )
    colours = run_colours(runs, theme)
    for name, entry in entries.items():
        low, high = entry["intervals"].get(measure) or (None, None)
        values = (entry["metrics"].get(measure), low, high)
        label = name if name in colours else label_of(name)
        add_interval(result, label, scale, values, colours.get(name, theme.reference), suffix, about.digits)
    fit_intervals(result)
    return result


def run_differences(
    comparisons: Mapping[str, Mapping[str, Any]], baseline: str, *, theme: Theme = LIGHT
) -> go.Figure:
    """Each run's Sharpe ratio minus that of one baseline under the run's own costs and dates, with intervals.

    Parameters
    ----------
    comparisons : mapping
        Run → its comparison with the baseline, as in `trading_app.backtesting.summary`.
    baseline : str
        The baseline.
    theme : Theme
        Colours and template.
    """
    ahead = sum(entry["verdict"] == "better" for entry in comparisons.values())
    behind = sum(entry["verdict"] == "worse" for entry in comparisons.values())
    result = figure(
        f"Sharpe ratio minus {label_of(baseline).lower()}'s: {ahead} of {len(comparisons)} higher, {behind} lower",
        "Paired bootstrap under each run's own dates and costs; an interval that includes zero is not significant.",
        theme,
        height=34 * len(comparisons) + 110,
        showlegend=False,
        hovermode="closest",
        xaxis={"showgrid": True, "zeroline": True, "zerolinewidth": 2},
    )
    colours = {"better": theme.gain, "worse": theme.loss, "indistinguishable": theme.reference}
    for run, entry in comparisons.items():
        values = (entry["sharpe_difference"], entry["sharpe_low"], entry["sharpe_high"])
        add_interval(result, run, 1.0, values, colours[entry["verdict"]], "", 2)
    fit_intervals(result)
    return result
