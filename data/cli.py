"""Fetch, import, list, show and validate prices.

Everything heavy is imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data.quality import report as listing
from equitrade.console import working

if TYPE_CHECKING:
    from data.quality.findings import Report
    from data.quality.pipeline import CheckOptions, ImportResult
    from data.snapshots.store import Snapshot, SnapshotStore

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", help="Where all state lives (default: EQUITRADE_HOME or ./equitrade_home)."),
]
Everything = Annotated[bool, typer.Option("--all", help="List every finding, however many.")]
Calendar = Annotated[
    str, typer.Option(help="Exchange calendar to check sessions against: a code such as XNYS, auto, none.")
]
Repairs = Annotated[
    list[str] | None,
    typer.Option(
        "--repair",
        help="Repair this (repeatable), and write down what changed: drop-bad-rows, local-dates, sort, "
        "keep-first, keep-last, blank-bad-values, blank-high-low, drop-closed-days, adjust-splits.",
    ),
]
Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow", help="Accept this error (repeatable): mixed-currency, high-below-low."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse prices with warnings too.")]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help="FIELD=COLUMN where the name of a column does not tell (repeatable)."),
]
OneSymbol = Annotated[str | None, typer.Option(help="Symbol of files that have no symbol column.")]
DateFormat = Annotated[
    str | None, typer.Option(help="How dates are written, for example %d/%m/%Y, if that is not clear.")
]


@app.command("fetch")
def fetch_command(
    symbols: Annotated[str, typer.Option(help="Symbols, separated by commas, as the provider writes them.")],
    start: Annotated[str, typer.Option(help="First date, YYYY-MM-DD.")],
    name: Annotated[str, typer.Option(help="Name of the snapshot.")],
    end: Annotated[str | None, typer.Option(help="Last date (default and latest: yesterday).")] = None,
    provider: Annotated[str, typer.Option(help="Where from: yfinance.")] = "yfinance",
    pause: Annotated[float, typer.Option(help="Least seconds between two requests.", min=0)] = 0.5,
    attempts: Annotated[int, typer.Option(help="Tries a symbol.", min=1)] = 6,
    first_wait: Annotated[
        float, typer.Option(help="Seconds before the second try; doubled for each further one.", min=0)
    ] = 2.0,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Go on without symbols that have no prices.")
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(help="A server that speaks Yahoo's API, in place of Yahoo's.")
    ] = None,
    calendar: Calendar = "auto",
    repair: Repairs = None,
    allow: Allowed = None,
    strict: Strict = False,
    everything: Everything = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Download daily prices into a snapshot.

    A fetch that was stopped goes on where it was when it is started again on the same day.
    """
    from data.errors import DataError
    from data.providers.yahoo import FetchOptions, Surroundings, fetch
    from data.snapshots.store import SnapshotStore

    if provider != "yfinance":
        raise DataError(f"--provider: no provider '{provider}' (there is yfinance)")
    options = FetchOptions(
        symbols=tuple(symbols.split(",")),
        start=start,
        end=end,
        pause=pause,
        attempts=attempts,
        first_wait=first_wait,
        skip_missing=skip_missing,
        base_url=base_url,
    )
    checks = _checks(calendar, repair, allow, strict)
    with _progress(f"fetching {name}") as advance:
        snapshot, result = fetch(
            name,
            options,
            SnapshotStore(home),
            checks=checks,
            surroundings=Surroundings(on_progress=advance),
        )
    _print_import(snapshot, result, as_json, everything)


@app.command("import")
def import_command(
    files: Annotated[list[Path], typer.Argument(help="CSV or Parquet files, gzipped or not.")],
    name: Annotated[str, typer.Option(help="Name of the snapshot.")],
    mapping: Mapping = None,
    symbol: OneSymbol = None,
    date_format: DateFormat = None,
    calendar: Calendar = "auto",
    repair: Repairs = None,
    allow: Allowed = None,
    strict: Strict = False,
    everything: Everything = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Import prices from CSV or Parquet files.

    Tables may be wide (date × symbol) or long (date, symbol, open, high, low, close, adj_close, volume).
    """
    from data.readers.files import ReadOptions, read_prices
    from data.snapshots.store import SnapshotStore, check_name

    check_name(name)
    options = ReadOptions(_mapping(mapping), symbol, date_format)
    with working(f"reading {len(files)} file{'s' if len(files) > 1 else ''}"):
        checks = _checks(calendar, repair, allow, strict)
        result = read_prices(files, name=name, options=options, checks=checks)
        snapshot = result.save(SnapshotStore(home), name)
    _print_import(snapshot, result, as_json, everything)


@app.command("list")
def list_command(as_json: Json = False, home: Home = None) -> None:
    """List bundled datasets and snapshots."""
    from data.providers.bundled import bundled_names
    from data.snapshots.store import SnapshotStore

    store = SnapshotStore(home)
    rows = [listing.entry(store, reference) for reference in store.references()]
    if as_json:
        _print_json({"bundled": bundled_names(), "snapshots": rows, "directory": str(store.directory)})
        return
    typer.echo("Bundled")
    for name, description in bundled_names().items():
        typer.echo(f"  {name:<20} {description}")
    typer.echo(f"Snapshots in {store.directory}{'' if rows else ': none'}")
    for row in rows:
        if "error" in row:
            typer.echo(f"  {row['reference']:<20} {row['error']}")
            continue
        typer.echo(
            f"  {row['reference']:<20} {row['start']} to {row['end']}  {row['sessions']} sessions  "
            f"{row['symbols']} symbols  {row['provider']}  {row['hash'][:12]}"
        )


@app.command("show")
def show_command(
    name: Annotated[str, typer.Argument(help="Bundled dataset, snapshot (NAME or NAME@2) or file.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show range, symbols, hash and origin of prices."""
    from data.loading import load_prices
    from data.snapshots.store import SnapshotStore

    store = SnapshotStore(home)
    manifest = dict(store.open(name).manifest) if store.has(name) else None
    prices = load_prices(name, home=home)
    missing = {field: int(frame.isna().to_numpy().sum()) for field, frame in prices.fields.items()}
    payload = {
        "name": name,
        "start": str(prices.dates[0].date()),
        "end": str(prices.dates[-1].date()),
        "sessions": len(prices.dates),
        "symbols": list(prices.symbols),
        "fields": list(prices.fields),
        "missing": missing,
        "hash": prices.hash,
        "notes": list(prices.notes),
        "manifest": manifest,
    }
    if as_json:
        _print_json(payload)
        return
    typer.echo(f"{name}: {len(prices.dates)} sessions, {payload['start']} to {payload['end']}")
    typer.echo(f"symbols  {len(prices.symbols)}: {', '.join(prices.symbols)}")
    listed = ", ".join(f"{field} ({gone} missing)" if gone else field for field, gone in missing.items())
    typer.echo(f"fields   {listed}")
    typer.echo(f"hash     {prices.hash}")
    if manifest is not None:
        typer.echo(f"provider {manifest['provider'].get('name', '?')}, {manifest['fetched_at']}")
        counts = manifest["validation"].get("counts", {})
        typer.echo(f"checks   {listing.counts_text(counts)}")
        for repair in manifest["repairs"]:
            typer.echo(f"repaired {repair['repair']}: {repair['count']} changes")
        for line in manifest["differences"]:
            typer.echo(f"differs  {line}")
    for note in prices.notes:
        typer.echo(f"note     {note}")


@app.command("validate")
def validate_command(
    name: Annotated[str, typer.Argument(help="Bundled dataset, snapshot (NAME or NAME@2) or file.")],
    mapping: Mapping = None,
    symbol: OneSymbol = None,
    date_format: DateFormat = None,
    calendar: Calendar = "auto",
    everything: Everything = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Check prices and list what was found.

    Ends with code 2 if any finding would stop an import.
    """
    from data.snapshots.store import SnapshotStore

    with working(f"checking {name}"):
        report = _validated(name, SnapshotStore(home), _mapping(mapping), symbol, date_format, calendar)
    if as_json:
        findings = report.to_frame().to_dict("records")
        _print_json({"name": name, **report.summary(), "findings": findings})
    else:
        for line in listing.report_lines(report, everything, None):
            typer.echo(line)
    report.raise_errors(name)


@app.command("export")
def export_command(
    name: Annotated[str, typer.Argument(help="Bundled dataset, snapshot or file.")],
    path: Annotated[Path, typer.Argument(help="File to write: .csv, .csv.gz or .parquet.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Write prices as a long CSV or Parquet file."""
    from data.loading import load_prices
    from data.snapshots.export import export_prices

    rows = export_prices(load_prices(name, home=home), path)
    if as_json:
        _print_json({"name": name, "path": str(path), "rows": rows})
        return
    typer.echo(f"{rows} rows written to {path}")


def _validated(
    name: str,
    store: SnapshotStore,
    mapping: dict[str, str],
    symbol: str | None,
    date_format: str | None,
    calendar: str,
) -> Report:
    from data.loading import load_prices
    from data.providers.bundled import bundled_names
    from data.quality.checks import check_table, validate

    if name not in bundled_names() and not store.has(name) and Path(name).is_file():
        from data.readers.files import ReadOptions, read_table

        table, _ = read_table([name], ReadOptions(mapping, symbol, date_format))
        return check_table(table, calendar=calendar)
    return validate(load_prices(name, home=store.directory.parent), calendar=calendar)


def _checks(
    calendar: str, repair: Sequence[str] | None, allow: Sequence[str] | None, strict: bool
) -> CheckOptions:
    from data.quality.pipeline import CheckOptions

    return CheckOptions(calendar, tuple(repair or ()), tuple(allow or ()), strict)


def _mapping(entries: Sequence[str] | None) -> dict[str, str]:
    from data.errors import DataError

    mapping = {}
    for entry in entries or ():
        field, found, column = entry.partition("=")
        if not found or not field or not column:
            raise DataError(f"--map {entry}: write FIELD=COLUMN, for example --map close='Last Price'")
        mapping[field.strip()] = column
    return mapping


def _print_import(snapshot: Snapshot, result: ImportResult, as_json: bool, everything: bool) -> None:
    prices = result.prices
    if as_json:
        _print_json(listing.import_payload(snapshot, result))
        return
    file = snapshot.path / "findings.csv" if snapshot.written else None
    for line in listing.report_lines(result.report, everything, file):
        typer.echo(line)
    for repair in result.repairs:
        typer.echo(f"repaired {repair['repair']}: {repair['count']} changes")
    fields = ", ".join(prices.fields)
    typer.echo(
        f"{len(prices.dates)} sessions from {prices.dates[0].date()} to {prices.dates[-1].date()}, "
        f"{len(prices.symbols)} symbols, {fields}"
    )
    if snapshot.written:
        typer.echo(f"snapshot {snapshot.reference} written to {snapshot.path}, hash {prices.hash[:12]}")
        for line in snapshot.differences:
            typer.echo(f"differs  {line}")
    else:
        typer.echo(f"snapshot {snapshot.reference} holds the same prices already: nothing written")


def _print_json(payload: dict[str, Any]) -> None:
    typer.echo(json.dumps(payload, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)


@contextmanager
def _progress(text: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=None)

        def advance(symbol: str, done: int, total: int, outcome: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{text}: {symbol}, {outcome}")

        yield advance
