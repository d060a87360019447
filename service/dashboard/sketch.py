"""Figures as plain SVG in the page itself, to look at until plotly.js is there to draw them with all they can do.

A sketch has the shape, the colours, the scales and the key of the figure; it has no values under the pointer and no
zoom. It stretches with its place, and follows light and dark by itself: colours come in pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from service.dashboard.colours import MARKED, layers, shade
from service.dashboard.scales import Axis, Content, axis_of
from trading_app.report.theme import thin

__all__ = ["MARKED", "sketch"]

Floats = NDArray[np.float64]
_POINTS = 260
_CELLS = 4000


def sketch(figure: go.Figure) -> str:
    """Draw a figure made in the look `MARKED`, as HTML; empty where it holds what cannot be sketched."""
    layout = figure.layout
    traces = list(figure.data)
    kinds = {trace.type for trace in traces}
    piled = layout.barmode in ("stack", "relative") and len(traces) > 1
    known = kinds <= {"scatter", "bar", "heatmap"} and not piled
    if not traces or not known or any(_elsewhere(trace) for trace in traces):
        return ""
    stacked = _stacked(traces)
    flat = [item for item in stacked if len(item.x)]
    if not flat:
        return ""
    sheet = _Sheet(
        axis_of(layout.xaxis, [item.on("x") for item in flat]),
        axis_of(layout.yaxis, [item.on("y") for item in flat]),
    )
    sheet.grid(layout)
    slots = _slots(traces, layout)
    for number, item in enumerate(flat):
        getattr(sheet, item.trace.type)(item, flat[number - 1] if number else None, slots)
    key = _key(traces, layout)
    # In letters of 12 pixels, where a figure is 12 lower on a page than by itself, and its key has a line.
    height = float(layout.height or 360) / 12 - 2 - (1.6 if key else 0)
    return f'<div class="sketch">{key}{sheet.html(height)}</div>'


def _elsewhere(trace: Any) -> bool:
    """Whether a trace lies on axes of its own."""
    return (getattr(trace, "yaxis", None) or "y") != "y" or (getattr(trace, "xaxis", None) or "x") != "x"


@dataclass
class _Item:
    """A trace with its numbers: what it covers of both axes, and the foot that it stands on."""

    trace: Any
    x: Any
    y: Any
    base: Any = 0.0

    @property
    def lying(self) -> bool:
        """Whether its bars lie."""
        return bool(self.trace.type == "bar" and self.trace.orientation == "h")

    def on(self, axis: str) -> Content:
        """What the axis ``x`` or ``y`` must hold of it."""
        values = self.x if axis == "x" else self.y
        if self.trace.type == "bar" and self.lying == (axis == "x"):
            ends = self.base + np.asarray(values, float)
            return Content(np.concatenate([np.atleast_1d(self.base), ends - self.error, ends + self.error]))
        trace = self.trace
        on_zero = trace.type == "scatter" and (trace.fill == "tozeroy" or trace.stackgroup)
        return Content([*values, 0.0] if on_zero and axis == "y" else values, seated=trace.type != "scatter")

    @property
    def error(self) -> Floats:
        """Half the length of the line through the end of each bar."""
        error = self.trace.error_x if self.lying else self.trace.error_y
        return np.asarray(0.0 if error.array is None else error.array, float)


def _stacked(traces: list[Any]) -> list[_Item]:
    """The traces with their numbers; those that stand on each other are added up."""
    found: list[_Item] = []
    tops: dict[str, Floats] = {}
    for trace in traces:
        x, y = (() if values is None else values for values in (trace.x, trace.y))
        base: Any = trace.base if trace.type == "bar" and trace.base is not None else 0.0
        group = trace.stackgroup if trace.type == "scatter" else None
        if group:
            base = tops.get(group, np.zeros(len(y)))
            y = tops[group] = base + np.nan_to_num(np.asarray(y, float))
        found.append(_Item(trace, x, y, base))
    return found


def _slots(traces: list[Any], layout: Any) -> dict[int, tuple[float, float]]:
    """Where in its step each bar begins, and how wide it is."""
    bars = [trace for trace in traces if trace.type == "bar"]
    wide = 1.0 - float(layout.bargap if layout.bargap is not None else 0.25)
    beside = len(bars) if (layout.barmode or "group") == "group" else 1
    return {
        id(trace): (-wide / 2 + wide * (number % beside) / beside, wide / beside)
        for number, trace in enumerate(bars)
    }


@dataclass
class _Sheet:
    """What is drawn: marks, shapes that stretch over them, points over those, and the text around."""

    x: Axis
    y: Axis
    shapes: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def grid(self, layout: Any) -> None:
        """Lines and names of the axes."""
        muted, line = "k-muted", "k-grid"
        for place, name in self.y.ticks:
            at = 100 - 100 * place
            if layout.yaxis.showgrid is not False:
                self.marks.append(_rule(line, "0%", "100%", f"{at:.2f}%", f"{at:.2f}%"))
            spot = f'x="-.5em" y="{at:.2f}%" dy=".35em" text-anchor="end"'
            self.text.append(f'<text class="{muted}" {spot}>{escape(name)}</text>')
        turned = len(self.x.ticks) > 12
        for place, name in self.x.ticks:
            if layout.xaxis.showgrid:
                self.marks.append(_rule(line, f"{100 * place:.2f}%", f"{100 * place:.2f}%", "0%", "100%"))
            turn = 'writing-mode="vertical-rl" dy=".5em"' if turned else 'text-anchor="middle" dy="1.3em"'
            spot = f'x="{100 * place:.2f}%" y="100%" {turn}'
            self.text.append(f'<text class="{muted}" {spot}>{escape(name)}</text>')
        self.below = 2.0 if not turned else 0.8 + 0.6 * max(len(name) for _, name in self.x.ticks)
        dark = "k-axis"
        self.marks.append(_rule(dark, "0%", "100%", "100%", "100%"))
        if self.x.kind == "linear" and self.x.low < 0 < self.x.high and layout.xaxis.showgrid:
            zero = f"{100 * self.x.places([0.0])[0]:.2f}%"
            self.marks.append(_rule(dark, zero, zero, "0%", "100%"))

    def scatter(self, item: _Item, before: _Item | None, _slots: Any) -> None:
        """Lines, areas and points."""
        trace = item.trace
        x, y = self.x.places(item.x), self.y.places(item.y)
        mode = trace.mode or ("lines" if len(x) > 20 else "lines+markers")
        rows = thin(np.nan_to_num(y), _POINTS)
        if trace.stackgroup or trace.fill in ("tozeroy", "tonexty"):
            foot = self._foot(item, before, len(y))
            class_name, opacity = shade(trace.fillcolor or trace.line.color)
            ring = [*zip(x[rows], y[rows], strict=True), *zip(x[rows][::-1], foot[rows][::-1], strict=True)]
            path = _path([(a, b) for a, b in ring if np.isfinite(a) and np.isfinite(b)])
            opacity = 0.5 if trace.fillcolor is None else opacity
            self.shapes.append(
                f'<path class="{class_name}" fill="currentColor" fill-opacity="{opacity:g}" d="{path}Z"/>'
            )
        width = 2.0 if trace.line.width is None else float(trace.line.width)
        if "lines" in mode and width > 0:
            class_name, opacity = shade(trace.line.color)
            path = "".join(_path(run) for run in _runs(x[rows], y[rows]))
            style = f'stroke-width="{width:g}" stroke-opacity="{opacity:g}"'
            self.shapes.append(f'<path class="{class_name}" fill="none" {style} d="{path}"/>')
        if "markers" in mode:
            self._points(trace, x, y)

    def _foot(self, item: _Item, before: _Item | None, count: int) -> Floats:
        if item.trace.stackgroup:
            return self.y.places(item.base)
        if item.trace.fill == "tonexty" and before is not None and len(before.y) == count:
            return self.y.places(before.y)
        return np.full(count, self.y.places(np.zeros(1))[0])

    def _points(self, trace: Any, x: Floats, y: Floats) -> None:
        marker = trace.marker
        size = marker.size if isinstance(marker.size, int | float) else 6
        class_name, opacity = shade(_plain(marker.color) or trace.line.color)
        ring = _plain(marker.line.color)
        parts = [(class_name, opacity, size)]
        if ring:  # a larger point behind it
            parts = [(shade(ring)[0], 1.0, size + (marker.line.width or 1.0)), *parts]
        for a, b in zip(x, y, strict=True):
            for name, strength, across in parts if np.isfinite(a) and np.isfinite(b) else ():
                spot = f'cx="{100 * a:.2f}%" cy="{100 - 100 * b:.2f}%" r="{across / 24:.2f}em"'
                self.points.append(f'<circle class="{name}" fill-opacity="{strength:g}" {spot}/>')

    def bar(self, item: _Item, _before: _Item | None, slots: dict[int, tuple[float, float]]) -> None:
        """Bars, standing or lying."""
        axis, along = (self.y, self.x) if item.lying else (self.x, self.y)
        values = np.asarray(item.x if item.lying else item.y, float)
        base = np.broadcast_to(np.asarray(item.base, float), values.shape)
        begin, wide = slots[id(item.trace)]
        places = axis.places(item.y if item.lying else item.x)
        first = places + begin * axis.step * (-1 if axis.backwards else 1)
        thick = wide * axis.step
        first = first - thick if axis.backwards else first
        ends = np.sort([along.places(base), along.places(base + values)], axis=0)
        if item.error.any() and item.lying:
            ink = "k-ink"
            for end, error, place in zip(base + values, item.error, places, strict=True):
                low, high = (f"{100 * share:.2f}%" for share in along.places([end - error, end + error]))
                at = f"{100 - 100 * place:.2f}%"
                self.points.append(_rule(ink, low, high, at, at))
        colours = item.trace.marker.color
        for number, (low, high, start) in enumerate(zip(*ends, first, strict=True)):
            colour = colours if isinstance(colours, str) or colours is None else colours[number]
            box = (low, start, high - low, thick) if item.lying else (start, low, thick, high - low)
            self._box(*shade(colour), *box)

    def heatmap(self, item: _Item, _before: _Item | None, _slots: Any) -> None:
        """Cells; equal ones beside each other are one."""
        trace = item.trace
        z = np.array([[np.nan if v is None else v for v in row] for row in trace.z], dtype=float)
        if z.size > _CELLS:
            z = z[:, :: -(-z.size // _CELLS)]
        low = np.nanmin(z) if trace.zmin is None else trace.zmin
        high = np.nanmax(z) if trace.zmax is None else trace.zmax
        shades = np.round(np.clip((z - low) / ((high - low) or 1.0), 0, 1) * 24) / 24
        wide, tall = 1.0 / z.shape[1], 1.0 / z.shape[0]
        for number, row in enumerate(shades):
            up = number * tall if not self.y.backwards else 1 - (number + 1) * tall
            edges = [0, *(np.flatnonzero(row[1:] != row[:-1]) + 1), len(row)]
            for begin, end in pairwise(edges):
                if np.isfinite(row[begin]):
                    box = (begin * wide, up + 0.06 * tall, (end - begin) * wide, 0.88 * tall)
                    for class_name, opacity in layers(trace.colorscale, float(row[begin])):
                        self._box(class_name, opacity, *box)

    def _box(self, class_name: str, opacity: float, x: float, y: float, wide: float, tall: float) -> None:
        numbers = (x, 1 - y - tall, wide, tall)
        if not np.isfinite(numbers).all():
            return
        left, top, width, height = (f"{100 * number:.2f}%" for number in numbers)
        look = f'class="{class_name}"' + (f' fill-opacity="{opacity:.3g}"' if opacity < 1 else "")
        self.marks.append(f'<rect {look} x="{left}" y="{top}" width="{width}" height="{height}"/>')

    def html(self, height: float) -> str:
        """The drawing, so many times its letters' size high, with room for the text around it."""
        left = 1.2 + 0.56 * max((len(name) for _, name in self.y.ticks), default=0)
        stretched = (
            '<svg width="100%" height="100%" viewBox="0 0 1000 1000" preserveAspectRatio="none">'
            f"{''.join(self.shapes)}</svg>"
        )
        content = "".join(self.marks) + stretched + "".join(self.points) + "".join(self.text)
        tall = f"{max(height - self.below, 4.0):.2f}em"
        return (
            f'<div class="drawing"><svg width="{left:.2f}em" height="{tall}"></svg>'
            f'<svg class="plane" height="{tall}" aria-hidden="true">{content}</svg></div>'
            f'<svg width="1" height="{self.below:.2f}em"></svg>'
        )


def _rule(class_name: str, x1: str, x2: str, y1: str, y2: str) -> str:
    return f'<line class="{class_name}" x1="{x1}" x2="{x2}" y1="{y1}" y2="{y2}"/>'


def _runs(x: Floats, y: Floats) -> Iterator[list[tuple[float, float]]]:
    """The stretches of a line between its gaps."""
    run: list[tuple[float, float]] = []
    for point in zip(x, y, strict=True):
        if np.isfinite(point).all():
            run.append(point)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + " ".join(f"{1000 * a:.0f},{1000 - 1000 * b:.0f}" for a, b in points)


def _key(traces: list[Any], layout: Any) -> str:
    """Which colour is what, where there is more than one."""
    named = [
        trace for trace in traces if trace.name and trace.showlegend is not False and trace.type != "heatmap"
    ]
    if layout.showlegend is False or len(named) < 2:
        return ""
    named.sort(key=lambda trace: 1000 if trace.legendrank is None else trace.legendrank)
    entries = []
    for trace in named:
        line = trace.type == "scatter" and trace.mode != "markers"
        colour = (trace.fillcolor or trace.line.color) if line else trace.marker.line.color
        class_name, _ = shade(_plain(colour) or _plain(trace.marker.color))
        entries.append(f'<span><i class="{class_name}"></i>{escape(trace.name)}</span>')
    return f'<p class="key">{"".join(entries)}</p>'


def _plain(colour: Any) -> str | None:
    """A colour that is one for the whole trace."""
    return colour if isinstance(colour, str) else None
