"""Findings of the validation of prices, each with its row, symbol and date, and the report that lists them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from data.quality.advice import Refusal, Step

if TYPE_CHECKING:
    import pandas as pd

#: Kinds of findings that stop an import, with their meaning.
ERRORS: dict[str, str] = {
    "truncated-row": "a row has too few or too many columns",
    "ambiguous-date": "dates may have the day or the month first",
    "mixed-date-formats": "dates are in two formats: a spreadsheet may have exchanged day and month",
    "exchanged-dates": "day and month are exchanged in dates up to day 12",
    "shifted-dates": "dates are a day off: stamps are by the clock of another time zone",
    "ambiguous-number": "numbers may have decimal marks or separators of thousands",
    "unreadable-date": "a date cannot be read",
    "unreadable-value": "a value is not a number",
    "unreadable-column": "most values of a column are no numbers",
    "missing-symbol": "a row names no symbol",
    "not-a-price": "a column is a rate, a return, a counter or a part of the date",
    "returns": "values are returns, no prices",
    "relatives": "values are price relatives, no prices",
    "weights": "values are weights, no prices",
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
# Errors that are accepted only if they are none: the message says when, and no advice proposes it.
_NOT_ADVISED = ("shifted-dates", "not-a-price", "relatives", "weights")
#: Findings that a user may accept: some errors, and all that a strict import refuses. With the other errors the prices
#: would have no meaning.
ALLOWABLE = ("mixed-currency", "high-below-low", *_NOT_ADVISED, *WARNINGS)
#: Kind of finding → repairs that remove it; see `data.quality.repairs.REPAIRS`.
REPAIRS_BY_KIND: dict[str, tuple[str, ...]] = {
    "truncated-row": ("drop-bad-rows",),
    "unreadable-date": ("drop-bad-rows",),
    "unreadable-value": ("drop-bad-rows",),
    "missing-symbol": ("drop-bad-rows",),
    "exchanged-dates": ("swap-day-month",),
    "mixed-time-zones": ("local-dates",),
    "returns": ("chain-returns", "chain-percent"),
    "relatives": ("chain-relatives",),
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
    """One finding, of a kind of `ERRORS` or `WARNINGS`, with its symbol, date (ISO) and place in a file, where known.

    `advice` are options of which the user has to choose one, where no repair in `REPAIRS_BY_KIND` settles it.
    """

    kind: str
    message: str
    symbol: str | None = None
    date: str | None = None
    place: str | None = None
    advice: Step = ()

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
    """All findings, in the order of the checks, and notes: facts about the prices that are no findings.

    `calendar` is the code of the exchange that sessions were checked against, or None; `allowed` are kinds of findings
    that the user accepts.
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
        rows = []
        for item in self.findings:
            row = asdict(item) | {"severity": "error" if item.is_error else "warning"}
            del row["advice"]
            rows.append(row)
        return rows

    def to_frame(self) -> pd.DataFrame:
        """Return all findings as a frame with columns kind, severity, place, symbol, date, message."""
        import pandas as pd

        return pd.DataFrame(self.rows(), columns=["kind", "severity", "place", "symbol", "date", "message"])

    def refusal(self, name: str, *, strict: bool = False) -> Refusal | None:
        """Return the refusal of an import with the first finding of each kind that stops it (strict: warnings too)."""
        stopping = [
            item for item in self.findings if (strict or item.is_error) and item.kind not in self.allowed
        ]
        if not stopping:
            return None
        first = {item.kind: str(item) for item in reversed(stopping)}
        counts = Counter(item.kind for item in stopping)
        listed = ", ".join(f"{number} {kind}" for kind, number in counts.items())
        reasons = "; ".join(first[kind] for kind in counts)
        questions = dict.fromkeys(item.advice for item in stopping if item.advice)
        steps = dict.fromkeys(_step(item.kind) for item in stopping if not item.advice)
        # What nothing mends is not mended by mending the rest.
        repairs = () if () in steps and not questions else tuple(steps)
        return Refusal(f"{name}: {reasons} [{listed}]", tuple(questions), repairs)

    def raise_errors(self, name: str) -> None:
        """Raise DataError with the findings that stop an import, if there are any."""
        refusal = self.refusal(name)
        if refusal is not None:
            raise refusal


def _step(kind: str) -> Step:
    repairs = tuple(("--repair", name) for name in REPAIRS_BY_KIND.get(kind, ()))
    return (*repairs, ("--allow", kind)) if kind in ALLOWABLE and kind not in _NOT_ADVISED else repairs
