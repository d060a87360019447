"""Results of a study: ``study.json``, made from the stored units and from nothing else.

Keys of the document:

``study``, ``design``: ``agents``, ``subject``, ``data`` (labels), ``folds``; ``done`` and ``missing``: names of units;
``level``; ``units``: name → `summary_of_unit`; ``overall`` and ``comparisons``: the answers over several datasets and
on each (`trading_app.study.comparisons`), these also with ``seed_difference``, of single seeds; ``learning``: name of a
unit → `trading_app.study.curves.learning_summary`.

It has neither times nor machines, so that a study that was stopped and continued has the same bytes as another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from equitrade.atomic import atomic_write
from equitrade.json_values import json_value
from rl_core.statistics import Interval, bootstrap_difference, bootstrap_interval
from trading_app.backtesting.summary import AGENT, SEED_PREFIX
from trading_app.evaluation.sharpe_difference import Pair
from trading_app.files import RunError, read_json, to_json
from trading_app.study.comparisons import LEVEL, compare_datasets
from trading_app.study.curves import learning_summary
from trading_app.study.units import REFERENCES, unit_document, unit_returns

__all__ = ["load_study", "study_document", "summary_of_unit", "write_document"]

SCHEMA = 1
MEASURES = ("cagr", "volatility", "sharpe", "max_drawdown", "turnover")


def load_study(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the design of a stored study, and the documents of its units that are done, by name.

    RunError where the folder has no study.
    """
    path = folder / "design.json"
    if not path.is_file():
        raise RunError(f"{folder}: no study found (design.json is missing); start one with `equitrade study`")
    design = read_json(path)
    found = {name: unit_document(folder, name) for name in design["candidates"]}
    return design, {name: document for name, document in found.items() if document is not None}


def write_document(folder: Path, *, level: float = LEVEL, reps: int = 1000) -> dict[str, Any]:
    """Write ``study.json`` of a study's folder from its units that are done, and return its content."""
    document = study_document(folder, level=level, reps=reps)
    atomic_write(folder / "study.json", to_json(document))
    return document


def study_document(folder: Path, *, level: float = LEVEL, reps: int = 1000) -> dict[str, Any]:
    """Return the results of a study from its stored units; see the module's docstring."""
    design, units = load_study(folder)
    subject = design["subject"]
    simulated = [label for label, data in design["data"].items() if data["simulated"]]
    pairs = _pairs(folder, design, units)
    single, overall = compare_datasets(pairs, subject, simulated=simulated, level=level, reps=reps)
    for record in single:
        record["seed_difference"] = _seed_difference(
            units, subject, record["dataset"], record["other"], level
        )
    document = {
        "schema": SCHEMA,
        "study": folder.name,
        "design": {
            "agents": design["agents"],
            "subject": subject,
            "data": list(design["data"]),
            "folds": design["folds"],
        },
        "done": list(units),
        "missing": [name for name in design["candidates"] if name not in units],
        "level": level,
        "units": {name: summary_of_unit(unit) for name, unit in units.items()},
        "overall": overall,
        "comparisons": single,
        "learning": {name: learning_summary(unit["curves"], level=level) for name, unit in units.items()},
    }
    return dict(json_value(document))


def summary_of_unit(unit: Mapping[str, Any]) -> dict[str, Any]:
    """Return the main results of a unit.

    Returns
    -------
    dict
        ``dataset``, ``agent``, ``start``, ``end``, ``sessions``, ``seeds`` (their number), ``candidate``, ``trials``;
        ``agent_metrics`` and those of the references, ``intervals`` of the agent's; ``active_return`` above the
        reference (an estimate), ``deflated_sharpe`` of it; ``agreement`` (a correlation) and ``held_base`` by fold.
    """
    strategies = unit["strategies"]
    return {
        **{key: unit[key] for key in ("dataset", "agent", "start", "end", "sessions", "candidate", "trials")},
        "seeds": len(unit["seeds"]),
        "metrics": {
            name: {measure: strategies[name]["metrics"][measure] for measure in MEASURES}
            for name in (AGENT, *REFERENCES)
            if name in strategies
        },
        "sharpe_interval": strategies[AGENT]["intervals"]["sharpe"],
        "reference": unit["reference"],
        "active_return": unit["above_reference"]["estimates"]["active_return"],
        "deflated_sharpe": unit["above_reference"]["deflated_sharpe"],
        "agreement": [record["correlation"] for record in unit["agreement"]],
        "held_base": unit["held_base"],
    }


def _seed_difference(
    units: Mapping[str, Mapping[str, Any]], subject: str, label: str, other: str, level: float
) -> dict[str, float]:
    """Return the interquartile mean over seeds of the subject's net Sharpe ratio minus that of another strategy.

    The interval is that of the draw of the seeds; the dates are given.
    """
    own, beside = units[f"{subject}-{label}"], units.get(f"{other}-{label}")
    seeds = _sharpes(own, own["seeds"])
    if beside is None:
        others = np.array([own["strategies"][other]["metrics"]["sharpe"]], dtype=np.float64)
    else:
        others = _sharpes(beside, beside["seeds"])
    generator = np.random.default_rng(0)
    if not np.isfinite([*seeds, *others]).all():
        found = Interval(np.nan, np.nan, np.nan)
    elif beside is None:
        found = bootstrap_interval(seeds - others, generator=generator, confidence=level)
    else:
        found = bootstrap_difference(seeds, others, generator=generator, confidence=level)
    return {"value": found.estimate, "low": found.low, "high": found.high}


def _sharpes(unit: Mapping[str, Any], seeds: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the net Sharpe ratio of each seed [S]; NaN where undefined."""
    strategies = unit["strategies"]
    found = [strategies[f"{SEED_PREFIX}{seed}"]["metrics"]["sharpe"] for seed in seeds]
    return np.array(found, dtype=np.float64)


def _pairs(
    folder: Path, design: Mapping[str, Any], units: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Pair]]:
    """Return the subject's returns beside those of each other agent and reference: other → dataset → pair."""
    subject = design["subject"]
    found: dict[str, dict[str, Pair]] = {}
    for label in design["data"]:
        unit = units.get(f"{subject}-{label}")
        if unit is None:
            continue
        own = unit_returns(folder, f"{subject}-{label}")
        others = {name: own[name] for name in REFERENCES if name in own.columns}
        for agent in design["agents"]:
            if agent != subject and f"{agent}-{label}" in units:
                others[agent] = unit_returns(folder, f"{agent}-{label}")[AGENT]
        for name, returns in others.items():
            both = pd.concat([own[AGENT], returns], axis=1, join="inner", keys=["own", "other"])
            pair = Pair(both["own"], both["other"], unit["periods"], unit["risk_free"])
            found.setdefault(name, {})[label] = pair
    order = [*(agent for agent in design["agents"] if agent != subject), *REFERENCES]
    return {name: found[name] for name in order if name in found}
