"""Plotly figures as SVG or PNG files, drawn by Chromium through Playwright.

Playwright and not Kaleido: it is installed for the browser tests already, and it starts Debian's Chromium as any user,
root included, where Kaleido 1 does not.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from equitrade.atomic import atomic_write

FIGURE_SUFFIX = ".plotly.json"
WIDTH, SCALE = 1180, 1.5
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_DRAW = """
([figure, options, seconds]) => Promise.race([
  Plotly.toImage(JSON.parse(figure), options),
  new Promise((_, reject) => setTimeout(() => reject(Error(`not drawn after ${seconds} s`)), 1000 * seconds)),
])
"""


def draw_figures(
    figures: Iterable[str], form: str = "svg", *, seconds: float = 60.0, **options: float
) -> Iterator[bytes]:
    """Yield the image of each figure (JSON text), drawn as ``"svg"`` or ``"png"`` in a headless browser.

    A figure may take so many seconds. `options` are ``width`` and ``height`` in pixels and ``scale``, by default those
    of the figure and 1.

    Raises `ImportError` if Playwright is not installed; `playwright.sync_api.Error` if there is no browser, it does not
    start, or a figure cannot be drawn.
    """
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    browser_path = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path)
        page = browser.new_page()
        page.set_content("<html><body></body></html>")
        page.add_script_tag(content=get_plotlyjs())
        for figure in figures:
            uri = page.evaluate(_DRAW, [figure, {"format": form, **options}, seconds])
            head, _, body = uri.partition(",")
            yield base64.b64decode(body) if head.endswith("base64") else unquote_to_bytes(body)
        browser.close()


def write_pngs(directory: Path, names: Sequence[str], *, seconds: float = 60.0) -> str | None:
    """Draw each ``NAME.plotly.json`` of a folder as ``NAME.png``, within so many seconds each.

    Returns a line that names the missing files, the reason and the remedy; None if all are drawn.
    """
    for name in names:  # the old file may show other results
        (directory / f"{name}.png").unlink(missing_ok=True)
    figures = ((directory / f"{name}{FIGURE_SUFFIX}").read_text(encoding="utf-8") for name in names)
    try:
        pictures = draw_figures(figures, "png", seconds=seconds, width=WIDTH, scale=SCALE)
        for name, picture in zip(names, pictures, strict=True):
            atomic_write(directory / f"{name}.png", picture)
    except Exception as error:  # Playwright is optional, so its errors cannot be named here
        missing = [f"{name}.png" for name in names if not (directory / f"{name}.png").exists()]
        return (
            f"{len(missing)} of {len(names)} PNG files are missing ({_reason(error)}); install Playwright (`pip "
            f"install playwright`) and Chromium (Debian: `apt install chromium`). Missing: {', '.join(missing)}"
        )
    return None


def _reason(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
