"""Daily prices from Yahoo Finance through yfinance: throttled, retried with back-off, resumable by symbol."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import parse_date
from data.providers.fetch_options import FetchHooks, FetchOptions
from data.quality.pipeline import CheckOptions, ImportResult, check_and_build
from data.quality.raw_table import RawTable, with_places
from data.snapshots.store import Snapshot, SnapshotStore, check_name
from equitrade.atomic import atomic_path, atomic_write

_ADJUSTMENT_NOTE = (
    "Yahoo's open, high, low, close and volume are adjusted for splits; adj_close for splits and dividends. "
    "A missing volume is 0."
)
_CHOSEN_NOTE = (
    "The symbols were chosen by hand on the day of the fetch, usually without companies that failed or were delisted "
    "before (survivorship bias)."
)


_ABANDONED_SECONDS = 86_400.0
# Rows of a symbol with columns date, symbol and fields, and its currency, zone and capital_gains.
_Fetched = tuple[pd.DataFrame, dict[str, Any]]


def fetch(
    name: str,
    options: FetchOptions,
    store: SnapshotStore,
    *,
    checks: CheckOptions | None = None,
    hooks: FetchHooks | None = None,
) -> tuple[Snapshot, ImportResult]:
    """Fetch symbols into a snapshot.

    Each symbol is stored as soon as it arrives. If a fetch is interrupted, the same call on the same day continues with
    the remaining symbols.

    Raises
    ------
    DataError
        If an option is wrong, a symbol has no prices, the server does not answer, or a finding stops the
        import. No snapshot is written then, and earlier ones are untouched.
    """
    check_name(name)
    world = hooks or FetchHooks()
    today = pd.Timestamp(world.now().date())
    request = _Request.of(options, today)
    staging = _Staging(store.directory / f".fetch-{name}-{request.key}")
    fetched, missing = _fetch_symbols(request, options, staging, world)
    if missing and (not options.skip_missing or len(missing) == len(request.symbols)):
        first, reason = next(iter(missing.items()))
        raise DataError(
            f"{name}: {len(missing)} of {len(request.symbols)} symbols have no prices: {first}: {reason} "
            f"({', '.join(missing)}); choose other symbols, or leave them out with --skip-missing"
        )
    result = _build(name, request, options, fetched, missing, checks or CheckOptions())
    snapshot = result.save(store, name)
    staging.remove()
    return snapshot, result


@dataclass(frozen=True)
class _Request:
    """The options that determine the prices."""

    symbols: tuple[str, ...]
    start: pd.Timestamp
    end: pd.Timestamp
    key: str

    @classmethod
    def of(cls, options: FetchOptions, today: pd.Timestamp) -> _Request:
        symbols = tuple(symbol.strip().upper() for symbol in options.symbols)
        if not symbols or not all(symbols):
            raise DataError("fetch: no symbol (write --symbols A,B)")
        if len(set(symbols)) < len(symbols):
            twice = next(symbol for symbol in symbols if symbols.count(symbol) > 1)
            raise DataError(f"fetch: symbol {twice} is named twice")
        start = parse_date(options.start, "start")
        latest = today - pd.Timedelta(days=1)
        end = latest if options.end is None else min(parse_date(options.end, "end"), latest)
        if start > end:
            raise DataError(f"fetch: start {start.date()} is after end {end.date()}")
        # Adjusted closes change from day to day, so only symbols fetched on one day fit together.
        text = json.dumps([str(start), str(end), str(today), options.base_url])
        return cls(symbols, start, end, hashlib.sha256(text.encode()).hexdigest()[:12])


class _Staging:
    """Folder of the symbols fetched so far: a Parquet and a JSON file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, symbol: str, fetched: _Fetched) -> None:
        """Store a symbol, so that an interrupted fetch does not request it again."""
        frame, facts = fetched
        try:
            with atomic_path(self._path(symbol, ".parquet")) as path:
                frame.to_parquet(path, index=False)
            atomic_write(self._path(symbol, ".json"), json.dumps(facts))
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(f"{self.folder}: {symbol} not stored: {reason}; nothing was changed") from error

    def get(self, symbol: str) -> _Fetched | None:
        """Return the rows of a symbol and its facts, or None if it is not stored."""
        try:
            # The JSON file is written last: if it exists, the rows exist.
            facts = json.loads(self._path(symbol, ".json").read_text(encoding="utf-8"))
            return pd.read_parquet(self._path(symbol, ".parquet")), facts
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove the folder, and older ones of fetches into the same snapshot."""
        shutil.rmtree(self.folder, ignore_errors=True)
        prefix = self.folder.name[: -len(self.folder.name.rsplit("-", 1)[1])]
        for folder in self.folder.parent.glob(f"{prefix}*"):
            old = time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS
            if old and len(folder.name) == len(self.folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def _path(self, symbol: str, suffix: str) -> Path:
        # Symbols may have characters that file systems do not allow (^GSPC, EURUSD=X, BTC/USD).
        plain = "".join(letter if letter.isalnum() else f"%{ord(letter):02x}" for letter in symbol)
        return self.folder / f"{plain}{suffix}"


def _fetch_symbols(
    request: _Request, options: FetchOptions, staging: _Staging, world: FetchHooks
) -> tuple[dict[str, _Fetched], dict[str, str]]:
    from data.providers.yahoo_client import NoPricesError, YahooClient

    client = YahooClient(options, world)
    fetched: dict[str, _Fetched] = {}
    missing: dict[str, str] = {}
    for number, symbol in enumerate(request.symbols, start=1):
        kept = staging.get(symbol)
        if kept is not None:
            fetched[symbol], outcome = kept, "already stored"
        else:
            try:
                answer = client.fetch(symbol, request.start, request.end)
            except NoPricesError as error:
                missing[symbol] = outcome = str(error)
            else:
                facts = {"currency": answer.currency, "zone": answer.zone}
                fetched[symbol] = answer.frame, {**facts, "capital_gains": answer.capital_gains}
                staging.put(symbol, fetched[symbol])
                outcome = f"{len(answer.frame)} sessions"
        world.on_progress(symbol, number, len(request.symbols), outcome)
    return fetched, missing


def _build(
    name: str,
    request: _Request,
    options: FetchOptions,
    fetched: dict[str, _Fetched],
    missing: dict[str, str],
    checks: CheckOptions,
) -> ImportResult:
    parts = []
    for symbol, (rows, facts) in fetched.items():
        # Yahoo sometimes adds the latest price, after the requested end.
        inside = (rows["date"] >= request.start) & (rows["date"] <= request.end)
        frame = rows[inside].reset_index(drop=True)
        frame["symbol"] = frame["symbol"].astype(object)
        placed = with_places(frame, symbol, np.arange(1, len(frame) + 1))
        parts.append(placed.assign(currency=facts["currency"]))
    table = pd.concat(parts, ignore_index=True)
    everything = {symbol: facts for symbol, (_, facts) in fetched.items()}
    source = _source(request, options, everything, missing)
    raw = RawTable(table, word="answer row")
    return check_and_build(raw, name, source, checks, _notes(everything, missing))


def _source(
    request: _Request, options: FetchOptions, facts: dict[str, dict[str, Any]], missing: dict[str, str]
) -> dict[str, Any]:
    pace = {
        key: value
        for key, value in asdict(options).items()
        if key not in ("symbols", "start", "end", "base_url")
    }
    return {
        "name": "yfinance",
        "version": version("yfinance"),
        "options": {
            "symbols": list(request.symbols),
            "start": str(request.start.date()),
            "end": str(request.end.date()),
            **pace,
        },
        "missing": missing,
        "currencies": {symbol: fact["currency"] for symbol, fact in facts.items()},
        "time_zones": {symbol: fact["zone"] for symbol, fact in facts.items()},
    }


def _notes(facts: dict[str, dict[str, Any]], missing: dict[str, str]) -> list[str]:
    notes = [_ADJUSTMENT_NOTE, _CHOSEN_NOTE]
    if missing:
        notes.append(f"Left out on request, without prices: {', '.join(missing)}.")
    zones = sorted({fact["zone"] for fact in facts.values()})
    if len(zones) > 1:
        notes.append(f"Closes of one date are not simultaneous: time zones {', '.join(zones)}.")
    gains = [symbol for symbol, fact in facts.items() if fact["capital_gains"]]
    if gains:
        notes.append(f"Capital-gains distributions are in adj_close only: {', '.join(gains)}.")
    return notes
