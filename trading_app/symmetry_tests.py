"""How far a market is from each symmetry, year by year: the input of `rl_core.symmetry.laws` from prices."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from data.features import compute
from data.prices import Prices
from rl_core.symmetry.laws import market_symmetry


def market_tests(prices: Prices, *, permutations: int = 199, seed: int = 0) -> list[dict[str, Any]]:
    """Mirror and exchange tests of each calendar year.

    Features of the close of day t are paired with the log return from t to t + 1, scaled by the asset's volatility
    over the whole range, so that assets differ in law and not in units alone.

    Returns
    -------
    list of dict
        The fields of `rl_core.symmetry.laws.LawTest`, with the period as a year.
    """
    table = compute(prices)
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
