"""Output of the data commands: as JSON objects, and as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import DataError
from data.quality.findings import ERRORS, WARNINGS

if TYPE_CHECKING:
    from data.prices import Prices
    from data.quality.findings import Report
    from data.quality.pipeline import ImportResult
    from data.snapshots.store import Snapshot, SnapshotStore
    from data.snapshots.versions import VersionStore

# Findings of one kind that are listed unless all are asked for; the snapshot stores every one of them.
_LISTED = 100


def list_payload(store: SnapshotStore) -> list[dict[str, Any]]:
    """Return one object per version of each snapshot; a version that cannot be read has an ``error``."""
    return [_version_payload(store, reference) for reference in store.references()]


def _version_payload(store: SnapshotStore, reference: str) -> dict[str, Any]:
    try:
        # A name without a version means the newest one, which has a row of its own.
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


def signals_payload(store: VersionStore) -> list[dict[str, Any]]:
    """Return one object per version of the signals; a version that cannot be read has an ``error``."""
    rows: list[dict[str, Any]] = []
    for reference in store.references():
        try:
            manifest = store.open(reference if "@" in reference else f"{reference}@1").manifest
        except DataError as error:
            rows.append({"reference": reference, "error": str(error)})
            continue
        columns = ", ".join(f"{column} ({parity})" for column, parity in manifest["columns"].items())
        named = {"reference": reference, "columns": columns, "prices": manifest["prices"]["name"]}
        rows.append({**named, **{key: manifest[key] for key in ("start", "end", "hash", "lag", "carry")}})
    return rows


def prices_payload(name: str, prices: Prices, manifest: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return range, symbols, missing values, hash, notes and manifest of prices."""
    missing = {field: int(frame.isna().to_numpy().sum()) for field, frame in prices.fields.items()}
    return {
        "name": name,
        **prices.facts(),
        "missing": missing,
        "manifest": None if manifest is None else dict(manifest),
    }


def prices_lines(payload: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of `prices_payload`."""
    yield f"{payload['name']}: {payload['sessions']} sessions, {payload['start']} to {payload['end']}"
    yield f"symbols  {len(payload['symbols'])}: {', '.join(payload['symbols'])}"
    fields = (f"{field} ({gone} missing)" if gone else field for field, gone in payload["missing"].items())
    yield f"fields   {', '.join(fields)}"
    yield f"hash     {payload['hash']}"
    manifest = payload["manifest"]
    if manifest is not None:
        yield f"provider {manifest['provider'].get('name', '?')}, {manifest['fetched_at']}"
        yield f"checks   {_counts_text(manifest['validation'].get('counts', {}))}"
        yield from _repair_lines(manifest["repairs"])
        yield from (f"differs  {line}" for line in manifest["differences"])
    yield from (f"note     {note}" for note in payload["notes"])


def import_payload(snapshot: Snapshot, result: ImportResult) -> dict[str, Any]:
    """Return the result of an import or fetch."""
    return {
        "snapshot": snapshot.reference,
        "path": str(snapshot.path),
        "written": snapshot.written,
        **result.prices.facts(),
        "differences": list(snapshot.differences),
        "repairs": result.repairs,
        "ignored": _ignored_columns(result),
        "validation": result.report.summary(),
        "findings": result.report.rows(),
    }


def import_lines(snapshot: Snapshot, result: ImportResult, *, everything: bool) -> Iterator[str]:
    """Yield the lines of the result of an import or fetch, with every finding if asked for."""
    prices = result.prices
    file = snapshot.path / "findings.csv" if snapshot.written else None
    yield from report_lines(result.report, everything=everything, file=file)
    yield from _repair_lines(result.repairs)
    ignored = _ignored_columns(result)
    if ignored:
        yield f"ignored  {', '.join(ignored)}"
    yield from (f"note     {note}" for note in prices.notes)
    yield (
        f"{len(prices.dates)} sessions from {prices.dates[0].date()} to {prices.dates[-1].date()}, "
        f"{len(prices.symbols)} symbols, {', '.join(prices.fields)}"
    )
    if snapshot.written:
        yield f"snapshot {snapshot.reference} written to {snapshot.path}, hash {prices.hash[:12]}"
        yield from (f"differs  {line}" for line in snapshot.differences)
    else:
        yield f"snapshot {snapshot.reference} already has the same prices: nothing written"


def _ignored_columns(result: ImportResult) -> list[str]:
    """Return the columns of imported files that have no role."""
    return list(
        dict.fromkeys(column for file in result.source.get("files", ()) for column in file["ignored"])
    )


def report_payload(name: str, report: Report) -> dict[str, Any]:
    """Return calendar, counts and findings of a report."""
    return {"name": name, **report.summary(), "notes": list(report.notes), "findings": report.rows()}


def report_lines(report: Report, *, everything: bool, file: Path | None = None) -> Iterator[str]:
    """Yield the lines of a report, with every finding if asked for; `file` has all of them, if there is one."""
    meanings = {**ERRORS, **WARNINGS}
    yield f"calendar {report.calendar or 'none'}; found: {_counts_text(report.counts())}"
    for kind, count in report.counts().items():
        yield f"{'error' if kind in ERRORS else 'warning'} {kind}: {count} ({meanings[kind]})"
        shown = report.of_kind(kind) if everything else report.of_kind(kind)[:_LISTED]
        yield from (f"  {finding}" for finding in shown)
        if len(shown) < count:
            where = f", all in {file}" if file is not None else ""
            yield f"  … and {count - len(shown)} more (--all lists them{where})"
    yield from (f"note     {note}" for note in report.notes)


def _repair_lines(repairs: list[dict[str, Any]]) -> Iterator[str]:
    yield from (f"repaired {entry['repair']}: {entry['count']} changes" for entry in repairs)


def _counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing"
