"""Sketches: what stands in a page until plotly.js draws is the figure, in both looks, with nothing inline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import plotly.graph_objects as go
import pytest

from service.dashboard import figures as pictures
from service.dashboard.colours import MARKED, NAMED, layers, shade
from service.dashboard.figures import Picture, gallery
from service.dashboard.scales import Content, axis_of
from service.dashboard.sketch import sketch
from trading_app.report.theme import DARK, LIGHT, figure, translucent

DAYS = [f"2021-{month:02d}-01" for month in range(1, 13)]


def made(*traces: Any, **layout: Any) -> go.Figure:
    drawn = figure("A title", "a subtitle", MARKED, **layout)
    drawn.add_traces(traces)
    return drawn


def parsed(drawn: go.Figure) -> ElementTree.Element:
    return ElementTree.fromstring(sketch(drawn))


def boxes(tree: ElementTree.Element) -> list[list[float]]:
    names = ("x", "y", "width", "height")
    return [[float(rect.attrib[name].rstrip("%")) for name in names] for rect in tree.iter("rect")]


def words(tree: ElementTree.Element) -> list[str]:
    return [str(text.text) for text in tree.iter("text")]


def test_every_colour_of_the_look_has_a_class_with_its_two_colours() -> None:
    css = (Path(pictures.__file__).parent / "static" / "dashboard.css").read_text(encoding="utf-8")
    for name, (light, dark) in NAMED.items():
        assert f".{name} {{ color: {light}; color: light-dark({light}, {dark}); }}" in css
    assert NAMED["k-agent"] == (LIGHT.agent, DARK.agent)
    assert shade(MARKED.loss) == ("k-loss", 1.0)
    assert shade(translucent(MARKED.palette[2], 0.25)) == ("k-2", 0.25)
    assert shade("tomato") == ("k-ink", 1.0)


def test_a_line_runs_through_its_values_and_stops_at_gaps() -> None:
    line = go.Scatter(x=DAYS, y=[1, 2, None, *range(4, 13)], mode="lines", line={"color": MARKED.agent})
    tree = parsed(made(line, yaxis={"range": [0, 12]}))
    path = next(element for element in tree.iter("path"))
    runs = [run.split() for run in path.attrib["d"].split("M")[1:]]
    assert [len(run) for run in runs] == [2, 9]
    assert runs[0][0] == "0,917"
    assert runs[1][-1] == "1000,0"
    assert path.attrib["class"] == "k-agent"


def test_long_lines_keep_their_peaks() -> None:
    y = np.zeros(5000)
    y[3210] = 1.0
    path = next(iter(parsed(made(go.Scatter(y=y, x=list(range(5000)), mode="lines"))).iter("path")))
    points = [tuple(map(float, point.split(","))) for point in path.attrib["d"][1:].split()]
    assert len(points) < 400
    assert min(height for _, height in points) < 100


def test_lying_bars_are_as_long_as_their_values_and_in_order() -> None:
    bar = go.Bar(x=[4.0, -2.0], y=["up", "down"], orientation="h", marker={"color": MARKED.gain})
    layout = {"xaxis": {"range": [-4, 4]}, "yaxis": {"type": "category", "autorange": "reversed"}}
    (first, second), tree = boxes(parsed(made(bar, **layout))), parsed(made(bar, **layout))
    assert (first[0], first[2]) == (50.0, 50.0)
    assert (second[0], second[2]) == (25.0, 25.0)
    assert first[1] + first[3] / 2 == pytest.approx(25.0)
    assert first[1] < second[1]
    assert {"up", "down"} <= set(words(tree))


def test_bars_beside_each_other_share_their_step() -> None:
    bars = [go.Bar(x=["a", "b"], y=[1.0, 2.0]), go.Bar(x=["a", "b"], y=[2.0, 1.0])]
    found = boxes(parsed(made(*bars, bargap=0.2)))
    assert [box[2] for box in found] == [20.0] * 4
    assert [box[0] for box in found] == [5.0, 55.0, 25.0, 75.0]
    assert found[0][3] * 2 == pytest.approx(found[1][3], abs=0.02)


def test_cells_of_a_heat_map_lie_in_their_rows_and_equal_ones_are_one() -> None:
    scale = [[0, MARKED.loss], [0.5, MARKED.paper], [1, MARKED.gain]]
    heat = go.Heatmap(z=[[0, 0, 1], [0.5, None, 1]], x=list("abc"), y=list("de"), colorscale=scale)
    tree = parsed(made(heat, yaxis={"type": "category", "autorange": "reversed"}))
    assert [rect.attrib["class"] for rect in tree.iter("rect")] == ["k-loss", "k-gain", "k-paper", "k-gain"]
    found = boxes(tree)
    assert [box[0] for box in found] == pytest.approx([0, 66.67, 0, 66.67], abs=0.01)
    assert found[0][2] == pytest.approx(66.67, abs=0.01)
    assert found[0][1] < 50 < found[2][1]


def test_colours_between_two_are_one_over_the_other() -> None:
    scale = [[0, MARKED.loss], [0.5, MARKED.paper], [1, MARKED.gain]]
    assert layers(scale, 0.25) == [("k-loss", 0.5)]
    assert layers(scale, 0.75) == [("k-gain", 0.5)]
    assert layers([[0, MARKED.loss], [1, MARKED.gain]], 0.25) == [("k-loss", 1.0), ("k-gain", 0.25)]


def test_stacked_areas_stand_on_each_other() -> None:
    areas = [go.Scatter(x=DAYS, y=[0.5] * 12, stackgroup="one", line={"width": 0}) for _ in range(2)]
    tree = parsed(made(*areas, yaxis={"range": [0, 1]}))
    first, second = (path.attrib["d"] for path in tree.iter("path"))
    assert "0,500" in first
    assert "0,1000" in first
    assert second.startswith("M0,0 ")
    assert "0,500" in second


@pytest.mark.parametrize(
    ("settings", "values", "names"),
    [
        ({"type": "log"}, [0.5, 60.0], ["0.5", "1", "2", "5", "10", "20", "50"]),
        ({"ticksuffix": " %"}, [0.0, 10.0], ["0 %", "2 %", "4 %", "6 %", "8 %", "10 %"]),
        ({}, ["1995-03-01", "2022-12-28"], ["2000", "2005", "2010", "2015", "2020"]),
        ({}, ["2021-01-01", "2021-06-15"], [f"2021-0{month}" for month in range(1, 7)]),
        ({"tickformat": "d"}, [2019, 2022], ["2019", "2020", "2021", "2022"]),
        ({}, ["KO", "GE"], ["KO", "GE"]),
        ({"type": "category", "autorange": "reversed"}, ["<b>", "&"], ["<b>", "&"]),
    ],
)
def test_axes_name_round_values(settings: dict[str, Any], values: list[Any], names: list[str]) -> None:
    axis = axis_of(go.layout.XAxis(settings), [Content(values)])
    assert [name for _, name in axis.ticks] == names
    assert all(0 <= place <= 1 for place, _ in axis.ticks)


def test_a_key_names_series_where_there_are_several() -> None:
    lines = [go.Scatter(x=DAYS, y=list(range(12)), name=name) for name in ("A & B", "<i>")]
    assert "<p " not in sketch(made(lines[0]))
    spans = parsed(made(*lines)).iter("span")
    assert ["".join(span.itertext()) for span in spans] == ["A & B", "<i>"]


@pytest.mark.parametrize(
    "traces",
    [
        [],
        [go.Waterfall(x=["a"], y=[1.0])],
        [go.Scatter(x=DAYS, y=list(range(12)), yaxis="y2")],
        [go.Scatter(x=[], y=[])],
    ],
)
def test_what_cannot_be_sketched_is_left_to_the_library(traces: list[Any]) -> None:
    assert sketch(made(*traces)) == ""


@pytest.mark.parametrize("values", [[0.0], [3.0, 3.0], [np.nan, np.nan], [1e-300, 1e300]])
def test_odd_values_give_a_drawing(values: list[float]) -> None:
    text = sketch(made(go.Scatter(x=list(range(len(values))), y=values, mode="lines+markers")))
    assert "nan" not in text
    assert "inf" not in text
    ElementTree.fromstring(text)


def test_pages_hold_their_first_figures_with_words_and_names(desk: Any) -> None:
    text = desk.get("/dashboard/run?run=alpha")
    assert text.count('class="sketch"') == pictures.SKETCHED
    title = re.search(r'<h3 data-title="equity">([^<]+)</h3>', text)
    assert title
    label = re.search(r'data-figure="equity"[^>]*aria-label="([^"]+)"', text)
    assert label
    assert label.group(1).startswith(title.group(1) + ". ")
    assert 'style="' not in text


def test_a_new_backtest_is_sketched_anew(desk: Any) -> None:
    import json
    import os

    def drawing() -> str:
        found = re.search(
            r'data-figure="sharpe-intervals".*?</figure>', desk.get("/dashboard/run?run=alpha"), re.S
        )
        assert found
        return found.group(0)

    before = drawing()
    file = desk.home / "runs" / "alpha" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["strategies"]["agent"]["intervals"]["sharpe"] = [-9.0, 9.0]
    file.write_text(json.dumps(metrics))
    os.utime(file, (1e9, 1e9))
    assert drawing() != before


def test_a_figure_that_fails_leaves_its_page_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_theme: Any) -> go.Figure:
        raise ValueError("no such column")

    made_gallery = gallery([Picture("x", "X", fail, lambda: None)], "/x")
    assert made_gallery.sketch("x") is None
    assert "no such column" in caplog.text
