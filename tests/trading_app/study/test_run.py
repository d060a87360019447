"""Running of studies: what is stored, stops at any point, shared work, and designs that differ."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from tests.trading_app.study.small import SMALL, read, small
from trading_app.files import RunError
from trading_app.runs.run import open_run
from trading_app.study.document import load_study, study_document
from trading_app.study.run import run_study
from trading_app.study.units import unit_returns

UNITS = ["exact-first", "relaxed-first", "exact-second", "relaxed-second"]


def test_units_have_results_curves_settings_and_returns(study_home: Path) -> None:
    folder = study_home / "studies" / "s"
    document = read(folder / "study.json")
    assert (document["done"], document["missing"]) == (UNITS, [])
    design, units = load_study(folder)
    for name, unit in units.items():
        run = open_run(unit["run"], home=study_home)
        evidence = run.metrics
        assert evidence is not None
        assert unit["strategies"]["agent"] == {
            key: evidence["strategies"]["agent"][key] for key in ("kind", "metrics", "intervals")
        }
        assert unit["above_reference"]["estimates"] == evidence["above_reference"]["estimates"]
        assert unit["folds"] == run.manifest["folds"]
        assert unit["data"]["hash"] == design["data"][unit["dataset"]]["hash"]
        assert (
            unit["settings"]["costs"]["commission_bps"] + unit["settings"]["costs"]["half_spread_bps"] == 10
        )
        assert unit["held_base"] == [False, False]
        assert unit["seconds"]["training"] > 0
        returns = unit_returns(folder, name)
        assert list(returns.columns) == ["agent", "seed-0", "seed-1", "equal-weight", "base"]
        growth = unit["strategies"]["agent"]["metrics"]["total_return"]
        assert (1 + returns["agent"]).prod() - 1 == pytest.approx(growth)
        for curve, fold in zip(unit["curves"], unit["folds"], strict=True):
            assert curve["updates"] == [4, 8]
            assert curve["validation"]["dates"] == fold["validation"]
            assert fold["train"][0] <= curve["training"]["dates"][0] < curve["training"]["dates"][1]
            assert curve["training"]["dates"][1] == fold["train"][1]
            for part in ("training", "validation"):
                assert np.isfinite(curve[part]["sharpe"]).all()
                assert np.shape(curve[part]["sharpe"]) == (2, 2)


def stop_in(fold: int, step: int) -> Any:
    @contextmanager
    def watch(number: int, folds: int, steps: int) -> Iterator[Callable[[Any], None] | None]:
        def progress(told: Any) -> None:
            if (number, told.step) == (fold, step):
                raise KeyboardInterrupt

        yield progress

    return watch


def test_a_study_that_was_stopped_anywhere_has_the_same_document(home: Path, study_home: Path) -> None:
    whole = (study_home / "studies" / "s" / "study.json").read_bytes()
    folder = home / "studies" / "s"
    shutil.rmtree(home / "runs" / "s-relaxed-first")
    for file in folder.glob("units/relaxed-*"):
        file.unlink()  # the run of relaxed-second is there: the stop came before it was stored
    kept = {
        name: (folder / "units" / f"{name}.json").read_bytes() for name in ("exact-first", "exact-second")
    }
    with pytest.raises(KeyboardInterrupt):
        run_study(small(), home=home, name="s", watch=stop_in(fold=2, step=8))
    fold = home / "runs" / "s-relaxed-first" / "folds" / "fold-1" / "manifest.json"
    trained = fold.read_bytes()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # between units
        run_study(
            small(), home=home, name="s", on_unit=lambda unit, *_: unit.name == "relaxed-second" and stop()
        )
    assert fold.read_bytes() == trained
    assert study_document(folder, reps=50)["missing"] == ["relaxed-second"]
    document = run_study(
        small(), home=home, name="s", watch=stop_in(fold=1, step=4)
    )  # nothing is left to train
    assert (folder / "study.json").read_bytes() == whole
    assert document["missing"] == []
    for name, content in kept.items():
        assert (folder / "units" / f"{name}.json").read_bytes() == content
    for name in UNITS:
        pd.testing.assert_frame_equal(
            unit_returns(folder, name), unit_returns(study_home / "studies" / "s", name), check_exact=True
        )


def test_units_of_another_process_are_left_to_it(home: Path) -> None:
    units = home / "studies" / "s" / "units"
    (units / "exact-second.json").unlink()
    with FileLock(units.parent / "locks" / "exact-second"):
        document = run_study(small(), home=home, name="s")
    assert document["missing"] == ["exact-second"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"settings": {**SMALL, "sac.width": 4}}, "sac.width: 8, now 4"),
        ({"agents": ("exact", "dense")}, "agents: exact,relaxed, now exact,dense"),
        ({"data": ("first",)}, "data.second.name: second, now none"),
        ({"folds": 3}, "folds: 2, now 3"),
    ],
)
def test_another_design_is_refused_and_what_differs_is_named(
    changes: dict[str, Any], named: str, study_home: Path
) -> None:
    before = (study_home / "studies" / "s" / "design.json").read_bytes()
    with pytest.raises(RunError, match="other settings") as refusal:
        run_study(small(**changes), home=study_home, name="s")
    assert named in str(refusal.value)
    assert (study_home / "studies" / "s" / "design.json").read_bytes() == before


def test_runs_of_other_settings_are_not_taken_for_those_of_a_study(home: Path) -> None:
    (home / "runs" / "s-exact-first").rename(home / "runs" / "other-exact-first")
    design = small(data=["first"], agents=["exact"], settings={**SMALL, "sac.width": 4})
    with pytest.raises(RunError, match=r"other-exact-first.*other settings"):
        run_study(design, home=home, name="other")


@pytest.mark.parametrize("name", ["", "../s", "a" * 50])
def test_bad_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="study name"):
        run_study(small(), home=tmp_path, name=name)
    assert not list(tmp_path.iterdir())
