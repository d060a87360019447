"""Results of attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Attack", "AttackReport"]


@dataclass(frozen=True)
class Attack:
    """Result of one attack.

    Attributes
    ----------
    name
        ``placebo``, ``planted``, ``permuted``, ``mirrored`` or ``rescaled``.
    expected, found
        The right answer, and what came, in words.
    passed
        Whether they agree; None where the attack measures and nothing is expected.
    figures
        Numbers behind the words.
    """

    name: str
    expected: str
    found: str
    passed: bool | None
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``pass``, ``fail`` or ``measured``."""
        return "measured" if self.passed is None else "pass" if self.passed else "fail"


@dataclass(frozen=True)
class AttackReport:
    """Results of all attacks on a subject (a run, or prices) between two dates (ISO) of prices."""

    subject: str
    data: str
    start: str
    end: str
    attacks: tuple[Attack, ...]

    @property
    def passed(self) -> bool:
        """Whether no attack failed."""
        return all(attack.passed is not False for attack in self.attacks)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        return {**asdict(self), "passed": self.passed}
