"""Units of a study: an agent on a dataset, trained walk-forward, backtested and stored.

``units/NAME.json`` of a study's folder has

- ``unit``, ``dataset``, ``agent``, ``run`` (name of the walk-forward run), ``data`` (name, hash, number of symbols,
  signals), ``settings`` (the configuration), ``seeds``, ``folds`` (dates by part);
- ``candidate``, ``candidates`` (validation Sharpe ratio of each), ``trials``, ``overfitting``;
- ``start``, ``end``, ``sessions``, ``periods``, ``risk_free``, ``level`` of the backtest; ``strategies``: name →
  ``kind``, ``metrics`` and, but for seeds, ``intervals``; ``seed_spread``; ``reference`` and ``above_reference``;
  ``probabilistic_sharpe``, ``deflated_sharpe``; ``agreement``, ``sizing`` and ``departure`` of the seeds;
  ``notes``: as in
  `trading_app.backtesting.summary`;
- ``held_base``: for each fold whether the ensemble held its base for lack of evidence;
- ``curves``: `trading_app.study.curves.learning_curves`;
- ``seconds`` of choosing, training and backtest; ``machine``, ``versions``, ``code``.

``units/NAME.parquet`` has the daily net returns of the agent, its seeds and the references, date × strategy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from equitrade.atomic import atomic_path, atomic_write
from equitrade.json_values import json_value
from trading_app.backtesting.results import BacktestResult
from trading_app.backtesting.summary import kind_of
from trading_app.evaluation.sizing import trainings_at_base
from trading_app.experiments.config import stored_config, to_dict
from trading_app.experiments.out_of_sample import backtest_run, unseen_period
from trading_app.experiments.own_signals import pin_signals
from trading_app.experiments.policies import load_policy
from trading_app.experiments.walk_forward import Watch, walk_forward_run
from trading_app.files import RunError, read_json, to_json
from trading_app.runs.backtests import SavedBacktest
from trading_app.runs.run import Run, open_run, runs_directory
from trading_app.study.base import base_result
from trading_app.study.candidates import Choice, choose
from trading_app.study.curves import learning_curves
from trading_app.study.design import StudyDesign, Unit

__all__ = ["REFERENCES", "run_unit", "unit_document", "unit_returns"]

SCHEMA = 1
BASE = "base"
REFERENCES = (BASE, "equal-weight", "plug-in")
"""References that agents are compared with: what they are without having learned (`trading_app.study.base`), equal
weight, and the baseline that knows the form of the forecast, where there are signals."""

_AS_IN_BACKTEST = (
    "start",
    "end",
    "sessions",
    "periods",
    "risk_free",
    "level",
    "reference",
    "probabilistic_sharpe",
    "deflated_sharpe",
    "trials",
    "overfitting",
    "agreement",
    "sizing",
    "departure",
    "notes",
)


def run_unit(
    unit: Unit,
    design: StudyDesign,
    *,
    home: Path,
    folder: Path,
    watch: Watch | None = None,
    on_trial: Callable[[str, float | None], None] | None = None,
) -> None:
    """Choose settings, train walk-forward, backtest, and write the unit; what is there already is not done again.

    Parameters
    ----------
    unit, design
        What to do.
    home, folder
        State directory, and the folder of the study in it.
    watch, on_trial
        As for `walk_forward_run` and `trading_app.study.candidates.choose`.
    """
    path = folder / "units" / f"{unit.name}.json"
    if path.is_file():
        return
    choices = folder / "choices" / unit.name
    choice = choose(unit, design, home=home, folder=choices, on_trial=on_trial)
    run = _train(choice, design, home, f"{folder.name}-{unit.name}", watch)
    started = time.perf_counter()
    saved = backtest_run(run, home=home)
    base = _base(run, home)
    document = _document(unit, choice, run, saved, home)
    document["strategies"][BASE] = {"kind": "baseline", "metrics": base.metrics(), "intervals": {}}
    document = dict(json_value(document))
    document["seconds"] = {
        "choosing": _training_seconds(choices / "trials"),
        "training": _training_seconds(run.path / "folds"),
        "backtest": round(time.perf_counter() - started, 1),
    }
    kept = [name for name in saved.strategies if kind_of(name) != "baseline" or name in REFERENCES]
    returns = saved.returns[kept].assign(**{BASE: base.returns})
    with atomic_path(path.with_suffix(".parquet")) as temporary:
        returns.to_parquet(temporary, compression="zstd")
    # Last: this file marks the unit as done.
    atomic_write(path, to_json(document))


def _training_seconds(folder: Path) -> float:
    """Return the seconds that the trainings in a folder took, without those of stopped ones before their resumption."""
    paths = sorted(folder.glob("*/manifest.json"))
    return round(sum(float(read_json(path)["wall_time_seconds"]) for path in paths), 1)


def _train(choice: Choice, design: StudyDesign, home: Path, name: str, watch: Watch | None) -> Run:
    """Return the finished walk-forward run of a unit, continuing one that was stopped."""
    config = pin_signals(choice.config, home)
    begun = (runs_directory(home) / name / "manifest.json").is_file()
    if begun:
        run = open_run(name, home=home)
        folds = len(run.manifest.get("folds") or ())
        if to_dict(stored_config(run.path)) != to_dict(config) or folds != design.folds:
            raise RunError(
                f"run {name!r} exists with other settings than those of the study; rename one of them"
            )
        if run.status in ("complete", "backtested"):
            return run
    return walk_forward_run(
        config,
        home=home,
        folds=design.folds,
        expanding=design.expanding,
        name=name,
        resume=begun,
        watch=watch,
    )


def _base(run: Run, home: Path) -> BacktestResult:
    """Backtest the base of the agent on the dates of its own backtest."""
    prices, first, last = unseen_period(run, home=home)
    return base_result(load_policy(run.path), prices, first, last)


def _document(unit: Unit, choice: Choice, run: Run, saved: SavedBacktest, home: Path) -> dict[str, Any]:
    manifest, evidence = run.manifest, saved.document
    data = manifest["data"]
    strategies = {
        name: {
            key: value
            for key, value in entry.items()
            if key in ("kind", "metrics") or (key == "intervals" and entry["kind"] != "seed")
        }
        for name, entry in evidence["strategies"].items()
    }
    above = {key: value for key, value in evidence["above_reference"].items() if key != "capacity"}
    return {
        "schema": SCHEMA,
        "unit": unit.name,
        "dataset": unit.dataset.label,
        "agent": unit.agent,
        "run": run.name,
        "data": {
            "name": data["name"],
            "hash": data["hash"],
            "symbols": len(data["symbols"]),
            "signals": data.get("signals", []),
        },
        "settings": manifest["config"],
        "seeds": manifest["seeds"],
        "folds": manifest["folds"],
        "candidate": choice.name,
        "candidates": choice.trials,
        **{key: evidence.get(key) for key in _AS_IN_BACKTEST},
        "strategies": strategies,
        "seed_spread": evidence["seeds"],
        "above_reference": above,
        "held_base": trainings_at_base(evidence),
        "curves": learning_curves(run, home),
        **{key: manifest[key] for key in ("machine", "versions", "code")},
    }


def unit_document(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the stored document of a unit of a study's folder; None where it is not done."""
    path = folder / "units" / f"{name}.json"
    return read_json(path) if path.is_file() else None


def unit_returns(folder: Path, name: str) -> pd.DataFrame:
    """Return the daily net returns of a unit that is done, date × strategy."""
    path = folder / "units" / f"{name}.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from None
