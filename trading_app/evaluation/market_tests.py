"""Distance of a market from each symmetry, year by year, computed from prices.

Results are kept under the state directory as ``symmetry/HASH.json``, by the hash of the prices that they are of:
``data``, ``hash``, ``start``, ``end``, ``sessions``, ``symbols``, ``permutations``, ``seed``, ``created_at`` and
``tests``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from data.features import compute_features
from data.prices import Prices
from equitrade.atomic import atomic_write
from trading_app.evaluation.return_symmetry import market_symmetry
from trading_app.files import RunError, now, read_json, to_json

SCHEMA = 1


def market_tests(prices: Prices, *, permutations: int = 199, seed: int = 0) -> list[dict[str, Any]]:
    """Mirror and exchange tests of each calendar year.

    Features of the close of day t are paired with the log return from t to t + 1, scaled by the asset's volatility
    over the whole range, so that assets differ in law and not in units alone.

    Returns
    -------
    list of dict
        The fields of `trading_app.evaluation.return_symmetry.LawTest`, with the period as a year.
    """
    table = compute_features(prices)
    log_close = np.log(prices.adjusted("close").to_numpy(dtype=np.float64))
    ahead = np.diff(log_close, axis=0)
    ahead = ahead / np.nanstd(ahead, axis=0)
    rows = slice(table.warmup, len(ahead))
    years = [int(year) for year in prices.dates.year[rows]]
    tests = market_symmetry(
        table.values[rows],
        table.parity,
        ahead[rows],
        years,
        generator=np.random.default_rng(seed),
        permutations=permutations,
    )
    return [asdict(test) for test in tests]


def market_document(prices: Prices, *, permutations: int = 199, seed: int = 0) -> dict[str, Any]:
    """`market_tests` with what they were made of and with."""
    return {
        "schema": SCHEMA,
        "data": prices.name,
        "hash": prices.hash,
        "start": str(prices.dates[0].date()),
        "end": str(prices.dates[-1].date()),
        "sessions": len(prices.dates),
        "symbols": list(prices.symbols),
        "permutations": permutations,
        "seed": seed,
        "created_at": now(),
        "tests": market_tests(prices, permutations=permutations, seed=seed),
    }


def save_tests(home: Path, document: Mapping[str, Any]) -> Path:
    """Keep the document of `market_document`, whole or not at all; an earlier one of the same prices is replaced."""
    path = home / "symmetry" / f"{document['hash']}.json"
    atomic_write(path, to_json(document))
    return path


def stored_tests(home: Path) -> list[dict[str, Any]]:
    """What `save_tests` kept, newest first; files that cannot be read are left out."""
    found = []
    for path in sorted((home / "symmetry").glob("*.json")):
        try:
            document = read_json(path)
        except RunError:
            continue
        if document.get("schema") == SCHEMA:
            found.append(document)
    return sorted(found, key=lambda document: str(document["created_at"]), reverse=True)
