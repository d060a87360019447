"""What is known of the bundled datasets without loading them: dates, symbols, hash, findings, gaps.

They never change, so ``bundled_facts.json`` beside this file holds what `measure_facts` found; a test measures again
and compares. ``python -m data.providers.bundled_facts`` writes the file.
"""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from data.errors import DataError

_FILE = Path(__file__).with_name("bundled_facts.json")


def bundled_facts(name: str) -> dict[str, Any]:
    """Facts of a bundled dataset; the members are those of a snapshot's manifest, with all findings and gaps.

    Raises
    ------
    DataError
        If there is no dataset of this name.
    """
    facts = _facts()
    if name not in facts:
        raise DataError(f"no bundled dataset '{name}' (there are {', '.join(facts)})")
    return facts[name]


def measure_facts(name: str) -> dict[str, Any]:
    """Load and check a bundled dataset, and give its facts."""
    from data.providers.bundled import bundled_names, load_bundled
    from data.quality.checks import validate
    from data.snapshots.coverage import listed, missing_sessions

    prices = load_bundled(name)
    report = validate(prices)
    gaps = missing_sessions(prices, report.calendar)
    return {
        "name": name,
        "description": bundled_names()[name],
        "provider": {"name": "bundled"},
        "start": str(prices.dates[0].date()),
        "end": str(prices.dates[-1].date()),
        "sessions": len(prices.dates),
        "symbols": list(prices.symbols),
        "fields": list(prices.fields),
        "rows": int(prices.close.notna().to_numpy().sum()),
        "hash": prices.hash,
        "notes": list(prices.notes),
        "validation": report.summary(),
        "repairs": [],
        "differences": [],
        "findings": json.loads(report.to_frame().to_json(orient="records")),
        "gaps": _rows(gaps),
        "listed": _rows(listed(prices)),
    }


def _rows(frame: pd.DataFrame) -> list[list[Any]]:
    """Rows of a table as JSON has them, with dates as ``YYYY-MM-DD``."""
    text = frame.to_csv(index=False, header=False, date_format="%Y-%m-%d")
    return [[int(cell) if cell.isdigit() else cell for cell in row] for row in csv.reader(io.StringIO(text))]


@cache
def _facts() -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return facts


def _write() -> None:
    from data.providers.bundled import bundled_names
    from equitrade.atomic import atomic_write

    facts = {name: measure_facts(name) for name in bundled_names()}
    atomic_write(_FILE, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    _write()
