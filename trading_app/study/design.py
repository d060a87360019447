"""Design of a study: datasets, kinds of agents, candidate settings, and the configurations that follow from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.prices import Prices
from data.providers.planted import SIMULATED, PanelConfig, save_planted
from rl_core.agents import check_kind
from trading_app.experiments.config import ConfigurationError, RunConfig, load_config, to_dict
from trading_app.experiments.training import prices_of, training_market
from trading_app.experiments.walk_forward import usable_folds

__all__ = [
    "DEFAULT_AGENTS",
    "DEFAULT_DATA",
    "Dataset",
    "StudyDesign",
    "Unit",
    "check_design",
    "design_study",
    "flat_items",
]

DEFAULT_DATA = ("sp500-20", "factors-5", "industries", "planted-0")
DEFAULT_AGENTS = ("dense", "exact", "relaxed", "gated", "direct")
SUBJECT = "relaxed"
"""Agent that the others are compared with; the first one in a study without it."""

DEFAULTS = Path(__file__).with_name("defaults.toml")
NO_CHOICE = "defaults"
"""Name of the candidate of an agent that has no others."""

_PLANTED = re.compile(r"planted-(\d+)")


@dataclass(frozen=True)
class Dataset:
    """Prices by name or path, and the signals beside them, if any.

    ``planted-0``, ``planted-1``, … are simulated panels with a signal of realistic size, of that seed, which `make`
    writes to the store.
    """

    name: str
    signals: str | None = None

    @classmethod
    def parse(cls, text: str) -> Dataset:
        """Read ``NAME`` or ``NAME+SIGNALS``."""
        name, plus, signals = text.strip().partition("+")
        if not name or (plus and not signals):
            raise ConfigurationError(f"--data {text!r}: write NAME or NAME+SIGNALS, separated by commas")
        return cls(name, signals or (name if _PLANTED.fullmatch(name) else None))

    @property
    def label(self) -> str:
        """Name for files and tables."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self.name).stem).strip("-")

    @property
    def panel(self) -> PanelConfig | None:
        """Parameters of a simulated panel; None for other data."""
        found = _PLANTED.fullmatch(self.name)
        if found is None:
            return None
        return PanelConfig(assets=20, r2=0.005, half_life=5.0, heterogeneity=1.0, seed=int(found[1]))

    def make(self, home: Path) -> None:
        """Write a simulated panel to the store, unless its newest version is this one; nothing for other data."""
        if self.panel is not None:
            save_planted(self.name, self.panel, home)


@dataclass(frozen=True)
class Unit:
    """An agent on a dataset; ``candidates`` are the settings to choose among, by name."""

    dataset: Dataset
    agent: str
    candidates: Mapping[str, RunConfig]

    @property
    def name(self) -> str:
        """Name of its files: ``relaxed-sp500-20``."""
        return f"{self.agent}-{self.dataset.label}"


@dataclass(frozen=True)
class StudyDesign:
    """Everything that determines a study, with the code and the data."""

    datasets: tuple[Dataset, ...]
    agents: tuple[str, ...]
    folds: int
    expanding: bool
    units: tuple[Unit, ...]

    @property
    def subject(self) -> str:
        """Agent that the others are compared with."""
        return SUBJECT if SUBJECT in self.agents else self.agents[0]

    def record(self, prices: Mapping[str, Prices]) -> dict[str, Any]:
        """Return what ``design.json`` stores, in JSON's own types; `prices` are those of each dataset by label."""
        return {
            "agents": list(self.agents),
            "subject": self.subject,
            "data": {
                dataset.label: {
                    "name": dataset.name,
                    "hash": prices[dataset.label].hash,
                    "signals": {s.name: s.source.hash for s in prices[dataset.label].signals},
                    "simulated": any(note.startswith(SIMULATED) for note in prices[dataset.label].notes),
                }
                for dataset in self.datasets
            },
            "folds": self.folds,
            "expanding": self.expanding,
            "candidates": {
                unit.name: {name: to_dict(config) for name, config in unit.candidates.items()}
                for unit in self.units
            },
        }


def design_study(
    data: Sequence[str] = DEFAULT_DATA,
    agents: Sequence[str] = DEFAULT_AGENTS,
    *,
    folds: int = 4,
    expanding: bool = False,
    settings: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    candidates: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> StudyDesign:
    """Return the design of a study, with a configuration for every unit and candidate.

    Parameters
    ----------
    data, agents
        Datasets (`Dataset.parse`) and kinds of agents.
    folds, expanding
        As for `trading_app.experiments.walk_forward.walk_forward_run`.
    settings
        ``"section.key"`` to value, for all units; they win over the environment, and this over the study's defaults.
    environment
        Variables as for `load_config`.
    candidates
        Settings to choose among, agent → name → settings (`trading_app.study.candidates.read_candidates`).

    Raises
    ------
    ConfigurationError
        For an unknown agent, a dataset or an agent given twice, or settings that cannot be used.
    """
    datasets = tuple(Dataset.parse(text) for text in data)
    for what, names in (("--data", [d.label for d in datasets]), ("--agents", list(agents))):
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None or not names:
            raise ConfigurationError(f"{what}: {f'{twice} is there twice' if twice else 'name at least one'}")
    for agent in agents:
        check_kind(agent)
    for key in settings or {}:
        if key in ("data.name", "data.signals", "sac.agent"):
            raise ConfigurationError(f"{key}: a study has --data and --agents for it")
    units = []
    for dataset in datasets:
        for agent in agents:
            own = {
                "data.name": dataset.name,
                "data.signals": None if dataset.signals is None else [dataset.signals],
                "sac.agent": agent,
            }
            tried = (candidates or {}).get(agent) or {NO_CHOICE: {}}
            configs = {
                name: _config({**(settings or {}), **changes, **own}, environment, f"{agent}.{name}")
                for name, changes in tried.items()
            }
            units.append(Unit(dataset, agent, configs))
    return StudyDesign(datasets, tuple(agents), folds, expanding, tuple(units))


def _config(overrides: Mapping[str, Any], environment: Mapping[str, str] | None, place: str) -> RunConfig:
    try:
        return load_config(DEFAULTS, environment, overrides)
    except ConfigurationError as error:
        raise ConfigurationError(f"settings of {place}: {error}") from None


def flat_items(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables with their dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat_items(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def check_design(design: StudyDesign, home: Path) -> dict[str, Prices]:
    """Check that every unit can be trained, before any is, and return the prices of each dataset by label.

    Simulated panels are written to the store of `home`.

    Raises
    ------
    DataError
        For prices, dates or settings that cannot be used.
    """
    found: dict[str, Prices] = {}
    for dataset in design.datasets:
        dataset.make(home)
    for unit in design.units:
        label = unit.dataset.label
        for config in unit.candidates.values():
            if label not in found:
                found[label] = prices_of(config, home)
            splits = usable_folds(config, found[label], design.folds, expanding=design.expanding)
            training_market(config, found[label], splits[0])
    return found
