"""Candidate settings of a study: read from a file, and chosen among on validation dates.

A file has a table for each kind of agent, and in it one for each candidate, with keys as for ``--set``:

.. code-block:: toml

    [relaxed.defaults]

    [relaxed.wide]
    sac.width = 64
    training.steps = 1200

For each dataset and agent, every candidate is trained on the first fold of the study. The one with the highest net
Sharpe ratio on the fold's validation dates, mean over seeds, is used for all folds. All candidates count as trials of
the deflated Sharpe ratio.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from equitrade.atomic import atomic_write
from rl_core.agents import check_kind
from trading_app.experiments.config import ConfigurationError, RunConfig, SearchConfig
from trading_app.experiments.own_signals import pin_signals
from trading_app.experiments.training import prices_of
from trading_app.experiments.tuning import trial_overfitting, validation_sharpes
from trading_app.experiments.walk_forward import usable_folds
from trading_app.files import RunError
from trading_app.study.design import StudyDesign, Unit, flat_items

__all__ = ["Choice", "choose", "read_candidates"]

FIXED_SECTIONS = ("data", "split", "costs", "search")
FIXED_KEYS = ("sac.agent", "market.fill", "training.seeds", "training.first_seed")
"""Settings in which agents would no longer be comparable."""


@dataclass(frozen=True)
class Choice:
    """Chosen candidate of a unit, its configuration, and the validation Sharpe ratios of all.

    ``trials`` has ``name``, ``sharpe`` (None where a seed diverged) and ``sharpe_by_seed`` of each candidate; nothing
    where there was no choice. The configuration counts them.
    """

    name: str
    config: RunConfig
    trials: tuple[Mapping[str, Any], ...] = ()


def read_candidates(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Read candidates from a TOML or JSON file: agent → name → settings by ``section.key``.

    Raises
    ------
    ConfigurationError
        For a file that cannot be read, an unknown agent, or a setting that all agents must share.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: candidates cannot be read ({error})") from None
    if not isinstance(content, Mapping):
        raise ConfigurationError(f"{path}: a table for each agent is needed, as [relaxed.wide]")
    found = {}
    for agent, tables in content.items():
        check_kind(agent)
        if not isinstance(tables, Mapping) or not all(
            isinstance(table, Mapping) for table in tables.values()
        ):
            raise ConfigurationError(
                f"{path}: [{agent}] must have a table for each candidate, as [{agent}.wide]"
            )
        found[agent] = {name: dict(flat_items(table)) for name, table in tables.items()}
        for name, settings in found[agent].items():
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ConfigurationError(
                    f"{path}: [{agent}.{name!r}]: name it by letters, digits, '_' and '-'"
                )
            for key in settings:
                if key.partition(".")[0] in FIXED_SECTIONS or key in FIXED_KEYS or "." not in key:
                    raise ConfigurationError(
                        f"{path}: [{agent}.{name}] {key}: no setting that candidates may change; use sac, market or "
                        "training"
                    )
    return found


def choose(
    unit: Unit,
    design: StudyDesign,
    *,
    home: Path,
    folder: Path,
    on_trial: Callable[[str, float | None], None] | None = None,
) -> Choice:
    """Return the candidate to train a unit with.

    Trainings are in ``trials/0``, ``trials/1``, … of `folder`; those that ended are not repeated. `on_trial` is called
    with the name and the Sharpe ratio of each. RunError if every candidate diverged.
    """
    (first, config), *others = unit.candidates.items()
    if not others:
        return Choice(first, config)
    trials: list[dict[str, Any]] = []
    for number, (name, tried) in enumerate(unit.candidates.items()):
        sharpes = _trial(folder / "trials" / str(number), tried, design, home)
        mean = float(np.mean(sharpes)) if sharpes else None
        trials.append({"name": name, "sharpe": mean, "sharpe_by_seed": sharpes})
        if on_trial is not None:
            on_trial(name, mean)
    scored = {trial["name"]: trial["sharpe"] for trial in trials if trial["sharpe"] is not None}
    if not scored:
        raise RunError(
            f"unit {unit.name}: every candidate diverged; lower the learning rates in --candidates"
        )
    name = max(scored, key=lambda key: scored[key])
    config = unit.candidates[name]
    overfitting = trial_overfitting(folder)
    search = SearchConfig(
        trials=config.search.trials + len(trials) - 1,
        sharpes=tuple(scored.values()),
        overfitting=None if overfitting is None else overfitting["probability"],
    )
    return Choice(name, replace(config, search=search), tuple(trials))


def _trial(folder: Path, config: RunConfig, design: StudyDesign, home: Path) -> list[float]:
    """Return the validation Sharpe ratios of a candidate on the first fold, from its file where that is there."""
    path = folder / "sharpes.json"
    if path.is_file():
        known: list[float] = json.loads(path.read_text(encoding="utf-8"))
        return known
    config = pin_signals(config, home)
    prices = prices_of(config, home)
    split = usable_folds(config, prices, design.folds, expanding=design.expanding)[0]
    sharpes = validation_sharpes(config, prices, home=home, folder=folder, split=split)
    atomic_write(path, json.dumps(sharpes))
    return sharpes
