"""Findings of the validation of prices, each with its row, symbol and date, and the report that lists them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from data.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALLOWABLE", "CURES", "ERRORS", "WARNINGS", "Finding", "Report"]

#: Kinds of findings that stop an import, with their meaning.
ERRORS: dict[str, str] = {
    "truncated-row": "a row has too few or too many columns",
    "ambiguous-date": "dates may have the day or the month first",
    "mixed-date-formats": "dates are in two formats: a spreadsheet may have exchanged day and month",
    "exchanged-dates": "day and month are exchanged in dates up to day 12",
    "ambiguous-number": "numbers may have decimal marks or separators of thousands",
    "unreadable-date": "a date cannot be read",
    "unreadable-value": "a value is not a number",
    "missing-symbol": "a row names no symbol",
    "mixed-time-zones": "time stamps are in more than one time zone",
    "mixed-currency": "prices are in more than one currency",
    "unsorted": "a symbol's dates go back and forth",
    "duplicate": "a symbol has two rows for one date",
    "intraday": "a symbol has rows for several times of a day",
    "non-finite": "a value is infinite",
    "non-positive": "a price is zero or negative, or a volume, dividend or split is negative",
    "high-below-low": "the high is below the low",
}
#: Kinds of findings that are reported and do not stop an import, with their meaning.
WARNINGS: dict[str, str] = {
    "missing-value": "a cell is empty",
    "outside-range": "open or close lies above the high or below the low",
    "missing-session": "the exchange was open and there is no row",
    "not-a-session": "there is a row on a day on which the exchange was closed",
    "no-calendar": "the dates fit no known exchange: sessions were not checked",
    "spike": "a price is far off and returns within a few sessions",
    "split-jump": "a jump looks like a split that prices were not adjusted for",
    "large-move": "a move far beyond the usual ones, a crash or an error",
    "late-adjustment": "adjusted closes begin later than closes, at another price",
    "stale-run": "the close stays the same for many sessions",
}
#: Errors that a user may accept. With the others the prices would have no meaning.
ALLOWABLE = ("mixed-currency", "high-below-low")
#: Kind of finding → repairs that remove it; see `data.quality.repairs.REPAIRS`.
CURES: dict[str, tuple[str, ...]] = {
    "truncated-row": ("drop-bad-rows",),
    "unreadable-date": ("drop-bad-rows",),
    "unreadable-value": ("drop-bad-rows",),
    "missing-symbol": ("drop-bad-rows",),
    "exchanged-dates": ("swap-day-month",),
    "mixed-time-zones": ("local-dates",),
    "unsorted": ("sort",),
    "duplicate": ("keep-first", "keep-last"),
    "intraday": ("aggregate-days",),
    "non-finite": ("blank-bad-values",),
    "non-positive": ("blank-bad-values",),
    "high-below-low": ("blank-high-low",),
    "not-a-session": ("drop-closed-days",),
    "spike": ("blank-spikes",),
    "split-jump": ("adjust-splits",),
}


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes
    ----------
    kind
        A key of `ERRORS` or `WARNINGS`.
    message
        What is wrong, with the value.
    symbol, date
        Symbol and date (ISO), where the finding has one.
    place
        File and line or row, for prices that come from a file.
    """

    kind: str
    message: str
    symbol: str | None = None
    date: str | None = None
    place: str | None = None

    @property
    def is_error(self) -> bool:
        """True if this kind stops an import."""
        return self.kind in ERRORS

    def __str__(self) -> str:
        where = " ".join(part for part in (self.symbol, self.date) if part)
        before = ": ".join(part for part in (self.place, where) if part)
        return f"{before}: {self.message}" if before else self.message


@dataclass(frozen=True)
class Report:
    """All findings, in the order of the checks.

    Attributes
    ----------
    findings
        The findings.
    calendar
        The exchange calendar that sessions were checked against (a code of exchange_calendars), or None.
    allowed
        Kinds of errors that the user accepts.
    notes
        Facts about the prices that are no findings.
    """

    findings: tuple[Finding, ...]
    calendar: str | None = None
    allowed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings that stop an import."""
        return tuple(item for item in self.findings if item.is_error and item.kind not in self.allowed)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that are reported and do not stop an import."""
        return tuple(item for item in self.findings if not item.is_error or item.kind in self.allowed)

    def counts(self) -> dict[str, int]:
        """Return the number of findings by kind, errors first."""
        found = Counter(item.kind for item in self.findings)
        return {kind: found[kind] for kind in (*ERRORS, *WARNINGS) if found[kind]}

    def of_kind(self, kind: str) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(item for item in self.findings if item.kind == kind)

    def summary(self) -> dict[str, Any]:
        """Return calendar, counts by kind and accepted kinds, for a manifest."""
        return {"calendar": self.calendar, "counts": self.counts(), "allowed": list(self.allowed)}

    def rows(self) -> list[dict[str, Any]]:
        """Return one dictionary per finding, with its severity."""
        return [
            {**asdict(item), "severity": "error" if item.is_error else "warning"} for item in self.findings
        ]

    def to_frame(self) -> pd.DataFrame:
        """Return all findings as a frame with columns kind, severity, place, symbol, date, message."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=["kind", "severity", "place", "symbol", "date", "message"])

    def raise_errors(self, name: str, *, strict: bool = False) -> None:
        """Raise DataError with the first finding and the counts by kind, if any finding stops an import.

        Parameters
        ----------
        name
            Name of the prices.
        strict
            Warnings stop the import too.
        """
        stopping = self.findings if strict else self.errors
        stopping = tuple(item for item in stopping if item.kind not in self.allowed)
        if not stopping:
            return
        first = stopping[0]
        counts = Counter(item.kind for item in stopping)
        listed = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        raise DataError(f"{name}: {first} [{listed}]{_remedy(first.kind)}")


def _remedy(kind: str) -> str:
    options = [f"--repair {name}" for name in CURES.get(kind, ())]
    if kind in ALLOWABLE:
        options.append(f"--allow {kind}")
    return f"; to continue: {' or '.join(options)}" if options else ""
