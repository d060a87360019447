"""Fetch, import, list, show and validate prices.

The commands import heavy modules when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data.errors import check_choices
from data.quality.findings import ALLOWABLE, REPAIRS_BY_KIND
from data.signals.options import REPAIRS as SIGNAL_REPAIRS
from equitrade.console import HomeOption, JsonOption, show, text_table, working

if TYPE_CHECKING:
    from data.quality.pipeline import ImportResult
    from data.snapshots.store import Snapshot

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_REPAIRS = ", ".join(dict.fromkeys(name for repairs in REPAIRS_BY_KIND.values() for name in repairs))
Name = Annotated[str, typer.Argument(help="Bundled dataset, snapshot (NAME or NAME@2) or file.")]
SnapshotName = Annotated[str, typer.Option("--name", help="Name of the snapshot.")]
Everything = Annotated[bool, typer.Option("--all", help="List every finding, however many.")]
Calendar = Annotated[
    str, typer.Option(help="Exchange calendar to check sessions against: a code such as XNYS, auto, none.")
]
Repairs = Annotated[
    list[str] | None,
    typer.Option("--repair", help=f"Repair this and record the changes (repeatable): {_REPAIRS}."),
]
Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow", help=f"Accept this kind of finding (repeatable): {', '.join(ALLOWABLE)}."),
]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse prices with warnings too.")]
Mapping = Annotated[
    list[str] | None,
    typer.Option("--map", help="FIELD=COLUMN for a column whose name is not recognised (repeatable)."),
]
OneSymbol = Annotated[str | None, typer.Option(help="Symbol of files that have no symbol column.")]
DateFormat = Annotated[
    str | None, typer.Option(help="Format of the dates, for example %d/%m/%Y, where it is not clear.")
]
Decimal = Annotated[
    str | None, typer.Option(help="Decimal mark of the numbers, '.' or ',', where it is not clear.")
]
Closes = Annotated[
    str,
    typer.Option(help="Closes are raw (as traded) or adjusted (for splits and dividends); auto finds out."),
]
Sheet = Annotated[str | None, typer.Option(help="Sheet of an Excel workbook, where several have prices.")]
SkipRows = Annotated[
    int | None,
    typer.Option(help="Lines above the line that names the columns, where it is not found.", min=0),
]
Zone = Annotated[
    str | None,
    typer.Option(help="Time zone whose days date the rows, for stamps in UTC, for example Asia/Tokyo."),
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", help="Column or symbol to leave out (repeatable).")
]
TableLayout = Annotated[
    str, typer.Option("--layout", help="wide (a column per symbol), long (a column per field) or auto.")
]


@app.command("fetch")
def fetch_command(
    symbols: Annotated[str, typer.Option(help="Symbols, separated by commas, as the provider writes them.")],
    start: Annotated[str, typer.Option(help="First date, YYYY-MM-DD.")],
    name: SnapshotName,
    end: Annotated[str | None, typer.Option(help="Last date (default and latest: yesterday).")] = None,
    provider: Annotated[str, typer.Option(help="Source of the prices: yfinance.")] = "yfinance",
    pause: Annotated[float, typer.Option(help="Least seconds between two requests.", min=0)] = 0.5,
    attempts: Annotated[int, typer.Option(help="Attempts per symbol.", min=1)] = 6,
    first_wait: Annotated[
        float, typer.Option(help="Seconds before the second attempt; doubled for each further one.", min=0)
    ] = 2.0,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out symbols that have no prices.")
    ] = False,
    base_url: Annotated[
        str | None, typer.Option(help="Address of a server with Yahoo's API, instead of Yahoo's.")
    ] = None,
    calendar: Calendar = "auto",
    repair: Repairs = None,
    allow: Allowed = None,
    strict: Strict = False,
    everything: Everything = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Download daily prices into a snapshot.

    An interrupted fetch continues when it is started again on the same day.
    """
    from data.providers.fetch_options import FetchHooks, FetchOptions
    from data.providers.yahoo import fetch
    from data.quality.pipeline import CheckOptions
    from data.snapshots.store import SnapshotStore

    check_choices([provider], ("yfinance",), "--provider")
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
    checks = CheckOptions(calendar, tuple(repair or ()), tuple(allow or ()), strict)
    with _progress(f"fetching {name}") as advance:
        hooks = FetchHooks(on_progress=advance)
        snapshot, result = fetch(name, options, SnapshotStore(home), checks=checks, hooks=hooks)
    _print_import(snapshot, result, as_json=as_json, everything=everything)


@app.command("import")
def import_command(
    files: Annotated[
        list[Path], typer.Argument(help="CSV (gzipped or not), Parquet or Excel (.xlsx) files.")
    ],
    name: SnapshotName,
    mapping: Mapping = None,
    symbol: OneSymbol = None,
    date_format: DateFormat = None,
    decimal: Decimal = None,
    layout: TableLayout = "auto",
    closes: Closes = "auto",
    sheet: Sheet = None,
    skip_rows: SkipRows = None,
    zone: Zone = None,
    exclude: Exclude = None,
    calendar: Calendar = "auto",
    repair: Repairs = None,
    allow: Allowed = None,
    strict: Strict = False,
    everything: Everything = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Import prices from CSV, Parquet or Excel files.

    Tables may be wide (date × symbol) or long (date, symbol, open, high, low, close, adj_close, volume).
    """
    from data.quality.pipeline import CheckOptions
    from data.readers.columns import parse_mapping
    from data.readers.files import ReadOptions, read_prices
    from data.snapshots.store import SnapshotStore, check_name

    check_name(name)
    options = ReadOptions(
        parse_mapping(mapping or ()),
        symbol,
        date_format,
        decimal,
        layout,
        closes,
        sheet,
        skip_rows,
        zone,
        tuple(exclude or ()),
    )
    checks = CheckOptions(calendar, tuple(repair or ()), tuple(allow or ()), strict)
    with working(f"reading {len(files)} file{'s' if len(files) > 1 else ''}"):
        result = read_prices(files, name=name, options=options, checks=checks)
        snapshot = result.save(SnapshotStore(home), name)
    _print_import(snapshot, result, as_json=as_json, everything=everything)


@app.command("import-signals")
def import_signals_command(
    files: Annotated[
        list[Path], typer.Argument(help="CSV (gzipped or not), Parquet or Excel (.xlsx) files.")
    ],
    prices: Annotated[str, typer.Option(help="Prices that the signals belong to.")],
    odd: Annotated[
        str, typer.Option(help="Columns that change sign when all returns do, such as a forecast.")
    ] = "",
    even: Annotated[str, typer.Option(help="Columns that do not, such as a volatility.")] = "",
    lag: Annotated[
        int, typer.Option(help="Sessions from a stamp to the first decision that may use the value.")
    ] = 1,
    carry: Annotated[int, typer.Option(help="Sessions that a value is used for without a newer one.")] = 5,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the signals; that of the first file by default.")
    ] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(
            "--map", help="date=COLUMN or symbol=COLUMN where the name is not recognised (repeatable)."
        ),
    ] = None,
    date_format: DateFormat = None,
    decimal: Decimal = None,
    sheet: Sheet = None,
    skip_rows: SkipRows = None,
    repair: Annotated[
        list[str] | None,
        typer.Option(
            "--repair",
            help=f"Repair and record the changes (repeatable): {', '.join(SIGNAL_REPAIRS)}.",
        ),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Import signals of one's own, which agents see beside the features of prices.

    A table is long (date, symbol and a column per signal), or wide (date × symbol) with one signal or with columns of
    two levels (signal, symbol).
    """
    from data.loading import load_prices
    from data.readers.columns import parse_mapping
    from data.signals.files import read_signals, signal_lines
    from data.signals.options import SignalOptions
    from data.signals.store import SignalStore

    options = SignalOptions(
        _names(odd),
        _names(even),
        lag,
        carry,
        parse_mapping(mapping or ()),
        date_format,
        decimal,
        sheet,
        skip_rows,
        tuple(repair or ()),
    )
    with working(f"reading {len(files)} file{'s' if len(files) > 1 else ''}"):
        found = read_signals(files, load_prices(prices, home=home), options, name=name)
        snapshot = SignalStore(home).save(found.signals, found.details)
    record = {"snapshot": snapshot.reference, "path": str(snapshot.path), "written": snapshot.written}
    content = {**record, **found.signals.record(), "version": snapshot.version, **found.details}
    lines = list(signal_lines(found.details, found.signals))
    if snapshot.written:
        written = f"signals {snapshot.reference} written to {snapshot.path}, hash {found.signals.hash[:12]}"
        lines += [written, *(f"differs  {line}" for line in snapshot.differences)]
    else:
        lines.append(f"signals {snapshot.reference} already have the same values: nothing written")
    show(as_json, content, lines)


@app.command("planted")
def planted_command(
    name: Annotated[str, typer.Argument(help="Name of the prices and of their signal.")],
    assets: Annotated[int, typer.Option(help="Number of assets.")] = 20,
    sessions: Annotated[int, typer.Option(help="Number of sessions.")] = 2520,
    r2: Annotated[
        float, typer.Option(help="Share of a daily return's variance that the signal explains.")
    ] = 0.005,
    half_life: Annotated[float, typer.Option(help="Sessions after which half of a signal is left.")] = 5.0,
    heterogeneity: Annotated[
        float, typer.Option(help="Difference of the assets: 0 (can be exchanged) to 1.")
    ] = 0.0,
    drift: Annotated[
        float, typer.Option(help="Mean return of every asset in a year; 0 keeps the mirror.")
    ] = 0.0,
    volatility: Annotated[float, typer.Option(help="Yearly volatility of the assets.")] = 0.25,
    sectors: Annotated[int, typer.Option(help="Number of sectors.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of all random numbers.")] = 0,
    start: Annotated[str, typer.Option(help="First date, YYYY-MM-DD.")] = "2005-01-03",
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Simulate prices with a planted signal, and store both.

    Train and backtest on them with --data NAME --signals NAME. Equal options give equal prices.
    """
    from data.providers.planted import PanelConfig, save_planted

    config = PanelConfig(
        assets, sessions, r2, half_life, heterogeneity, drift, volatility, sectors, seed, start
    )
    with working(f"simulating {name}"):
        prices, signals = save_planted(name, config, home)
    content = {
        "prices": prices.reference,
        "signals": signals.reference,
        "planted": signals.manifest["planted"],
    }
    lines = [
        f"prices   {prices.reference} in {prices.path}",
        f"signals  {signals.reference} in {signals.path}",
    ]
    show(as_json, content, lines)


@app.command("list")
def list_command(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List bundled datasets, snapshots and signals."""
    from data.providers.bundled import bundled_names
    from data.quality.report import list_payload, signals_payload
    from data.signals.store import SignalStore
    from data.snapshots.store import SnapshotStore

    store = SnapshotStore(home)
    rows, signals = list_payload(store), signals_payload(SignalStore(home))
    lines = text_table(("bundled dataset", "contents"), list(bundled_names().items()), "")
    columns = ("snapshot", "start", "end", "sessions", "symbols", "provider", "hash")
    keys = ("reference", "start", "end", "sessions", "symbols", "provider")
    good = [(*(str(row[key]) for key in keys), row["hash"][:12]) for row in rows if "error" not in row]
    lines += ["", *text_table(columns, good, f"no snapshots in {store.directory}")]
    if signals:
        heads = ("signals", "start", "end", "columns", "prices", "hash")
        sound = [row for row in signals if "error" not in row]
        cells = [tuple(str(row[key]) for key in ("reference", *heads[1:-1])) for row in sound]
        lines += [
            "",
            *text_table(heads, [(*c, row["hash"][:12]) for c, row in zip(cells, sound, strict=True)], ""),
        ]
    lines += [f"{row['reference']}: {row['error']}" for row in (*rows, *signals) if "error" in row]
    content = {"bundled": bundled_names(), "snapshots": rows, "signals": signals}
    show(as_json, {**content, "directory": str(store.directory)}, lines)


@app.command("show")
def show_command(name: Name, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """Show range, symbols, hash and source of prices."""
    from data.loading import load_prices
    from data.quality.report import prices_lines, prices_payload
    from data.snapshots.store import SnapshotStore

    store = SnapshotStore(home)
    manifest = store.open(name).manifest if store.has(name) else None
    payload = prices_payload(name, load_prices(name, home=home), manifest)
    show(as_json, payload, prices_lines(payload))


@app.command("validate")
def validate_command(
    name: Name,
    mapping: Mapping = None,
    symbol: OneSymbol = None,
    date_format: DateFormat = None,
    decimal: Decimal = None,
    layout: TableLayout = "auto",
    closes: Closes = "auto",
    sheet: Sheet = None,
    skip_rows: SkipRows = None,
    zone: Zone = None,
    exclude: Exclude = None,
    calendar: Calendar = "auto",
    everything: Everything = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Check prices and list the findings.

    The exit code is 2 if any finding would stop an import.
    """
    from data.loading import validate_named
    from data.quality.pipeline import CheckOptions
    from data.quality.report import report_lines, report_payload
    from data.readers.columns import parse_mapping
    from data.readers.files import ReadOptions, read_prices

    options = ReadOptions(
        parse_mapping(mapping or ()),
        symbol,
        date_format,
        decimal,
        layout,
        closes,
        sheet,
        skip_rows,
        zone,
        tuple(exclude or ()),
    )
    with working(f"checking {name}"):
        report = validate_named(name, home=home, options=options, calendar=calendar)
    show(as_json, report_payload(name, report), report_lines(report, everything=everything))
    if report.errors and Path(name).is_file():
        # Refused like the import, with the options that mend the file.
        read_prices([name], options=options, checks=CheckOptions(calendar))
    report.raise_errors(name)


@app.command("export")
def export_command(
    name: Name,
    path: Annotated[Path, typer.Argument(help="File to write: .csv, .csv.gz or .parquet.")],
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Write prices as a long CSV or Parquet file."""
    from data.loading import load_prices
    from data.snapshots.export import export_prices

    rows = export_prices(load_prices(name, home=home), path)
    show(as_json, {"name": name, "path": str(path), "rows": rows}, [f"{rows} rows written to {path}"])


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _print_import(snapshot: Snapshot, result: ImportResult, *, as_json: bool, everything: bool) -> None:
    from data.quality.report import import_lines, import_payload

    show(as_json, import_payload(snapshot, result), import_lines(snapshot, result, everything=everything))


@contextmanager
def _progress(label: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(label, total=None)

        def advance(symbol: str, done: int, total: int, outcome: str) -> None:
            progress.update(task, completed=done, total=total, description=f"{label}: {symbol}, {outcome}")

        yield advance
