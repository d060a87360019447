"""Draws the pictures of the documentation into docs/pictures: ``python docs/draw.py`` (needs Chromium).

The figures are pure functions beside the code that they are about; here they only become SVG files.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

DOCS = Path(__file__).resolve().parent
# File name to the function that makes the figure; one that gives None has no results yet.
FIGURES = {
    "theory_bound": "rl_core.theory_figures:bound_figure",
    "planted_curves": "benchmarks.planted_figures:stored_curves",
    "planted_gains": "benchmarks.planted_figures:stored_gains",
    "planted_strengths": "benchmarks.planted_figures:stored_strengths",
}


def svgs(figures: dict[str, Any]) -> dict[str, str]:
    """Render Plotly figures to SVG text in a headless Chromium."""
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    drawn = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page()
        page.set_content("<html><body></body></html>")
        page.add_script_tag(content=get_plotlyjs())
        for name, figure in figures.items():
            uri = page.evaluate("f => Plotly.toImage(f, {format: 'svg'})", json.loads(figure.to_json()))
            drawn[name] = unquote(uri.split(",", 1)[1])
        browser.close()
    return drawn


def main() -> None:
    """Draw every figure that has its results."""
    sys.path.insert(0, str(DOCS.parent))
    figures = {}
    for name, place in FIGURES.items():
        module, function = place.split(":")
        figure = getattr(importlib.import_module(module), function)()
        if figure is not None:
            figures[name] = figure
    for name, text in svgs(figures).items():
        (DOCS / "pictures" / f"{name}.svg").write_text(text, encoding="utf-8")
        print(DOCS / "pictures" / f"{name}.svg")


if __name__ == "__main__":
    main()
