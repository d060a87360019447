"""Contents of the page *Data*: facts, findings, repairs and gaps of each dataset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from data.errors import DataError
from data.providers.bundled import bundled_manifest, bundled_names
from data.quality.findings import ERRORS, WARNINGS
from data.quality.repairs import REPAIRS
from data.snapshots.coverage import EVERY, missing_sessions, symbol_dates
from data.snapshots.store import SnapshotStore
from service.core.problems import Problem
from service.dashboard.figures import PageFigure
from service.decisions.snapshots import Snapshots
from trading_app.report.figures import data as data_figures
from trading_app.report.tables import Cell, Table
from trading_app.report.theme import Theme

#: Findings that the page lists; the download has them all.
LISTED = 100
#: Changes of a repair, and differences from an earlier version, that the page lists.
CHANGES = 20
MEANINGS = {**ERRORS, **WARNINGS}
COLUMNS = ["kind", "severity", "place", "symbol", "date", "message"]


@dataclass(frozen=True)
class Dataset:
    """A bundled dataset or one version of a snapshot: ``NAME`` or ``NAME@VERSION``.

    `facts` are the manifest, empty where it cannot be read, for the reason in `error`. `path` is the folder of a
    snapshot, None of a bundled dataset.
    """

    reference: str
    facts: Mapping[str, Any]
    error: str = ""
    path: Path | None = None

    @property
    def name(self) -> str:
        """Without the version."""
        return self.reference.partition("@")[0]

    @property
    def version(self) -> str:
        """Empty of a bundled dataset, which has none."""
        return self.reference.partition("@")[2]

    @property
    def source(self) -> str:
        """Provider of the prices."""
        return str(self.facts.get("provider", {}).get("name", "–")) if self.facts else "–"

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of findings by kind."""
        counts: Mapping[str, int] = self.facts.get("validation", {}).get("counts", {})
        return counts

    @property
    def options(self) -> str:
        """Options of the provider as JSON; empty if it has none."""
        rest = {key: value for key, value in self.facts["provider"].items() if key != "name"}
        return json.dumps(rest, indent=2, ensure_ascii=False) if rest else ""

    def findings(self, limit: int | None = None) -> pd.DataFrame:
        """Every finding, or the first of them, a row each.

        Raises `Problem` ``unknown-data`` if their file cannot be read.
        """
        if self.path is None:
            return pd.DataFrame(self.facts["findings"][:limit], columns=COLUMNS)
        file = self.path / "findings.csv"
        if not file.exists():
            return pd.DataFrame(columns=COLUMNS)
        try:
            return pd.read_csv(file, dtype=str, nrows=limit).reindex(columns=COLUMNS)
        except (OSError, ValueError) as error:
            raise Problem(
                "unknown-data", f"{file.name} of {self.reference} cannot be read: {error}"
            ) from None

    def gaps(self, snapshots: Snapshots) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Missing sessions, and first and last session of each symbol."""
        if self.path is None:
            missing = pd.DataFrame(self.facts["gaps"], columns=["date", "symbol"])
            spans = pd.DataFrame(self.facts["symbol_dates"], columns=["symbol", "first", "last", "sessions"])
            return missing.astype({"date": "datetime64[ns]"}), spans
        prices = snapshots.get(self.reference)
        return missing_sessions(prices, self.facts["validation"].get("calendar")), symbol_dates(prices)


def datasets(store: SnapshotStore) -> list[Dataset]:
    """Snapshots by name, newest version first, and then the bundled datasets."""
    home = store.directory.parent
    found = []
    for name in store.names():
        for version in reversed(store.versions(name)):
            reference = f"{name}@{version}"
            try:
                snapshot = store.open(reference)
            except DataError as error:
                found.append(Dataset(reference, {}, str(error)))
            else:
                found.append(Dataset(reference, snapshot.manifest, path=snapshot.path))
    return [*found, *(Dataset(name, bundled_manifest(name, home)) for name in bundled_names())]


def choose(found: list[Dataset], reference: str) -> Dataset:
    """The dataset that an address names, by default the one fetched last.

    Raises `Problem` ``unknown-data``.
    """
    if not reference:
        readable = [dataset for dataset in found if dataset.facts]
        return max(readable, key=lambda dataset: str(dataset.facts.get("fetched_at", "")))
    for dataset in found:  # of a name alone, the newest version comes first
        if reference in (dataset.reference, dataset.name):
            return dataset
    known = ", ".join(dataset.reference for dataset in found)
    raise Problem("unknown-data", f"no snapshot {reference[:100]!r}; there are {known}")


def figures_of(dataset: Dataset, snapshots: Snapshots) -> list[PageFigure]:
    """The gaps calendar, and the findings by year where there are any."""
    if not dataset.facts:
        return []
    made = [
        PageFigure(
            "gaps",
            "Gaps calendar",
            lambda theme: _calendar(dataset, snapshots, theme),
            lambda: dataset.gaps(snapshots)[0].replace({"symbol": {EVERY: "every symbol"}}),
        )
    ]
    if dataset.counts:
        made.append(
            PageFigure(
                "findings",
                "Findings of the checks",
                lambda theme: data_figures.findings_by_year(
                    dataset.findings(), start=dataset.facts["start"], end=dataset.facts["end"], theme=theme
                ),
                dataset.findings,
                height=280,
            )
        )
    return made


def checks_table(dataset: Dataset) -> Table:
    """Number and meaning of the findings of each kind."""
    allowed = dataset.facts["validation"].get("allowed", ())
    rows = tuple(
        (
            kind.replace("-", " "),
            (
                Cell(f"{count:,}".replace(",", "\u202f")),
                Cell("accepted" if kind in allowed else "error" if kind in ERRORS else "warning"),
                Cell(MEANINGS.get(kind, "")),
            ),
        )
        for kind, count in dataset.counts.items()
    )
    return Table("Findings by kind", ("Findings", "Severity", "Meaning"), rows)


def repairs_of(dataset: Dataset) -> list[dict[str, Any]]:
    """Repairs with what they do and their first changes."""
    return [
        {
            "name": entry["repair"],
            "text": REPAIRS[entry["repair"]].effect if entry["repair"] in REPAIRS else "",
            "count": entry["count"],
            "changes": entry.get("changes", [])[:CHANGES],
        }
        for entry in dataset.facts["repairs"]
    ]


def _calendar(dataset: Dataset, snapshots: Snapshots, theme: Theme) -> Figure:
    start, end = dataset.facts["start"], dataset.facts["end"]
    return data_figures.gaps_calendar(*dataset.gaps(snapshots), start=start, end=end, theme=theme)
