"""What holds for every page: who may see it, what it loads, what it says when there is nothing or all is wrong."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from service.core.problems import Problem
from service.dashboard import navigation as pages
from service.dashboard.assets import asset_url
from service.dashboard.figures import PageFigure, figure_file, gallery
from trading_app.report.page import PLOTLY, static

PATHS = [module.PATH for module in pages.PAGES]


class Controls(HTMLParser):
    """Controls of a page without an accessible name, and ids that occur twice."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.nameless: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []
        self._labels = set(re.findall(r'<label for="([^"]+)"', text))
        self._inside: list[str] = []
        self._open: tuple[str, dict[str, str | None]] | None = None
        self._text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        if (
            tag == "script" and "src" not in given and given.get("type") != "application/json"
        ) or tag == "style":
            self.inline.append(tag)
        if tag == "label":
            self._inside.append(tag)
        if tag in {"input", "select", "textarea"} and given.get("type") != "hidden":
            named = self._inside or given.get("aria-label") or given.get("id") in self._labels
            if not named:
                self.nameless.append(f"{tag} {given}")
        if tag in {"a", "button"}:
            self._open, self._text = (tag, given), ""

    def handle_data(self, data: str) -> None:
        self._text += data.strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "label":
            self._inside.pop()
        if self._open and tag == self._open[0]:
            if not self._text and not self._open[1].get("aria-label"):
                self.nameless.append(f"{tag} {self._open[1]}")
            self._open = None


@pytest.mark.parametrize("path", PATHS)
def test_page_is_for_those_logged_in(service: Any, path: str) -> None:
    answer = service.client.get(path, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"][:12]) == (303, "/login?next=")


@pytest.mark.parametrize("path", [*PATHS, "/dashboard/run?run=fresh", "/dashboard/nope", "/login"])
def test_page_has_names_for_its_controls_and_nothing_inline(desk: Any, path: str) -> None:
    answer = desk.service.client.get(path)
    found = Controls(answer.text)
    assert found.nameless == []
    assert found.inline == []
    assert len(found.ids) == len(set(found.ids))
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', answer.text)


@pytest.mark.parametrize("path", PATHS)
def test_page_is_marked_in_the_navigation(desk: Any, path: str) -> None:
    current = re.findall(r'<a href="([^"]+)" aria-current="page"', desk.get(path))
    assert current == [path]


@pytest.mark.parametrize("path", PATHS)
def test_page_with_nothing_to_show_says_what_to_do(
    empty_desk: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Results that the control package comes with would be something to show.
    nowhere = empty_desk.home / "nowhere"
    monkeypatch.setattr("control_benchmarks.analysis.dashboard.results_root", lambda: nowhere)
    text = empty_desk.get(path)
    assert 'class="nothing"' in text
    assert "equitrade" in text


def test_wrong_link_gives_a_page_that_leads_on(desk: Any) -> None:
    text = desk.get("/dashboard/nope", 404)
    assert 'role="alert"' in text
    assert 'href="/dashboard"' in text
    assert "Choose another run" in desk.get("/dashboard/run?run=nope", 404)
    assert "from:" in desk.get("/dashboard/run?from=yesterday", 422)
    text = desk.get("/dashboard/run?run=alpha&from=2020-08-10", 422)
    assert 'href="/dashboard/run?run=alpha"' in text
    assert "without these choices" in text


def test_wrong_figure_gives_a_line(desk: Any) -> None:
    assert "no figure" in desk.get("/dashboard/run/alpha/figures/nope.json", 404)
    assert "no figure" in desk.get("/dashboard/run/alpha/figures/equity.exe", 404)
    assert desk.service.client.get("/dashboard/run/nope/figures/equity.csv").status_code == 404


def test_failing_page_names_its_request(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.service.state.audit, "latest", lambda **_: 1 / 0)
    answer = desk.service.client.get("/dashboard")
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "ZeroDivisionError" not in answer.text


def test_plotly_is_compressed_and_cached_for_a_year(desk: Any) -> None:
    url = asset_url(PLOTLY)
    assert url in desk.get("/dashboard")
    answer = desk.service.client.get(url)
    assert answer.text == static(PLOTLY)
    assert "max-age=31536000, immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    again = desk.service.client.get(url, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    plain = desk.service.client.get(url, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert len(gzip.compress(plain.content)) < 600_000


def test_cards_of_the_first_screen_have_caption_and_height_of_their_figures(desk: Any) -> None:
    text = desk.get("/dashboard/run?run=alpha")
    figure = desk.figure("/dashboard/run/alpha/figures/drawdown.json")
    assert f'<h3 data-title="drawdown">{figure["title"]}</h3>' in text
    assert f'<p data-subtitle="drawdown">{figure["subtitle"]}</p>' in text
    place = re.search(r'data-figure="drawdown".*?</div>', text)
    assert place
    assert f'height="{figure["layout"]["height"] / 16}rem"' in place.group(0)
    assert f'aria-label="{figure["title"]}. {figure["subtitle"]}"' in place.group(0)


def test_figure_that_fails_leaves_its_page_alone(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_theme: Any) -> go.Figure:
        raise ValueError("no such column")

    made = gallery([PageFigure("x", "X", fail, pd.DataFrame)], "/x")
    assert made.caption("x").title == "X"
    assert "no such column" in caplog.text


def test_old_address_of_a_file_is_not_kept(desk: Any) -> None:
    answer = desk.service.client.get("/dashboard/static/dashboard.css?v=old")
    assert answer.headers["cache-control"] == "no-cache"
    assert desk.service.client.get("/dashboard/static/../pages.py").status_code == 404
    assert desk.service.client.get("/dashboard/static/pages.py").status_code == 404


class FakeRequest:
    def __init__(self, **query: str) -> None:
        self.query_params = query
        self.headers = {"accept-encoding": "gzip"}


def picture() -> PageFigure:
    def figure(theme: Any) -> go.Figure:
        return go.Figure(
            go.Scatter(x=list(range(2000)), y=[0.1] * 2000, line={"color": theme.agent}),
            {"title": {"text": "Title", "subtitle": {"text": "How to read it"}}},
        )

    return PageFigure("one", "One", figure, lambda: pd.DataFrame({"a": [1 / 3, float("nan")]}))


def test_picture_is_given_in_the_look_asked_for_and_compressed() -> None:
    light, dark = (
        figure_file(FakeRequest(theme=look), [picture()], "one.json") for look in ("light", "dark")
    )  # type: ignore[arg-type]
    assert light.headers["content-encoding"] == "gzip"
    made = [json.loads(gzip.decompress(answer.body)) for answer in (light, dark)]
    assert made[0]["title"] == "Title"
    assert made[0]["data"][0]["line"] != made[1]["data"][0]["line"]


def test_csv_reads_back_to_the_same_bits(tmp_path: Path) -> None:
    answer = figure_file(FakeRequest(), [picture()], "one.csv")  # type: ignore[arg-type]
    (tmp_path / "one.csv").write_bytes(answer.body)
    back = pd.read_csv(tmp_path / "one.csv", float_precision="round_trip")
    assert back["a"][0] == 1 / 3
    assert 'filename="one.csv"' in answer.headers["content-disposition"]


def test_unknown_picture_is_a_problem() -> None:
    with pytest.raises(Problem, match="no figure"):
        figure_file(FakeRequest(), [picture()], "two.json")  # type: ignore[arg-type]


def test_gallery_keeps_the_view_in_its_addresses() -> None:
    made = gallery([picture()], "/here", run=["a", "b"], start=None, scale="")
    assert made.url("one", "csv") == "/here/one.csv?run=a&run=b"
    assert made.starting("on") == ["one"]


def test_page_of_the_docs_works_as_it_stands_there(
    make_service: Any, made_runs: Path, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "how-to" / "dashboards.md").read_text(encoding="utf-8")
    names, body = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len([line for line in body.splitlines() if line]) == 10
    turnover = types.ModuleType("turnover")
    exec(names + body, turnover.__dict__)
    monkeypatch.setattr(pages, "PAGES", (*pages.PAGES, turnover))
    desk = sign_in(make_service())
    shutil.copytree(made_runs, desk.home, dirs_exist_ok=True)
    shown = desk.get("/dashboard/turnover?run=alpha")
    assert 'aria-current="page">Turnover</a>' in shown
    assert desk.figure("/dashboard/turnover/figures/turnover.json?run=alpha")["title"].startswith("Turnover")
    assert desk.get("/dashboard/turnover/figures/turnover.csv?run=alpha").startswith("date,turnover")
    assert "Choose another run" in desk.get("/dashboard/turnover?run=nope", 404)
