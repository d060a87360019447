"""Import pipeline: requested repairs, checks, and the panel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from data.errors import DataError
from data.prices import Prices
from data.quality.adjustment import add_adjusted_closes
from data.quality.advice import Option, Refusal, advised
from data.quality.bars import describe_aggregation
from data.quality.checks import check_table, oldest_first
from data.quality.findings import Report
from data.quality.raw_table import RawTable
from data.quality.repairs import apply_repairs
from data.snapshots.store import Snapshot, SnapshotStore

_JUMP_NOTES = {
    "spike": "Spikes, prices that are far off and return within a few sessions",
    "split-jump": "Jumps that look like splits which prices were not adjusted for",
    "large-move": "Moves far beyond the usual ones, crashes or errors",
}


@dataclass(frozen=True)
class CheckOptions:
    """Options of checks and repairs.

    `calendar` is a code of exchange_calendars, ``auto`` for the best match or ``none`` for no check of sessions;
    `repair` names some of `data.quality.repairs.REPAIRS`, `allow` kinds of `data.quality.findings.ALLOWABLE`; `strict`
    refuses warnings too.
    """

    calendar: str = "auto"
    repair: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    strict: bool = False

    def added(self, options: Sequence[Option]) -> CheckOptions:
        """Return the options with further ``--repair`` and ``--allow``."""
        values = {flag: tuple(value for name, value in options if name == flag) for flag, _ in options}
        return replace(
            self,
            repair=(*self.repair, *values.get("--repair", ())),
            allow=(*self.allow, *values.get("--allow", ())),
        )


@dataclass(frozen=True)
class ImportResult:
    """Prices of an import, the findings after repairs, the repairs with their changes, and the provider's options."""

    prices: Prices
    report: Report
    repairs: list[dict[str, Any]] = field(default_factory=list)
    source: dict[str, Any] = field(default_factory=dict)

    def save(self, store: SnapshotStore, name: str) -> Snapshot:
        """Save the prices with their report as a new version of snapshot `name`."""
        return store.save(
            self.prices,
            name,
            provider=self.source,
            validation=self.report.summary(),
            repairs=self.repairs,
            findings=self.report.to_frame(),
        )


def check_and_build(
    table: RawTable,
    name: str,
    source: dict[str, Any],
    options: CheckOptions,
    notes: Sequence[str] = (),
) -> ImportResult:
    """Apply the requested repairs, check the result and make a panel.

    Raises `DataError` if a finding stops the import, or an option is unknown. The message has the first finding of each
    kind with its row, and the repairs that mend all.
    """
    try:
        return build(table, name, source, options, notes)
    except Refusal as refusal:
        raise advised(
            refusal, lambda more: build(table, name, source, options.added(more), notes), "fetch"
        ) from None


def build(
    table: RawTable, name: str, source: dict[str, Any], options: CheckOptions, notes: Iterable[str] = ()
) -> ImportResult:
    """Do what `check_and_build` does, and raise `Refusal` without advice if a finding stops the import."""
    order = table.frame["symbol"].unique().tolist()
    read, table = table, oldest_first(table)
    direction = "oldest first" if table is read else "newest first"
    table, repairs = apply_repairs(table, options.repair, calendar=options.calendar)
    table, return_notes = add_adjusted_closes(table)
    report = check_table(table, calendar=options.calendar, allow=options.allow)
    refusal = report.refusal(name, strict=options.strict)
    if refusal is not None:
        raise refusal
    if table.frame.empty:
        raise DataError(f"{name}: no rows are left")
    table, volume_notes = _without_empty_volumes(table)
    left = set(table.frame["symbol"].unique())
    prices = Prices.from_long(
        table.frame[["date", "symbol", *table.fields]],
        name,
        symbols=[symbol for symbol in order if symbol in left],
        notes=[*notes, *return_notes, *volume_notes, *_notes(repairs, report, table)],
    )
    return ImportResult(prices, report, repairs, {**source, "order": direction})


def _without_empty_volumes(table: RawTable) -> tuple[RawTable, list[str]]:
    """Return the table with unknown volumes where a symbol's volume is 0 throughout, as some sources write it."""
    if "volume" not in table.fields:
        return table, []
    frame = table.frame
    traded = (frame["volume"] > 0).groupby(frame["symbol"]).transform("any")
    empty = ~traded & frame["volume"].notna()
    if not empty.any():
        return table, []
    volume = frame["volume"].mask(empty)
    frame = frame.assign(volume=volume) if volume.notna().any() else frame.drop(columns="volume")
    symbols = ", ".join(frame.loc[empty, "symbol"].unique())
    return replace(table, frame=frame), [f"Volumes that are 0 throughout count as unknown: {symbols}."]


def _notes(repairs: list[dict[str, Any]], report: Report, table: RawTable) -> list[str]:
    notes = [f"Repaired on request: {entry['repair']} ({entry['count']} changes)." for entry in repairs]
    if any(entry["repair"] == "aggregate-days" and entry["count"] for entry in repairs):
        notes.append(f"Daily bars are joined from intraday bars: {describe_aggregation(table)}.")
    if report.allowed:
        notes.append(f"Accepted on request: {', '.join(report.allowed)}.")
    for kind, text in _JUMP_NOTES.items():
        count = report.counts().get(kind, 0)
        if count:
            notes.append(f"{text}: {count}.")
    return notes
