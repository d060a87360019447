"""Real prices that installed packages, or equitrade itself, ship: no download, no account, no network."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from data.errors import check_choices
from data.prices import Prices
from data.providers.french import industry_prices
from data.quality.checks import validate
from data.quality.findings import ERRORS, WARNINGS
from data.snapshots.coverage import missing_sessions, symbol_dates
from data.snapshots.store import home_directory
from equitrade.atomic import atomic_write
from equitrade.machine import package_versions

# Packages that ship the prices, or that decide what the checks find in them.
_SOURCES = ("equitrade", "skfolio", "arch", "exchange_calendars")
# Form of the stored manifests: to be raised with every change of their members.
_FORMAT = "2"

SURVIVORSHIP_NOTE = (
    "Survivor-biased: these 20 constituents were chosen with hindsight among companies that were still "
    "listed in 2022. Returns of any strategy on them, passive ones included, overstate what could have been "
    "earned."
)
_ADJUSTED_NOTE = (
    "Closes are adjusted for splits and dividends (total return) and rounded to 0.001; there are no opens or "
    "volumes. Early prices of some symbols are below 1: there rounding alone moves them by parts of a "
    "percent."
)
_FACTORS_NOTE = (
    "Closes are adjusted for splits and dividends (total return); there are no opens or volumes. "
    "Nine years of five funds are a short history: intervals are wide."
)
_INDEX_NOTE = (
    "A price index: dividends are not in it, and it cannot itself be traded. Opens up to the middle "
    "of 2006 mostly repeat the previous close, so that fills at the open are not realistic there."
)


def _sp500_20() -> Prices:
    from skfolio.datasets import load_sp500_dataset

    return Prices.from_frames(
        "sp500-20", close=load_sp500_dataset(), notes=(SURVIVORSHIP_NOTE, _ADJUSTED_NOTE)
    )


def _factors_5() -> Prices:
    from skfolio.datasets import load_factors_dataset

    return Prices.from_frames("factors-5", close=load_factors_dataset(), notes=(_FACTORS_NOTE,))


def _sp500_index_ohlc() -> Prices:
    from arch.data import sp500

    table = sp500.load()

    def column(name: str) -> pd.DataFrame:
        frame: pd.DataFrame = table[[name]].set_axis(["SP500"], axis=1)
        return frame

    return Prices.from_frames(
        "sp500-index-ohlc",
        open=column("Open"),
        high=column("High"),
        low=column("Low"),
        close=column("Close"),
        adj_close=column("Adj Close"),
        volume=column("Volume"),
        notes=(_INDEX_NOTE,),
    )


_LOADERS: dict[str, tuple[Callable[[], Prices], str]] = {
    "sp500-20": (_sp500_20, "20 S&P 500 constituents, daily adjusted closes 1990-2022 (from skfolio)"),
    "factors-5": (_factors_5, "five factor ETFs, daily adjusted closes 2014-2022 (from skfolio)"),
    "sp500-index-ohlc": (_sp500_index_ohlc, "S&P 500 index, daily open to close 1999-2018 (from arch)"),
    "industries": (
        industry_prices,
        "30 US portfolios: 12 industries, 18 by size, value or momentum, monthly 1949-2017 (from linearmodels)",
    ),
}


def bundled_names() -> dict[str, str]:
    """Return the names of the bundled datasets, with a description of each."""
    return {name: description for name, (_, description) in _LOADERS.items()}


def load_bundled(name: str) -> Prices:
    """Load a bundled dataset. Raises `DataError` if there is no dataset of this name."""
    check_choices([name], _LOADERS, "bundled dataset")
    return _LOADERS[name][0]()


def bundled_manifest(name: str, home: Path | None = None) -> dict[str, Any]:
    """Return the manifest of a bundled dataset, with all findings and missing sessions.

    Loading and checking takes seconds, so the manifest is stored in ``<home>/cache/`` and read from there until an
    installed package or the kinds of findings change. It has the members of a snapshot's manifest; ``findings`` (rows
    of `Report.to_frame`); ``gaps`` and ``symbol_dates`` (rows of `missing_sessions` and `symbol_dates`).

    Raises `DataError` if there is no dataset of this name.
    """
    file = (home if home is not None else home_directory()) / "cache" / f"{name}.json"
    sources = {**package_versions(_SOURCES), "findings": ", ".join((*ERRORS, *WARNINGS)), "format": _FORMAT}
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(file.read_text(encoding="utf-8"))
        manifest: dict[str, Any] = stored["manifest"]
        if stored["sources"] == sources and isinstance(manifest, dict):
            return manifest
    manifest = _manifest(name)
    with suppress(OSError):  # a read-only home: computed again by the next process
        atomic_write(file, json.dumps({"sources": sources, "manifest": manifest}, indent=1))
    return manifest


@cache
def _manifest(name: str) -> dict[str, Any]:
    prices = load_bundled(name)
    report = validate(prices)
    return {
        "name": name,
        "description": bundled_names()[name],
        "provider": {"name": "bundled"},
        **prices.facts(),
        "validation": report.summary(),
        "repairs": [],
        "differences": [],
        "findings": _rows(report.to_frame(), "records"),
        "gaps": _rows(missing_sessions(prices, report.calendar), "values"),
        "symbol_dates": _rows(symbol_dates(prices), "values"),
    }


def _rows(frame: pd.DataFrame, orient: Literal["records", "values"]) -> list[Any]:
    """Return the rows of a table as JSON has them, with dates as ``YYYY-MM-DD``."""
    dates = frame.select_dtypes("datetime")
    text = frame.assign(**{str(name): dates[name].dt.strftime("%Y-%m-%d") for name in dates})
    rows: list[Any] = json.loads(text.to_json(orient=orient))
    return rows
