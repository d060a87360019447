"""Takes the pictures of dashboards and report: ``python docs/dashboards.py --home equitrade_home`` (needs Chromium).

The home needs the run of ``make demo``. Two smaller runs are trained beside it, so that there is something to
compare; everything is done by the commands and pages that the documentation names.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

DOCS = Path(__file__).resolve().parent
EQUITRADE = str(Path(sys.executable).with_name("equitrade"))
PASSWORD = "a password for pictures"
BESIDE = {"demo-exact": "exact", "demo-dense": "dense"}
# Where a page is looked at: by default as it opens, from its top.
VIEWS = {"run": "?run=demo"}
PLACES = {"run": "#growth"}
WIDTH, HEIGHT = 1280, 960
COLOURS = 128  # as many as pages need; a picture has half the bytes then
QUIET = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def command(home: Path, *arguments: str, text: str | None = None) -> None:
    """Call ``equitrade`` on a home; what fails is shown and ends the script."""
    call = [EQUITRADE, *arguments, "--home", str(home)]
    subprocess.run(call, input=text, text=True, check=True, stdout=subprocess.DEVNULL)


def prepare(home: Path) -> None:
    """Make what pages show and the demo does not: runs beside its own and tests of symmetry; once."""
    if not (home / "runs" / "demo" / "metrics.json").exists():
        sys.exit(f"{home}: has no run 'demo'; `make demo` makes it")
    for name, agent in BESIDE.items():
        if not (home / "runs" / name / "metrics.json").exists():
            shutil.rmtree(home / "runs" / name, ignore_errors=True)
            small = ["--agent", agent, "--seeds", "2", "--steps", "120"]
            command(home, "train", "--data", "sp500-20", "--name", name, *small)
            command(home, "backtest", name)
    if not (home / "symmetry").exists():
        command(home, "symmetry", "--data", "sp500-20", "--save")
    command(home, "report", "demo")
    command(home, "models", "promote", "demo")
    command(home, "users", "create", "me", "--scopes", "run", "--password-stdin", text=PASSWORD + "\n")


@contextlib.contextmanager
def serving(home: Path) -> Iterator[str]:
    """Serve the home on a free port; gives the address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    call = [EQUITRADE, "serve", "--home", str(home), "--port", str(port)]
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=1):
                break
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def log_in(page: Any, url: str) -> None:
    """Log in, ask for an allocation and have a job done, so that no page is empty."""
    page.goto(f"{url}/login")
    page.get_by_label("Name").fill("me")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/dashboard")
    page.get_by_role("button", name="Request an allocation of demo now").click()
    page.wait_for_selector("[data-figure=allocation-demo]")
    page.get_by_text("Enter the holdings of demo").click()
    page.get_by_label("A symbol and a number on each line").fill(_held())
    page.get_by_role("button", name="Request with these holdings").click()
    page.wait_for_selector("h3:has-text('against holdings')")
    page.goto(f"{url}/dashboard/jobs")
    if page.get_by_text("succeeded").count() == 0:
        page.get_by_label("What to backtest").select_option("strategy:momentum")
        page.get_by_label("Prices to backtest on").select_option("sp500-20")
        page.get_by_label("From").fill("2016-01-04")
        page.get_by_label("Costs, bp").fill("5")
        page.get_by_role("button", name="Start backtest").click()
        page.get_by_text("succeeded").wait_for(timeout=180_000)


def _held() -> str:
    """An account to trade from, in percent of it: all assets alike but the last, of which it has none."""
    from data import load_prices

    return "\n".join(f"{symbol} 5" for symbol in load_prices("sp500-20").symbols[:-1])


def take(page: Any, url: str, name: str, path: str, look: str) -> Path:
    """Save one page in one look."""
    page.evaluate("look => localStorage.setItem('equitrade-theme', look)", look)
    page.goto(url + path + VIEWS.get(name, ""))
    place = PLACES.get(name)
    if place:
        page.evaluate("place => document.querySelector(place).scrollIntoView()", place)
    return save(page, f"dashboard-{name}-{look}")


def take_report(page: Any, home: Path) -> Path:
    """Save the top of the report of the demo's run, as a file in a browser shows it."""
    page.set_viewport_size({"width": WIDTH, "height": 1500})
    page.goto(f"{(home / 'runs' / 'demo' / 'report.html').as_uri()}?theme=light")
    return save(page, "report")


def save(page: Any, name: str) -> Path:
    """Save what is in sight once its figures are drawn."""
    page.wait_for_function(
        """() => [...document.querySelectorAll('[data-figure]')].filter((e) => {
            const { top, bottom } = e.getBoundingClientRect();
            return top < innerHeight && bottom > 0;
        }).every((e) => e.dataset.drawn)""",
        timeout=60_000,
    )
    page.wait_for_timeout(500)
    target = DOCS / "pictures" / f"{name}.png"
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    return target


def main() -> None:
    """Take every page in both looks."""
    from playwright.sync_api import sync_playwright

    from service.dashboard.navigation import PAGES

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("equitrade_home"))
    home = parser.parse_args().home.resolve()
    prepare(home)
    with serving(home) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", *QUIET]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        log_in(page, url)
        for look in ("light", "dark"):
            for module in PAGES:
                print(take(page, url, module.TITLE.lower(), module.PATH, look))
        print(take_report(page, home))
        browser.close()


if __name__ == "__main__":
    main()
