"""Findings of the search for look-ahead."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Leak", "LookaheadReport"]

Kind = Literal["feature", "market feature", "observation", "decision", "signal"]


@dataclass(frozen=True)
class Leak:
    """Something that knows the future.

    Attributes
    ----------
    kind
        What it is.
    name
        Feature, part of an observation, policy, or ``NAME:COLUMN`` of a signal.
    symbol
        Asset; None where it concerns all.
    date
        First session (ISO) found in which it knew the future.
    reason
        What was seen, in words.
    """

    kind: Kind
    name: str
    symbol: str | None
    date: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.symbol} {self.date}" if self.symbol else self.date
        return f"{self.kind} {self.name}, {where}: {self.reason}"


@dataclass(frozen=True)
class LookaheadReport:
    """Result of a search.

    Attributes
    ----------
    subject
        Run or prices.
    leaks
        What was found, in the order of the checks.
    checked
        What was checked: features, policies, sessions after which the future was changed.
    signals
        Association of each column with later returns; see `trading_app.lookahead.association`.
    allowed
        Columns that the user says were known in advance; their association is not counted as a leak.
    """

    subject: str
    leaks: tuple[Leak, ...]
    checked: dict[str, Any]
    signals: dict[str, Any]
    allowed: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.leaks

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {**asdict(self), "clean": self.clean}
