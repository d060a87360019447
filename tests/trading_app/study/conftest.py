"""The small study, run once for all tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import pytest

from tests.trading_app.study.small import save_prices, small
from trading_app.study.run import run_study


@pytest.fixture(scope="session")
def study_home(few_resamples: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the small study, run without a stop; tests copy it before they change it."""
    home = tmp_path_factory.mktemp("study")
    save_prices(home)
    run_study(small(), home=home, name="s")
    return home


@pytest.fixture(autouse=True, scope="session")
def few_resamples() -> Iterator[None]:
    """Fewer resamples than in use: they take longer than everything else in a study this small."""
    with pytest.MonkeyPatch.context() as patch:
        for place in (
            "trading_app.runs.backtests.evidence",
            "trading_app.experiments.training.seed_agreement",
            "trading_app.study.run.write_document",
            "trading_app.study.page.study_document",
            "benchmarks.study_page.study_document",
        ):
            module, _, name = place.rpartition(".")
            patch.setattr(place, partial(getattr(import_module(module), name), reps=40))
        yield


@pytest.fixture
def home(study_home: Path, tmp_path: Path) -> Path:
    """A copy of that home."""
    return Path(shutil.copytree(study_home, tmp_path / "home"))
