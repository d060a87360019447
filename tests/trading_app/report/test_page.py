"""The page: self-contained, complete, honest, and readable where a run lacks something."""

from __future__ import annotations

import html
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data import Prices
from trading_app import CostModel, backtest
from trading_app.backtesting.baselines import BASELINES, NEED_SIGNALS, usable_baselines
from trading_app.evaluation.labels import ACTIVE_MEASURES
from trading_app.files import RunError
from trading_app.report import ReportData, load_report_data, render_report, write_report
from trading_app.report.facts import sampling
from trading_app.report.page import PLOTLY, SECTIONS, report_figures, static, training_metrics
from trading_app.report.tables import (
    comparisons_table,
    evidence_table,
    headlines,
    measures_table,
    seeds_table,
)
from trading_app.report.theme import LIGHT
from trading_app.report.verdict import verdict
from trading_app.runs.backtests import save_backtest
from trading_app.runs.run import Run, create_run

STUB = "/* plotly */"


def make_run(home: Path, *, seeds: int = 3, baselines: bool = True, cash: bool = False) -> Run:
    generator = np.random.default_rng(0)
    dates = pd.bdate_range("2017-01-02", periods=700)
    symbols = ["AAA", "BB", "C<b>"]
    steps = generator.normal(0.0004, 0.01, (700, 3))
    close = pd.DataFrame(100 * np.exp(steps.cumsum(axis=0)), dates, symbols)
    prices = Prices.from_frames("made", close=close, notes=("Survivor-biased: <chosen> with hindsight.",))
    start = dates[300]
    targets = {
        f"seed-{k}": pd.DataFrame(
            generator.dirichlet(np.ones(4), 400)[:, :3] * (not cash), dates[300:], symbols
        )
        for k in range(max(seeds, 1))
    }
    strategies = {"agent": sum(targets.values()) / len(targets), **(targets if seeds else {})}
    if baselines:
        strategies |= {name: rule(prices, start) for name, rule in usable_baselines(prices).items()}
    manifest = {
        "agent": "relaxed",
        "seeds": list(range(seeds)),
        "data": {"name": "made", "hash": prices.hash, "symbols": symbols, "notes": list(prices.notes)},
        "split": {"train": ["2017-01-02", "2017-12-29"], "validation": ["2018-01-02", "2018-02-20"]},
    }
    run = create_run(manifest, "[sac]\nagent = 'relaxed'\n", home=home, name="made-run")
    lines = [
        {"step": step, "seed": seed, "updates": step, "critic_loss": 1 / (1 + step), "alpha": 0.1}
        | ({"eval_sharpe": step / 100} if step % 50 == 0 else {})
        for step in range(0, 200, 10)
        for seed in range(seeds)
    ]
    (run.path / "progress.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    results = backtest(prices, strategies, start=start, costs=CostModel(commission_bps=3.0))
    save_backtest(run.finish(3.0), results, data_hash=prices.hash, reps=60)
    return run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    return load_report_data(make_run(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render_report(data, plotly_js=STUB)


class Outline(HTMLParser):
    """Ids, headings, addresses and text of a page, and its elements that lack what they need."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.levels: list[int] = []
        self.addresses: list[str] = []
        self.figures: list[str] = []
        self.unlabelled: list[str] = []
        self.text = ""
        self.skipping = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        if have.get("id"):
            self.ids.append(str(have["id"]))
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        self.addresses += [
            str(have[key]) for key in ("src", "href", "action", "data", "poster") if have.get(key)
        ]
        if "data-figure" in have:
            self.figures.append(str(have["data-figure"]))
            if not have.get("aria-label") or have.get("role") != "img":
                self.unlabelled.append(tag)
        if tag == "th" and "scope" not in have:
            self.unlabelled.append(tag)
        self.skipping = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self.skipping = False

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.text += data


def test_page_asks_nobody_for_anything(page: str) -> None:
    outline = Outline(page)
    assert all(address.startswith("#") for address in outline.addresses)
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\(", page)
    assert "default-src 'none'" in page


def test_plotly_is_inlined_once(data: ReportData) -> None:
    page = render_report(data)
    assert page.count(static(PLOTLY)) == 1
    assert len(page.encode()) < 3_000_000


def test_every_section_and_figure_is_there(page: str, data: ReportData) -> None:
    outline = Outline(page)
    assert {section.anchor for section in SECTIONS} | {"method", "manifest"} <= set(outline.ids)
    assert outline.figures == list(report_figures(data, LIGHT))
    assert len(outline.figures) >= 15
    assert len(outline.ids) == len(set(outline.ids))
    embedded = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.S)
    assert embedded is not None
    assert list(json.loads(embedded[1])["figures"]) == outline.figures
    for address in outline.addresses:
        assert address[1:] in outline.ids


def test_page_is_accessible(page: str) -> None:
    outline = Outline(page)
    assert outline.unlabelled == []
    assert outline.levels[0] == 1
    assert outline.levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(outline.levels, outline.levels[1:], strict=False))
    assert '<html lang="en"' in page
    assert "prefers-reduced-motion" in page
    assert 'name="viewport"' in page


def test_page_says_what_a_reader_must_know(page: str, data: ReportData) -> None:
    text = re.sub(r"[ \n]+", " ", Outline(page).text)
    assert "Survivor-biased: <chosen> with hindsight." in text  # as text, not as an element
    assert verdict(data.document).sentence in text
    assert "Out of sample: 2018-02-26 to" in text
    assert "dates up to 2018-02-20 only" in text
    assert "Commission 3.0\u202fbp and half-spread 2.0\u202fbp" in text
    assert "the next session's close" in text
    assert str(data.document["data"]["hash"]) in text
    for name in ("Equal weight", "Momentum", "Seed 0", "Interquartile mean", "SPA p-value"):
        assert name in text
    assert "C<b>" in text
    assert "<b>" not in page.split("<main>")[1].split("<script>")[0].replace("C&lt;b&gt;", "")


def test_in_sample_dates_are_called_so(data: ReportData) -> None:
    manifest = {**data.manifest, "split": {"train": ["2017-01-02", "2019-06-03"]}}
    clean, sentence = sampling(replace(data, manifest=manifest))
    assert not clean
    assert sentence.startswith("Not out of sample")
    assert sampling(replace(data, manifest={})) == (True, "Backtested from 2018-02-26 to 2019-09-06.")


def test_writing_is_to_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, seeds=1)
    assert write_report(run) == run.path / "report.html"
    assert run.report.read_text().startswith("<!doctype html>")
    (run.path / "metrics.json").unlink()
    with pytest.raises(RunError, match="no backtest yet"):
        load_report_data(run)


@pytest.mark.parametrize(
    "options", [{"seeds": 0}, {"seeds": 1, "baselines": False}, {"seeds": 2, "cash": True}], ids=str
)
def test_runs_that_lack_something_still_have_a_page(options: dict[str, Any], tmp_path: Path) -> None:
    page = render_report(load_report_data(make_run(tmp_path, **options)), plotly_js=STUB)
    outline = Outline(page)
    assert "NaN" not in outline.text
    assert "None" not in outline.text
    assert "nan" not in outline.text.replace("finan", "")
    if options.get("seeds") == 0:
        assert "No seeds were backtested by themselves." in outline.text
        assert "No training was recorded for this run." in outline.text
    if options.get("baselines") is False:
        assert "sharpe-differences" not in outline.figures
        assert "There is no agent and baseline to compare" in outline.text
    if options.get("cash"):
        assert "a series without variation has none" in outline.text


def test_training_metrics_are_the_ones_that_matter(data: ReportData) -> None:
    assert training_metrics(data.progress) == ["eval_sharpe", "critic_loss", "alpha"]


def test_tables_hold_every_strategy_and_measure(data: ReportData) -> None:
    measures = measures_table(data.document)
    assert measures.columns[:2] == ("Agent", "Equal weight")
    assert len(measures.columns) == 1 + len(BASELINES) - len(NEED_SIGNALS)
    rows = dict(measures.rows)
    sharpe = data.document["strategies"]["agent"]["metrics"]["sharpe"]
    assert rows["Sharpe ratio"][0].text == f"{sharpe:.2f}".replace("-", "\u2212")
    assert " to " in rows["Sharpe ratio"][0].note
    assert rows["Annual turnover"][0].note == ""
    seeds = seeds_table(data.document)
    assert seeds is not None
    assert [head for head, _ in seeds.rows] == ["Seed 0", "Seed 1", "Seed 2"]
    assert comparisons_table(data.document).rows[0][0] == "Equal weight"
    cards = headlines(data.document, "agent", "equal-weight")
    assert [card.label for card in cards][:2] == ["Annual growth", "Sharpe ratio"]
    assert cards[0].reference.startswith("Equal weight ")


@pytest.mark.browser
def test_page_works_in_a_browser(data: ReportData, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    path = tmp_path / "report.html"
    path.write_text(render_report(data))
    problems: list[str] = []
    asked: list[str] = []
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport={"width": 360, "height": 800}, accept_downloads=True)
        tab.on("console", lambda m: problems.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(f"{path.as_uri()}?theme=dark")
        for name in list(report_figures(data, LIGHT))[::3]:
            place = tab.locator(f'[data-figure="{name}"]')
            place.scroll_into_view_if_needed()
            place.locator(".main-svg").first.wait_for()
            assert place.bounding_box()["width"] <= 360
        assert tab.evaluate("document.documentElement.scrollWidth") == 360
        assert tab.evaluate("document.documentElement.dataset.theme") == "dark"
        tab.locator("#theme").click()
        assert tab.evaluate("document.documentElement.dataset.theme") == "light"
        tab.set_viewport_size({"width": 1400, "height": 900})
        axis = tab.locator("[data-axis=equity]")
        axis.click()
        assert axis.inner_text() == "Linear axis"
        tab.wait_for_function(
            "document.querySelector('[data-subtitle=equity]').textContent.includes('linear axis')"
        )
        with tab.expect_download() as download:
            tab.locator("[data-csv=equity]").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0] == "series,x,y,value"
        assert any(line.startswith("Agent,2018-02-26,1,") for line in lines)
        with tab.expect_download() as download:
            tab.locator("[data-png=monthly]").click()
        assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")
        browser.close()
    assert problems == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)


def test_evidence_above_the_reference_is_shown_in_words(data: ReportData, page: str) -> None:
    table = evidence_table(data.document)
    assert table is not None
    heads = [head for head, _ in table.rows]
    assert heads[:3] == ["Return above the reference, a year", "Alpha, a year", "Beta"]
    assert {"In rising months", "In calm sessions", "Capacity", "Distance from the reference"} <= set(heads)
    symbol = data.document["above_reference"]["drop_one"]["symbol"]
    assert f"Without {symbol}" in heads
    assert all(len(cells) == 2 and cells[1].text for _, cells in table.rows)
    shown = dict(table.rows)
    assert shown["Alpha, a year"][0].note.endswith("\u202f%")
    assert shown["Capacity"][1].text == "not measured: the prices have no volume"
    assert html.escape("half the sum of the differences of the weights held") in page


def test_evidence_of_seeds_and_sizes_of_the_account() -> None:
    estimate = {"value": 0.02, "error": 0.01, "low": 0.0, "high": 0.04, "unit": "fraction a year"}
    points = [
        {"capital": 1e6 * 10**k, "net_return": 0.1, "active_return": estimate | {"value": 0.02 - 0.015 * k}}
        for k in range(3)
    ]
    document = {
        "reference": "equal-weight", "trials": 12, "level": 0.9,
        "departure": {
            "active_share": 0.031, "seed_active_shares": [0.05, 0.06],
            "shared": {"value": 0.123, "low": 0.05, "high": 0.2},
        },
        "above_reference": {
            "estimates": dict.fromkeys(ACTIVE_MEASURES, estimate), "deflated_sharpe": 0.4, "active_share": 0.03,
            "regimes": {}, "drop_one": {"symbol": "A", "without": estimate},
            "capacity": {"reason": None, "points": points, "limit": 3_456_789.0},
        },
    }  # fmt: skip
    table = evidence_table(document)
    assert table is not None
    rows = dict(table.rows)
    assert rows["Shared by the seeds"][0].text == "12\u202f%"
    assert rows["Capacity"][0].text == "3\u202f460\u202f000"
    assert rows["With 10\u202f000\u202f000"][0].text == "0.50\u202f%"
    assert "luck gives 12 settings" in rows["Deflated Sharpe ratio"][1].text
    assert "90\u202f%" in table.caption
    assert evidence_table({"above_reference": {"sharpe": 1.0}}) is None  # of an earlier version
