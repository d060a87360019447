"""Folders of results."""

from __future__ import annotations

from pathlib import Path

_REPOSITORY = Path(__file__).parents[1] / "results"


def results_root() -> Path:
    """Return ``control_benchmarks/results`` of the repository, else ``control_results`` (installed package)."""
    return _REPOSITORY if _REPOSITORY.is_dir() else Path("control_results")


def suite_folder(suite: str, size: str) -> Path:
    """Return the default folder of a suite's results; sizes have folders of their own, since their runs differ."""
    return results_root() / f"{suite}-{size}"
