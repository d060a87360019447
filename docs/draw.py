"""Draws the pictures of the documentation into docs/pictures: ``python docs/draw.py`` (needs Chromium).

The figures are pure functions beside the code that they are about; here they only become SVG files.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
# File name to the function that makes the figure; one that gives None has no results yet.
FIGURES = {
    "theory_bound": "docs.theory_figures:bound_figure",
    "planted_curves": "benchmarks.learning.planted.figures:stored_curves",
    "planted_gains": "benchmarks.learning.planted.figures:stored_relaxed_weights",
    "planted_strengths": "benchmarks.learning.planted.figures:stored_strengths",
    "study_differences": "benchmarks.study_page:stored_differences",
    "study_learning": "benchmarks.study_page:stored_learning",
}


def main() -> None:
    """Draw every figure that has its results."""
    sys.path.insert(0, str(DOCS.parent))
    from control_benchmarks.analysis.render import draw_figures

    figures = {}
    for name, place in FIGURES.items():
        module, function = place.split(":")
        figure = getattr(importlib.import_module(module), function)()
        if figure is not None:
            figures[name] = figure
    for name, picture in zip(
        figures, draw_figures(figure.to_json() for figure in figures.values()), strict=True
    ):
        (DOCS / "pictures" / f"{name}.svg").write_bytes(picture)
        print(DOCS / "pictures" / f"{name}.svg")


if __name__ == "__main__":
    main()
