"""The dashboards in a real browser: what a person does, with no error, no foreign request and no nameless control.

Screenshots of every page are left in ``test-artefacts/dashboard``, which git ignores.
"""

from __future__ import annotations

import csv
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.dashboard import navigation as pages

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]"
)
CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install Debian's package chromium"),
]

ARTEFACTS = Path(__file__).resolve().parents[3] / "test-artefacts" / "dashboard"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]
PAGES = {module.TITLE.lower(): module.PATH for module in pages.PAGES}
SEEN = """() => [...document.querySelectorAll('[data-figure]')]
    .filter((e) => e.getBoundingClientRect().top < innerHeight).every((e) => e.dataset.drawn)"""
NAMELESS = """() => [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
    .filter((e) => e.type !== 'hidden' && e.checkVisibility())
    .filter((e) => !e.getAttribute('aria-label') && !e.textContent.trim())
    .filter((e) => ![...(e.labels ?? [])].some((label) => label.textContent.trim()))
    .map((e) => e.outerHTML.slice(0, 200))"""


@dataclass
class Tab:
    """A page of the browser, with what went wrong in it."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Open a page and wait until all figures in sight are drawn."""
        self.page.goto(self.url + path)
        self.settle()

    def settle(self) -> None:
        self.page.wait_for_function(SEEN, timeout=30_000)
        failed = self.page.eval_on_selector_all("[data-drawn=failed]", "all => all.map((e) => e.textContent)")
        assert failed == []

    def show_all(self) -> None:
        """Bring every figure into sight once, so that it is drawn."""
        for figure in self.page.query_selector_all("[data-figure]"):
            figure.scroll_into_view_if_needed()
            self.settle()
        self.page.evaluate("scrollTo(0, 0)")

    def picture(self, name: str, whole: bool = True) -> None:
        ARTEFACTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png", full_page=whole)

    def query(self) -> str:
        return str(self.page.evaluate("location.search"))


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """One page for all tests: a browser that has read plotly.js once is fast."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser.new_context(accept_downloads=True).new_page()
        browser.close()


@pytest.fixture(scope="module")
def port() -> int:
    """The same for all tests, so that the browser keeps what it has read."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def served(desk: Any, port: int) -> Iterator[Any]:
    """The service of `desk` on a port."""
    import uvicorn

    # The test client has begun the application already.
    config = uvicorn.Config(
        desk.service.client.app, port=port, lifespan="off", log_level="error", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    desk.url = f"http://127.0.0.1:{port}"
    yield desk
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def tab(page: Any, served: Any) -> Iterator[Tab]:
    """A browser in which somebody has logged in; what went wrong in it fails the test."""
    made = Tab(page, served.url)

    def on_console(message: Any) -> None:
        if message.type == "error":
            made.errors.append(message.text)

    def on_request(request: Any) -> None:
        if not request.url.startswith((made.url, "data:", "blob:")):
            made.foreign.append(request.url)

    listeners = {
        "console": on_console,
        "pageerror": lambda e: made.errors.append(str(e)),
        "request": on_request,
    }
    page.context.clear_cookies()
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(made.url + "/login?next=/dashboard/nowhere")
    page.evaluate("localStorage.clear()")
    for event, listener in listeners.items():
        page.on(event, listener)
    page.goto(made.url + "/dashboard")
    page.get_by_label("Name").fill("ann")
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/dashboard")
    yield made
    page.unroute_all()
    for event, listener in listeners.items():
        page.remove_listener(event, listener)
    assert made.errors == []
    assert made.foreign == []


@pytest.mark.parametrize("name", PAGES)
def test_page_is_whole_in_both_looks_and_every_width(tab: Tab, served: Any, name: str) -> None:
    served.post("/dashboard/ask", model="toy")
    page, path = tab.page, PAGES[name]
    tab.open(path)
    assert page.locator(f'nav [aria-current="page"][href="{path}"]').count() == 1
    assert page.evaluate(NAMELESS) == []
    tab.show_all()
    tab.picture(f"{name}-light")
    page.evaluate("localStorage.setItem('equitrade-theme', 'dark')")
    tab.open(path)
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert set(page.eval_on_selector_all("[data-drawn]", "all => all.map((e) => e.dataset.drawn)")) <= {
        "dark"
    }
    tab.picture(f"{name}-dark", whole=False)
    for width, height in ((360, 740), (3840, 2160)):
        page.set_viewport_size({"width": width, "height": height})
        tab.open(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        size = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
        assert size >= (16 if width < 1000 else 24)
        tab.picture(f"{name}-{width}", whole=False)


def test_first_view_is_small(page: Any, served: Any) -> None:
    """With all that the login has fetched for it: plotly.js."""
    sent = """() => performance.getEntriesByType('resource').reduce((sum, e) => sum + e.transferSize,
        performance.getEntriesByType('navigation')[0].transferSize)"""
    fresh = page.context.browser.new_context()
    tab = Tab(fresh.new_page(), served.url)
    tab.page.goto(f"{tab.url}/login", wait_until="networkidle")
    login = tab.page.evaluate(sent)
    fresh.add_cookies(
        [{"name": "equitrade", "value": served.service.client.cookies["equitrade"], "url": tab.url}]
    )
    for path in PAGES.values():
        tab.open(path)
        assert login + tab.page.evaluate(sent) < 5_000_000, path
    fresh.close()


def test_run_range_and_scale_are_kept_in_the_address(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/run")
    page.get_by_label("Run", exact=True).select_option("beta")
    page.wait_for_url("**run=beta**")
    assert "strategy" not in tab.query()
    tab.settle()
    assert page.evaluate("document.activeElement.name") == "run"
    page.get_by_label("From", exact=True).fill("2019-06-03")
    page.wait_for_url("**from=2019-06-03**")
    tab.settle()
    page.get_by_role("button", name="Log axis").click()
    assert "scale=linear" in tab.query()
    drawn = "document.querySelector('[data-figure=equity]')"
    assert page.evaluate(f"{drawn}.layout.yaxis.type") == "linear"
    page.wait_for_function(
        "document.querySelector('[data-subtitle=equity]').textContent.includes('linear axis')"
    )
    page.evaluate(f"Plotly.relayout({drawn}, {{'xaxis.range': ['2019-09-02', '2019-12-02']}})")
    page.wait_for_function("() => location.search.includes('zoom=2019-09-02_2019-12-02')")
    page.wait_for_function(f"() => {drawn}.data[0].x[1] === '2019-09-02'")  # fetched in detail
    page.reload()
    tab.settle()
    assert page.get_by_label("Run", exact=True).input_value() == "beta"
    assert page.evaluate(f"{drawn}.layout.yaxis.type") == "linear"
    assert page.evaluate(f"{drawn}.layout.xaxis.range[0]").startswith("2019-09-02")
    page.get_by_role("link", name="1 y").click()
    page.wait_for_url("**from=2019-08-11**")
    assert "run=beta" in tab.query()


def test_date_is_typed(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/run?run=alpha")
    page.get_by_label("From", exact=True).focus()
    page.keyboard.type("06032019", delay=20)
    assert "from=" not in tab.query()
    page.keyboard.press("Tab")  # to the calendar's button
    page.keyboard.press("Tab")
    page.wait_for_url("**from=2019-06-03**")
    tab.settle()
    assert page.get_by_label("From", exact=True).input_value() == "2019-06-03"
    page.get_by_label("To", exact=True).focus()
    page.keyboard.type("03032020", delay=20)
    page.keyboard.press("Enter")
    page.wait_for_url("**from=2019-06-03&to=2020-03-03**")
    assert "03 Jun 2019 to 03 Mar 2020" in page.locator("main").inner_text()


def test_back_shows_the_choices_of_the_page_before(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/run?run=alpha")
    page.get_by_label("Run", exact=True).select_option("beta")
    page.wait_for_url("**run=beta**")
    tab.settle()
    page.go_back()
    page.wait_for_url("**run=alpha**")
    tab.settle()
    assert page.locator("h1").inner_text() == "alpha"
    assert page.get_by_label("Run", exact=True).input_value() == "alpha"
    assert page.get_by_label("Strategy", exact=True).is_enabled()


def test_page_is_printed_whole(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/run?run=alpha")
    page.evaluate(
        "() => { window.print = () => { dispatchEvent(new Event('beforeprint')); window.printed = true; }; }"
    )
    page.get_by_role("button", name="Print").click()
    page.wait_for_function("() => window.printed")
    page.emulate_media(media="print")
    empty = (
        "() => [...document.querySelectorAll('[data-figure]')].filter((e) => !e.querySelector('.main-svg'))"
    )
    assert page.evaluate(f"({empty})().map((e) => e.dataset.figure)") == []
    clipped = """() => [...document.querySelectorAll('.scroll')].filter((e) => e.checkVisibility()
        && e.scrollHeight > e.clientHeight + 1 && getComputedStyle(e).overflowY !== 'visible').length"""
    assert page.evaluate(clipped) == 0
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    tab.settle()


def test_backtest_of_a_job_is_stored_with_its_run(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/jobs?run=fresh")
    page.get_by_label("Store the result").check()
    page.get_by_label("Costs, bp").fill("5")
    page.get_by_role("button", name="Start backtest").click()
    assert "can be stored with it" in page.get_by_role("alert").inner_text()
    assert page.get_by_label("Store the result").is_checked()
    tab.errors.clear()  # the form is answered with 422
    page.get_by_label("Costs, bp").fill("")
    page.get_by_role("button", name="Start backtest").click()
    page.wait_for_url("**/dashboard/jobs/*")
    assert page.get_by_text("Stored with the run").count() == 1


def test_look_is_switched_kept_and_drawn(tab: Tab) -> None:
    page = tab.page
    page.emulate_media(color_scheme="light")
    tab.open("/dashboard/run")
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.get_by_role("button", name="Switch to dark mode").click()
    page.wait_for_selector("[data-figure=equity][data-drawn=dark]")
    paper = page.evaluate("document.querySelector('[data-figure=equity]')._fullLayout.paper_bgcolor")
    assert paper == "#171a1f"
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_figure_is_saved_as_data_and_picture(tab: Tab, tmp_path: Path) -> None:
    page = tab.page
    tab.open("/dashboard/run?run=alpha")
    with page.expect_download() as waiting:
        page.locator("#figure-equity").get_by_role("link", name="CSV").click()
    waiting.value.save_as(tmp_path / "equity.csv")
    with (tmp_path / "equity.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (len(rows), rows[0]["agent"]) == (420, "1.0")
    with page.expect_download() as waiting:
        page.locator("#figure-equity").get_by_role("button", name="PNG").click()
    waiting.value.save_as(tmp_path / "equity.png")
    content = (tmp_path / "equity.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) > 20_000


def test_job_is_started_watched_and_opened(tab: Tab, served: Any, working: Callable[[Any], None]) -> None:
    page = tab.page
    tab.open("/dashboard/jobs")
    page.get_by_label("What").select_option("strategy:equal-weight")
    page.get_by_label("Prices").first.select_option("toy")
    page.get_by_label("From", exact=True).fill("2024-02-01")
    page.get_by_label("Costs, bp of value traded").fill("5")
    page.get_by_role("button", name="Start backtest").click()
    page.wait_for_url("**/dashboard/jobs/*")
    assert page.get_by_text("queued").count() == 1
    working(served.service)
    page.get_by_text("succeeded").wait_for(timeout=30_000)
    page.wait_for_selector("[data-figure=equity]")
    assert "2024-02-01" in page.locator(".facts").first.inner_text()
    tab.show_all()
    tab.picture("job-light")
    tab.open("/dashboard/jobs")
    page.get_by_role("link", name="Backtest of equal-weight").first.click()
    page.wait_for_url("**/dashboard/jobs/*")


def test_runs_are_chosen_for_comparison(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/compare")
    page.get_by_label("alpha").uncheck()
    page.wait_for_url("**run=beta**")
    tab.settle()
    names = page.evaluate("document.querySelector('[data-figure=curves]').data.map((trace) => trace.name)")
    assert names == ["Equal weight", "beta"]
    page.get_by_label("Measure in the figure").select_option("turnover")
    page.wait_for_url("**measure=turnover**")
    tab.settle()
    assert "Annual turnover" in page.locator("#figure-measure h3").inner_text()


def test_keyboard_reaches_the_content(tab: Tab) -> None:
    page = tab.page
    tab.open("/dashboard/run")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert page.evaluate("document.activeElement.tagName") in {"SELECT", "INPUT", "A", "BUTTON"}
    assert ring != "none"


def test_figure_that_fails_says_so(tab: Tab, served: Any) -> None:
    page = tab.page
    page.route("**/figures/drawdown.json*", lambda route: route.fulfill(status=500, body="no such luck"))
    page.goto(f"{tab.url}/dashboard/run?run=alpha")
    page.locator("#figure-drawdown").scroll_into_view_if_needed()
    page.wait_for_selector("[data-figure=drawdown][data-drawn=failed]")
    assert "no such luck" in page.locator("#figure-drawdown").inner_text()
    assert all("500" in error for error in tab.errors)
    tab.errors.clear()
