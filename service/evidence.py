"""What a run must show before it is served, and the files that inference needs of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data.errors import DataError


@dataclass(frozen=True)
class Evidence:
    """A run's description of itself, kept beside the model.

    Attributes
    ----------
    agent, symmetry : str
        Kind of network and the symmetry it was built for.
    seeds : tuple of int
        Members of the ensemble.
    data, data_hash : str
        Snapshot trained on, and its content.
    symbols, features : tuple of str
        Inputs, in order.
    fill : str
        Price that a decision is filled at: ``next_open`` or ``next_close``.
    cost_rate : float
        Cost of trading, as a share of the value traded.
    trained_until : str or None
        Last day that was learned from.
    evaluated : dict
        Dates of the out-of-sample evaluation.
    metrics : dict
        Figure → ``{value, low, high}``, out of sample.
    notes : tuple of str
        What a reader of the figures must know.
    files : tuple of str
        Paths, relative to the run, that inference needs.
    """

    agent: str
    symmetry: str
    seeds: tuple[int, ...]
    data: str
    data_hash: str
    symbols: tuple[str, ...]
    features: tuple[str, ...]
    fill: str
    cost_rate: float = 0.0
    history: int = 0
    trained_until: str | None = None
    evaluated: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Text for the database."""
        return json.dumps(asdict(self), allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        for name in ("seeds", "symbols", "features", "notes", "files"):
            values[name] = tuple(values[name])
        return cls(**values)


def read_evidence(run: Path) -> Evidence:
    """Read a run's evidence.

    Raises
    ------
    DataError
        If something that promotion requires is missing; the message names the file and key.
    """
    raise DataError(f"{run}: cannot be read")
