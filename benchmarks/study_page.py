"""The documentation page of the study, which ``python -m benchmarks.study_page`` writes from its stored results.

The results are ``design.json`` and ``units/`` of a study's folder (`equitrade study`), without its runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from equitrade.atomic import atomic_write
from trading_app.study.document import load_study, study_document
from trading_app.study.page import study_page

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ROOT = Path(__file__).resolve().parent
RESULTS = ROOT / "results" / "study"
DOCS = ROOT.parent / "docs"
PAGE = DOCS / "reference" / "study.md"
FIGURES = ("differences", "learning")


def page(results: Path = RESULTS, docs: Path = DOCS) -> str:
    """Return the text of the page, with the pictures that ``docs/draw.py`` has drawn."""
    drawn = [name for name in FIGURES if (docs / "pictures" / f"study_{name}.svg").is_file()]
    figures = {name: f"../pictures/study_{name}.svg" for name in drawn}
    _, units = load_study(results)
    return study_page(study_document(results), units, figures, title="The study")


def stored_differences(results: Path = RESULTS) -> Figure | None:
    """Return the figure of the differences; None without results."""
    from trading_app.study.figures import differences_figure

    return differences_figure(study_document(results)) if (results / "design.json").is_file() else None


def stored_learning(results: Path = RESULTS) -> Figure | None:
    """Return the figure of the learning curves; None without results."""
    from trading_app.study.figures import learning_figure

    return learning_figure(study_document(results)) if (results / "design.json").is_file() else None


if __name__ == "__main__":
    atomic_write(PAGE, page())
