"""Symmetry tests of a market by period, and of prices by calendar year.

Results are stored under the state directory as ``symmetry/HASH.json``, by the hash of the prices, with the keys
``data``, ``hash``, ``start``, ``end``, ``sessions``, ``symbols``, ``permutations``, ``seed``, ``created_at`` and
``tests``.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.features import compute_features
from data.prices import Prices
from equitrade.atomic import atomic_write
from rl_core.errors import ConfigError
from trading_app.evaluation.return_symmetry import SymmetryTest, exchange_test, mirror_test
from trading_app.files import RunError, now, read_json, to_json

SCHEMA = 1


def symmetry_tests(
    features: npt.ArrayLike,
    parity: npt.ArrayLike,
    returns: npt.ArrayLike,
    periods: Sequence[Hashable],
    *,
    generator: np.random.Generator,
    block: int = 21,
    permutations: int = 499,
    points: int = 128,
) -> list[SymmetryTest]:
    """Test mirror and exchange in each period, in order of the periods: a label of each time, for example its year.

    The other arguments are those of `trading_app.evaluation.return_symmetry.mirror_test`.
    """
    x, r = np.asarray(features, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if len(periods) != len(r):
        raise ConfigError(f"{len(periods)} period labels for {len(r)} times")
    tests = []
    for label in dict.fromkeys(periods):
        rows = np.array([p == label for p in periods])
        settings = {"generator": generator, "block": block, "permutations": permutations, "points": points}
        tests.append(mirror_test(x[rows], parity, r[rows], period=label, **settings))  # type: ignore[arg-type]
        if r.shape[1] > 1:
            tests.append(exchange_test(x[rows], r[rows], period=label, **settings))  # type: ignore[arg-type]
    return tests


def yearly_tests(prices: Prices, *, permutations: int = 199, seed: int = 0) -> list[dict[str, Any]]:
    """Return the mirror and exchange tests (`SymmetryTest` as mappings) of each calendar year.

    Features of the close of day t are paired with the log return from t to t + 1, scaled by the asset's volatility
    over the whole range, so that assets are compared at the same scale.
    """
    table = compute_features(prices)
    log_close = np.log(prices.adjusted("close").to_numpy(dtype=np.float64))
    ahead = np.diff(log_close, axis=0)
    ahead = ahead / np.nanstd(ahead, axis=0)
    rows = slice(table.warmup, len(ahead))
    years = [int(year) for year in prices.dates.year[rows]]
    tests = symmetry_tests(
        table.values[rows],
        table.parity,
        ahead[rows],
        years,
        generator=np.random.default_rng(seed),
        permutations=permutations,
    )
    return [asdict(test) for test in tests]


def market_document(prices: Prices, *, permutations: int = 199, seed: int = 0) -> dict[str, Any]:
    """Return the tests of `yearly_tests` with a description of the data and settings."""
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
        "tests": yearly_tests(prices, permutations=permutations, seed=seed),
    }


def save_tests(home: Path, document: Mapping[str, Any]) -> Path:
    """Write the document of `market_document`; an earlier one of the same prices is replaced."""
    path = home / "symmetry" / f"{document['hash']}.json"
    atomic_write(path, to_json(document))
    return path


def stored_tests(home: Path) -> list[dict[str, Any]]:
    """Return the documents that `save_tests` wrote, newest first; unreadable files are left out."""
    found = []
    for path in sorted((home / "symmetry").glob("*.json")):
        try:
            document = read_json(path)
        except RunError:
            continue
        if document.get("schema") == SCHEMA:
            found.append(document)
    return sorted(found, key=lambda document: str(document["created_at"]), reverse=True)
