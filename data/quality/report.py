"""What the data commands show: lines of a report, rows of the list, the answer of an import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from data.quality.findings import Report
    from data.quality.pipeline import ImportResult
    from data.snapshots.store import Snapshot, SnapshotStore

# Findings of one kind that are listed unless all are asked for; the snapshot keeps every one of them.
LISTED = 100


def entry(store: SnapshotStore, reference: str) -> dict[str, Any]:
    """What the list of snapshots says about one version (``NAME`` is the first), or why it cannot be read."""
    try:
        # By itself a name means its newest version, whose row is another one.
        manifest = store.open(reference if "@" in reference else f"{reference}@1").manifest
    except DataError as error:
        return {"reference": reference, "error": str(error)}
    return {
        "reference": reference,
        "start": manifest["start"],
        "end": manifest["end"],
        "sessions": manifest["sessions"],
        "symbols": len(manifest["symbols"]),
        "fields": manifest["fields"],
        "provider": manifest["provider"].get("name", "?"),
        "fetched_at": manifest["fetched_at"],
        "hash": manifest["hash"],
        "findings": manifest["validation"].get("counts", {}),
    }


def import_payload(snapshot: Snapshot, result: ImportResult) -> dict[str, Any]:
    """What an import or fetch gave, for JSON."""
    prices = result.prices
    return {
        "snapshot": snapshot.reference,
        "path": str(snapshot.path),
        "written": snapshot.written,
        "hash": prices.hash,
        "start": str(prices.dates[0].date()),
        "end": str(prices.dates[-1].date()),
        "sessions": len(prices.dates),
        "symbols": list(prices.symbols),
        "fields": list(prices.fields),
        "differences": list(snapshot.differences),
        "repairs": result.repairs,
        "validation": result.report.summary(),
        "findings": result.report.to_frame().to_dict("records"),
    }


def report_lines(report: Report, everything: bool, file: Path | None) -> Iterator[str]:
    """Give a report line by line; `file` is where all findings are kept, if anywhere."""
    from data.quality.findings import ERRORS, WARNINGS

    meanings = {**ERRORS, **WARNINGS}
    yield f"calendar {report.calendar or 'none'}; found: {counts_text(report.counts())}"
    for kind, count in report.counts().items():
        yield f"{'error' if kind in ERRORS else 'warning'} {kind}: {count} ({meanings[kind]})"
        shown = report.of_kind(kind) if everything else report.of_kind(kind)[:LISTED]
        for finding in shown:
            yield f"  {finding}"
        if len(shown) < count:
            where = f", all in {file}" if file is not None else ""
            yield f"  … and {count - len(shown)} more (--all lists them{where})"


def counts_text(counts: dict[str, int]) -> str:
    """Counts by kind in one line."""
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
