"""The page *Control*: figures that other packages offer, in the dashboard's look."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest
from plotly.subplots import make_subplots

from service.dashboard.views import control as control_views
from service.dashboard.views.control import dressed
from trading_app.report.theme import DARK, LIGHT

PATH = "/dashboard/control"


def panels() -> go.Figure:
    """Two panels with a line and a shaded band each, in the colours of the light look."""
    figure = make_subplots(rows=1, cols=2, shared_yaxes=True, subplot_titles=["original", "gravity"])
    for column in (1, 2):
        figure.add_scatter(x=[0, 1], y=[column, 2 * column], line={"color": "#0072B2"}, row=1, col=column)
        band = {"fill": "toself", "fillcolor": "rgba(213,94,0,0.18)"}
        figure.add_scatter(x=[0, 1], y=[1, 2], row=1, col=column, **band)
    figure.update_layout(
        template="plotly_white", font={"color": "#123456"}, title={"text": "its own"}, height=380
    )
    return figure.update_xaxes(gridcolor="#e8ebef", title="frames")


def write_exports(folder: Path) -> None:
    folder.mkdir(parents=True)
    bars = go.Figure(go.Bar(x=[0.1], y=["a comparison with quite a long name"], orientation="h"))
    figures = {"claims": ("", bars), "cart-curves": ("cart", panels()), "reach-curves": ("reach", panels())}
    for name, (_, figure) in figures.items():
        (folder / f"{name}.plotly.json").write_text(figure.to_json())
        (folder / f"{name}.csv").write_text("seed,frames,return\n0,100,0.1\n1,100,1e-17\n")
    index = {
        "title": "A study",
        "notes": ["Two runs & <more>."],
        "tables": [
            {"caption": "Scores", "rows": [{"task": "cart", "score": "0.7"}]},
            {"caption": "None", "rows": []},
        ],
        "figures": [
            {"name": name, "title": f"Title of {name}", "subtitle": "How to read it.", "view": view}
            for name, (view, _) in figures.items()
        ],
    }
    (folder / "dashboard.json").write_text(json.dumps(index))


Offer = Callable[..., None]


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Install one package that offers the given results."""

    def install(*results: dict[str, Any]) -> None:
        found = {"title": "Experiments", "advice": "`make experiments` makes them.", "results": list(results)}
        point = SimpleNamespace(name="lab", load=lambda: lambda home: found)
        monkeypatch.setattr(control_views, "entry_points", lambda group: [point])

    return install


@pytest.fixture
def drawn(offer: Offer, tmp_path: Path) -> Path:
    folder = tmp_path / "states" / "figures"
    write_exports(folder)
    offer({"name": "states", "folder": folder, "state": "current", "advice": ""})
    return folder


def test_installed_packages_are_asked(site: Any) -> None:
    page = site.client.get(PATH)
    assert page.status_code == 200
    # The results that the control package comes with.
    assert "states-paper-cpu" in page.text
    assert "cartpole swingup" in page.text


def test_nothing_to_show_comes_with_advice(site: Any, offer: Offer) -> None:
    offer()
    page = site.client.get(PATH).text
    assert "There are no results yet" in page
    assert "make experiments" in page
    assert site.client.get(f"{PATH}/figures/claims.json").status_code == 404


def test_undrawn_results_name_the_command(site: Any, offer: Offer, tmp_path: Path) -> None:
    offer({"name": "states", "folder": tmp_path, "state": "undrawn", "advice": "`draw` draws them."})
    assert "<code>draw</code> draws them." in site.client.get(PATH).text


def test_page_shows_the_study_and_its_first_task(site: Any, drawn: Path) -> None:
    page = site.client.get(PATH).text
    assert re.findall(r'data-figure="([^"]+)"', page) == ["claims", "cart-curves"]
    assert "Two runs &amp; &lt;more&gt;." in page
    assert '<th scope="row">cart</th>' in page
    other = site.client.get(f"{PATH}?results=lab-states&task=reach").text
    assert re.findall(r'data-figure="([^"]+)"', other) == ["claims", "reach-curves"]
    assert '<option value="reach" selected>' in other


def test_figures_and_their_data_are_given(site: Any, drawn: Path) -> None:
    figure = site.client.get(f"{PATH}/figures/cart-curves.json?theme=dark").json()
    assert (figure["title"], figure["subtitle"]) == ("Title of cart-curves", "How to read it.")
    assert len(figure["data"]) == 4
    answer = site.client.get(f"{PATH}/figures/cart-curves.csv")
    table = pd.read_csv(io.StringIO(answer.text))
    assert table.to_numpy().tolist() == [[0, 100, 0.1], [1, 100, 1e-17]]
    assert site.client.get(f"{PATH}/figures/reach-curves.json").status_code == 404
    assert site.client.get(f"{PATH}/figures/reach-curves.json?task=reach").status_code == 200


def test_outdated_figures_say_so(site: Any, drawn: Path, offer: Offer) -> None:
    offer({"name": "states", "folder": drawn, "state": "outdated", "advice": "Draw them anew."})
    page = site.client.get(PATH).text
    assert "Draw them anew." in page
    assert "cart-curves" in page


@pytest.mark.parametrize("text", ["{", "[]", '{"notes": []}'])
def test_damaged_index_counts_as_undrawn(site: Any, drawn: Path, text: str) -> None:
    (drawn / "dashboard.json").write_text(text)
    page = site.client.get(PATH)
    assert page.status_code == 200
    assert "not drawn yet" in page.text


def test_damaged_figure_is_told_in_a_line(site: Any, drawn: Path) -> None:
    (drawn / "cart-curves.plotly.json").write_text("{")
    (drawn / "cart-curves.csv").unlink()
    for form in ("json", "csv"):
        answer = site.client.get(f"{PATH}/figures/cart-curves.{form}")
        assert answer.status_code == 404
        assert "draw the figures again" in answer.text


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("results=none", 404, "there are lab-states"),
        ("task=none", 404, "there are cart, reach"),
        ("results=../etc", 422, "results"),
    ],
)
def test_bad_addresses_get_a_page_that_says_why(
    site: Any, drawn: Path, query: str, status: int, words: str
) -> None:
    answer = site.client.get(f"{PATH}?{query}")
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text


def test_dark_look_has_the_same_data_in_its_own_colours() -> None:
    light, dark = (dressed(panels(), "Title", "Subtitle", theme) for theme in (LIGHT, DARK))
    assert [list(trace.y) for trace in light.data] == [list(trace.y) for trace in dark.data]
    assert light.data[0].line.color == LIGHT.agent
    assert dark.data[0].line.color == DARK.agent
    assert light.data[1].fillcolor == "rgba(213,94,0,0.18)"
    assert dark.data[1].fillcolor == "rgba(240,128,60,0.18)"


def test_figures_leave_their_own_look_behind() -> None:
    layout = dressed(panels(), "Title", "Subtitle", LIGHT).layout
    assert layout.title.text == "Title"
    assert layout.font.color is None
    assert layout.xaxis.gridcolor is None
    assert layout.xaxis.title.text == "frames"


def test_panels_stand_one_below_the_other_on_a_phone() -> None:
    narrow = dressed(panels(), "Title", "Subtitle", LIGHT).layout.meta["narrow"]
    assert list(narrow["layout.xaxis2.domain"]) == [0.0, 1.0]
    first, second = narrow["layout.yaxis.domain"], narrow["layout.yaxis2.domain"]
    assert second[1] < first[0]


def test_long_names_of_rows_are_broken_on_a_phone() -> None:
    figure = go.Figure(go.Bar(x=[1], y=["a comparison with quite a long name"], orientation="h"))
    narrow = dressed(figure, "Title", "Subtitle", LIGHT).layout.meta["narrow"]
    assert list(narrow["layout.yaxis.ticktext"]) == ["a comparison with<br>quite a long name"]


def test_first_and_last_row_have_room() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=["a", "b"], mode="markers"))
    figure.update_yaxes(categoryorder="array", categoryarray=["a", "b"])
    low, high = dressed(figure, "Title", "Subtitle", LIGHT).layout.yaxis.range
    assert low < 0
    assert high > 1


def test_panels_in_a_row_are_apart() -> None:
    made, layout = panels().layout, dressed(panels(), "Title", "Subtitle", LIGHT).layout
    gap = layout.xaxis2.domain[0] - layout.xaxis.domain[1]
    assert gap > made.xaxis2.domain[0] - made.xaxis.domain[1] + 0.02
    assert (layout.xaxis.domain[0], layout.xaxis2.domain[1]) == (made.xaxis.domain[0], made.xaxis2.domain[1])
