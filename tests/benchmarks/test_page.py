"""The documentation's page of measurements."""

from __future__ import annotations

from pathlib import Path

from benchmarks.page import PAGE, SECTIONS, page


def test_measured_figures_are_those_stored() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m benchmarks.page"


def test_results_that_are_not_stored_have_no_section(tmp_path: Path) -> None:
    text = page(tmp_path)
    assert text.startswith("# Measured")
    assert not any(f"## {section.title}" in text for section in SECTIONS)
