"""Figures of the control study: pure functions from runs to Plotly figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from control_benchmarks.analysis.claims import (
    Array,
    Claim,
    Curve,
    Study,
    curve,
    noise_returns,
    relaxations,
)
from control_benchmarks.analysis.published import COMPARED, OTHER, OWN, PLAIN, ours, published_points
from control_benchmarks.experiments.results import Results
from control_benchmarks.experiments.suites import agent_names
from rl_core.statistics import Band, Interval, bootstrap_band, bootstrap_interval

# Okabe and Ito (2008): colours that stay apart for colour-blind readers; relaxed is always blue.
COLOURS = {
    "relaxed": "#0072B2",
    "exact": "#D55E00",
    "dense": "#6b7480",
    "augmented": "#009E73",
    "rpp": "#CC79A7",
    "dense-equal-parameters": "#E69F00",
}
_OTHERS = ("#56B4E9", "#8B5E3C", "#7A5AA6", "#999933")
_VARIANTS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GRID, _INK, MUTED = "#e8ebef", "#1a1d21", "#5b6470"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def learning_curves(study: Study, task: str) -> go.Figure:
    """Return of every agent over training, a panel a variant: interquartile mean and 95 % interval."""
    variants = _variants(study, task)
    figure = _panels(variants, "frames", "return")
    for column, variant in enumerate(variants, start=1):
        _bands(figure, {agent: curve(run) for agent, run in _runs(study, task, variant).items()}, column)
    return _finish(figure, f"{task}: return of an episode during training", rangemode="tozero")


def equivariance_errors(study: Study, task: str, part: str = "policy") -> go.Figure:
    """Equivariance error of the policy or critic of every agent during training.

    ``"policy"`` is the mean distance of actions over their mean length, ``"critic"`` that of values over their standard
    deviation.
    """
    variants = _variants(study, task)
    figure = _panels(variants, "frames", f"{part} error / its scale")
    for column, variant in enumerate(variants, start=1):
        found = {}
        for agent, run in _runs(study, task, variant).items():
            error, scale = curve(run, f"{part}_error"), curve(run, f"{part}_scale")
            found[agent] = Curve(error.frames, error.values / np.maximum(scale.values, 1e-12))
        _bands(figure, found, column)
    return _finish(figure, f"{task}: distance of the {part} from equivariance", rangemode="tozero")


def relaxed_weights(study: Study, task: str) -> go.Figure:
    """Relative spread of the relaxed weights of each layer at the end, for the original and each variant."""
    figure = go.Figure()
    for number, variant in enumerate(_variants(study, task)):
        run = study.run((task, variant), "relaxed")
        if run is None:
            continue
        layers = relaxations(run)
        names = list(layers)
        intervals = [bootstrap_interval(layers[name], generator=_generator()) for name in names]
        figure.add_bar(
            name=variant,
            x=[name.removesuffix(".w") for name in names],
            y=[interval.estimate for interval in intervals],
            marker_color=_VARIANTS[number % len(_VARIANTS)],
            error_y={**_error_bars(intervals), "thickness": 1, "color": _INK},
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="largest difference / mean weight")
    return _finish(figure, f"{task}: spread of relaxed weights over the group", rangemode="tozero")


def noise_robustness(study: Study, task: str) -> go.Figure:
    """Return at the end under noise on observations, a panel a variant."""
    variants = _variants(study, task)
    figure = _panels(variants, "noise, shares of a standard deviation", "return")
    for column, variant in enumerate(variants, start=1):
        found = {agent: Curve(*noise_returns(run)) for agent, run in _runs(study, task, variant).items()}
        _bands(figure, found, column, markers=True)
    return _finish(figure, f"{task}: return under noise on observations", rangemode="tozero")


def claim_intervals(claims: Sequence[Claim]) -> go.Figure:
    """Draw the comparisons that the claims rest on, each with its 95 % interval; zero is no difference."""
    parts = [(f"({claim.letter}) {part.label}", part) for claim in claims for part in claim.parts]
    colours = {"yes": "#0072B2", "no": "#D55E00", "undecided": "#6b7480"}
    figure = go.Figure()
    for answer, colour in colours.items():
        mine = {label: part.interval for label, part in parts if part.answer == answer}
        if not mine:
            continue
        figure.add_scatter(
            name=answer,
            x=[interval.estimate for interval in mine.values()],
            y=list(mine),
            mode="markers",
            marker={"color": colour, "size": 9},
            error_x={**_error_bars(mine.values()), "color": colour},
        )
    figure.add_vline(x=0, line={"color": _INK, "width": 1})
    figure.update_yaxes(categoryorder="array", categoryarray=[label for label, _ in reversed(parts)])
    figure.update_xaxes(title="difference of scores, in (d) of relaxed weights")
    _finish(figure, "Differences behind the claims")
    return figure.update_layout(height=190 + 32 * len(parts), margin={"l": 330})


def published_returns(study: Study) -> go.Figure:
    """Draw returns of ours with intervals beside published ones, a row a task and number of frames."""
    rows = published_points(study)
    labels = list(dict.fromkeys(_row_of(row) for row in rows))
    parts = [
        ("other methods, published", "#CC79A7", "diamond-open", [r for r in rows if r["group"] == OTHER]),
        ("plain SAC, published", "#6b7480", "diamond", [r for r in rows if r["group"] == PLAIN]),
    ]
    for agent in COMPARED:
        parts.append((ours(agent), COLOURS[agent], "circle", [r for r in rows if r["source"] == ours(agent)]))
    figure = go.Figure()
    for name, colour, symbol, own in parts:
        if not own:
            continue
        intervals = [Interval(r["return"], r["low"], r["high"]) for r in own]
        figure.add_scatter(
            name=name,
            x=[r["return"] for r in own],
            y=[_row_of(r) for r in own],
            mode="markers",
            marker={"color": colour, "size": 10, "symbol": symbol},
            error_x=_error_bars(intervals) if own[0]["group"] == OWN else None,
            text=[r["source"] for r in own],
            hovertemplate="%{text}: %{x:.0f}<extra>%{y}</extra>",
        )
    figure.update_yaxes(categoryorder="array", categoryarray=labels[::-1])
    figure.update_xaxes(title="return of an episode", range=[0, 1000])
    _finish(figure, "Returns beside published ones")
    return figure.update_layout(height=210 + 36 * len(labels), margin={"l": 230})


def _row_of(row: Mapping[str, Any]) -> str:
    return f"{row['task']}, {row['frames']:,} frames"


def _variants(study: Study, task: str) -> list[str]:
    return [variant for name, variant in study.cells if name == task]


def _runs(study: Study, task: str, variant: str) -> dict[str, Results]:
    """Return the runs of a cell by agent."""
    runs = {agent: study.run((task, variant), agent) for agent in study.agents}
    return {agent: run for agent, run in runs.items() if run is not None}


def _error_bars(intervals: Iterable[Interval]) -> dict[str, Any]:
    """Return the distances of bounds from estimates, as Plotly draws them."""
    listed = list(intervals)
    return {
        "type": "data",
        "array": [i.high - i.estimate for i in listed],
        "arrayminus": [i.estimate - i.low for i in listed],
    }


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def _panels(titles: Sequence[str], x: str, y: str) -> go.Figure:
    figure = make_subplots(
        rows=1,
        cols=max(1, len(titles)),
        shared_yaxes=True,
        subplot_titles=list(titles),
        horizontal_spacing=0.02,
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y, col=1)
    return figure


def _bands(figure: go.Figure, found: Mapping[str, Curve], column: int, *, markers: bool = False) -> None:
    """Draw agents' curves in a panel, all lines above all intervals."""
    found = {agent: own for agent, own in found.items() if own.values.size}
    bands = {
        agent: bootstrap_band(own.values, generator=_generator(), resamples=1000)
        for agent, own in found.items()
    }
    opacity = 0.18 if len(found) <= 3 else 0.12  # of many agents the intervals lie on each other
    for agent, band in bands.items():
        if np.isfinite(band.low).all():  # not of a single seed
            _shade(figure, found[agent].frames, band, agent, opacity, column)
    for agent, band in bands.items():
        figure.add_scatter(
            x=found[agent].frames,
            y=_short(band.estimate),
            name=agent,
            legendgroup=agent,
            showlegend=all(trace.name != agent for trace in figure.data),
            mode="lines+markers" if markers else "lines",
            line={"color": agent_colour(agent), "width": 2},
            row=1,
            col=column,
        )


def agent_colour(agent: str) -> str:
    """Return the colour of an agent; kinds without one of their own take the others in turn."""
    if agent in COLOURS:
        return COLOURS[agent]
    without = [name for name in agent_names() if name not in COLOURS]
    return _OTHERS[without.index(agent) % len(_OTHERS)]


def _shade(figure: go.Figure, x: Any, band: Band, agent: str, opacity: float, column: int) -> None:
    red, green, blue = (int(agent_colour(agent)[i : i + 2], 16) for i in (1, 3, 5))
    figure.add_scatter(
        x=np.concatenate([x, x[::-1]]),
        y=_short(np.concatenate([band.high, band.low[::-1]])),
        fill="toself",
        fillcolor=f"rgba({red},{green},{blue},{opacity})",
        mode="lines",
        line={"width": 0},
        hoverinfo="skip",
        legendgroup=agent,
        showlegend=False,
        row=1,
        col=column,
    )


def _short(values: Array) -> Array:
    """Round to the precision of a figure, so that pages stay small."""
    return np.array([float(f"{value:.5g}") for value in values])


def _finish(figure: go.Figure, title: str, *, rangemode: str | None = None) -> go.Figure:
    figure.update_layout(
        title={
            "text": title,
            "x": 0.01,
            "xanchor": "left",
            "y": 0.965,
            "yanchor": "top",
            "font": {"size": 16},
        },
        template="plotly_white",
        font={"family": _FONT, "size": 12, "color": _INK},
        height=420,
        margin={"l": 60, "r": 20, "t": 96, "b": 90},
        legend={"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom"},
    )
    figure.update_xaxes(gridcolor=_GRID)
    figure.update_yaxes(gridcolor=_GRID)
    if rangemode is not None:
        figure.update_yaxes(rangemode=rangemode)
    return figure
