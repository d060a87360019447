"""Seconds until a dashboard page is visible and until its figures are drawn, in a browser with an empty cache."""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmarks.harness import finish
from benchmarks.speed.service import serving
from equitrade.console import JsonOption

if TYPE_CHECKING:
    from service.state import State

app = typer.Typer(help=__doc__)

DATA = "sp500-20"
RUNS = 10
TARGETS = {"visible_seconds": 1.5, "drawn_seconds": 3.0, "bytes": 5_000_000}
NAME, PASSWORD = "reader", "a long enough password"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
]

# Records the first frame with the page's text and the size of each figure, and the last `plotly_afterplot` of the
# figures on the screen. Plotly puts `on` on an element before it draws, so the listener is in time for the first event.
WATCH = """
(() => {
  const seen = window.__seen = {};
  const listening = new Set(), plotted = new Set();
  const look = () => {
    const main = document.getElementById("main");
    if (main && document.readyState !== "loading") {
      if (!seen.visible) requestAnimationFrame(() => { seen.visible ??= performance.now(); });
      const onScreen = [...document.querySelectorAll("[data-figure]")]
        .filter((e) => e.getBoundingClientRect().top < innerHeight);
      for (const e of onScreen) {
        const plot = e.on ? e : e.querySelector(".js-plotly-plot");
        if (!plot || listening.has(e)) continue;
        listening.add(e);
        plot.on("plotly_afterplot", () => { plotted.add(e); seen.last = performance.now(); });
        if (e.dataset.drawn) { plotted.add(e); seen.last = performance.now(); }
      }
      if (onScreen.every((e) => plotted.has(e))) { seen.drawn = seen.last ?? performance.now(); return; }
    }
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})();
"""
FIRST_BYTE = "() => performance.getEntriesByType('navigation')[0].responseStart"


@app.command()
def dashboards(
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Browsers a page.")] = 5,
    home: Annotated[
        Path | None,
        typer.Option("--home", help="A home with runs; where it has none, ten are made and stay there."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Open each page in a new browser; store when it is visible, when plotly.js has drawn its figures, and its size."""
    chromium = find_chromium()
    if chromium is None:
        typer.echo("no Chromium or no playwright: install Debian's package chromium, and `.[dev]`", err=True)
        raise typer.Exit(2)
    payload = measure(chromium, repeats, home)
    lines = [
        f"{name:10} first view {row['visible_seconds']:5.2f} s, drawn {row['drawn_seconds']:5.2f} s, "
        f"{row['bytes'] / 1e6:.2f} MB"
        for name, row in payload["pages"].items()
    ]
    reach = f"reach: first view <= {TARGETS['visible_seconds']} s, drawn <= {TARGETS['drawn_seconds']} s, "
    finish("dashboards", payload, [*lines, f"{reach}<= {TARGETS['bytes'] / 1e6:.0f} MB"], as_json=as_json)


def find_chromium() -> str | None:
    """Return the path of Chromium, or None if it or Playwright is not installed."""
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return None
    return next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)


def measure(chromium: str, repeats: int, home: Path | None = None) -> dict[str, Any]:
    """Open every page in turn, each in a newly started browser; the service is restarted each round."""
    from service.dashboard.navigation import PAGES

    pages = {module.TITLE: module.PATH for module in PAGES}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
    with _home(home) as folder:
        runs = len(list((folder / "runs").iterdir()))
        for _ in range(repeats):
            with serving(folder) as port:
                url = f"http://127.0.0.1:{port}"
                cookies = _log_in(chromium, url)
                for name, path in pages.items():
                    found[name].append(_open(chromium, cookies, url + path))
    keys = ("first_byte_seconds", "visible_seconds", "drawn_seconds", "bytes")
    rows = {
        name: {key: statistics.median(row[key] for row in rows) for key in keys}
        | {"slowest_visible_seconds": max(row["visible_seconds"] for row in rows)}
        for name, rows in found.items()
    }
    return {
        "what": "each page opened in a new browser with an empty cache; browser and service share the cores",
        "runs": runs,
        "repeats": repeats,
        "pages": rows,
        "targets": TARGETS,
    }


def _open(chromium: str, cookies: list[Any], url: str) -> dict[str, float]:
    with _browser(chromium) as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies(cookies)
        context.add_init_script(WATCH)
        page = context.new_page()
        received: list[float] = []
        network = context.new_cdp_session(page)
        network.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
        network.send("Network.enable")
        page.goto(url, wait_until="commit")
        page.wait_for_function("() => window.__seen.visible && window.__seen.drawn", timeout=60_000)
        page.wait_for_load_state("networkidle")  # with what the page reads before anybody scrolls
        seen, first = (page.evaluate(script) for script in ("window.__seen", FIRST_BYTE))
    return {
        "first_byte_seconds": first / 1e3,
        "visible_seconds": seen["visible"] / 1e3,
        "drawn_seconds": max(seen["visible"], seen["drawn"]) / 1e3,
        "bytes": sum(received),
    }


def _log_in(chromium: str, url: str) -> list[Any]:
    with _browser(chromium) as browser:
        context = browser.new_context()
        page = context.new_page()
        page.route("**/*.js*", lambda route: route.abort())
        page.goto(f"{url}/login")
        page.fill("#name", NAME)
        page.fill("#password", PASSWORD)
        page.click("main button[type=submit]", no_wait_after=True)
        page.wait_for_url("**/dashboard", wait_until="commit")
        return list(context.cookies())


@contextmanager
def _browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def _home(given: Path | None) -> Iterator[Path]:
    """A copy of a home, which gets its runs first where it has none; somebody can log in, and a model is served."""
    from service.core.settings import load_settings
    from service.state import State

    with tempfile.TemporaryDirectory(prefix="equitrade-bench-") as folder:
        home, source = Path(folder) / "home", given or Path(folder) / "made"
        if not (source / "runs").exists():
            make_home(source)
        shutil.copytree(source, home, ignore=shutil.ignore_patterns("service.db*", "models"))
        state = State(load_settings(home=home))
        state.database.migrate()
        state.users.create(NAME, PASSWORD, ("read",))
        state.registry.promote(state.runs()[0].path, "demo")
        for day in (-2, -1):  # so that the first page has something to compare
            _ask(state, day)
        state.close()
        yield home


def _ask(state: State, day: int) -> None:
    from service.schemas.decisions import AllocationRequest

    session = state.snapshots.get(state.registry.current("demo").evidence.data).dates[day]
    asked = {"model": "demo", "as_of": str(session.date())}
    state.decisions.decide(AllocationRequest.model_validate(asked), key_id="bench", request_id="bench")


def make_home(home: Path) -> None:
    """Train, backtest and report the runs of a home, and test the market's symmetries.

    Hardly trained: what a page does with a run does not depend on its skill. The newest, which pages open with, is of
    the demo's size, five seeds of a relaxed agent; those before it have one seed each, of each kind of agent in turn.
    All are backtested on the demo's test dates beside its baselines.
    """
    from data import load_prices
    from rl_core.agents import kind_names
    from trading_app.evaluation.market_tests import market_document, save_tests

    agents = kind_names()
    for number in range(RUNS - 1):
        agent = agents[number % len(agents)]
        _make_run(
            home, f"run-{number}", {"sac.agent": agent, "training.seeds": 1, "training.first_seed": number}
        )
    _make_run(home, f"run-{RUNS - 1}", {"training.steps": 20, "training.evaluate_every": 10})
    save_tests(home, market_document(load_prices(DATA), permutations=19))


def _make_run(home: Path, name: str, settings: dict[str, Any]) -> None:
    from trading_app.experiments.config import load_config
    from trading_app.experiments.out_of_sample import backtest_run
    from trading_app.experiments.training import train_run
    from trading_app.report import write_report

    small = {"data.name": DATA, "training.steps": 4, "training.evaluate_every": 2, "training.log_every": 1}
    run, _ = train_run(load_config(None, {}, {**small, **settings}), home=home, name=name)
    backtest_run(run, home=home)
    write_report(run)
