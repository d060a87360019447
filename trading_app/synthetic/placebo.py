"""Placebo markets: prices without any signal, to detect agents that only seem to profit.

The best policy, after costs, is not to trade for gain: a trained agent must not show a significant positive net
return beyond what holding the market gives.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from data.errors import DataError
from data.prices import Prices

PRICE_FIELDS = ("open", "high", "low", "close")


def random_prices(
    generator: np.random.Generator,
    *,
    assets: int = 8,
    days: int = 2520,
    volatility: float = 0.01,
    start: str = "2000-01-03",
) -> Prices:
    """Return prices of independent normal log returns without drift, with one distribution for all assets and days.

    The mean of a daily log return is −volatility²/2, so that prices are martingales. The dates are weekdays.
    """
    moves = generator.normal(-(volatility**2) / 2, volatility, size=(days, assets))
    # The move over night and the one in the day, each with half of the variance.
    night = generator.normal(0.0, volatility / 2, size=(days, assets))
    close = 100 * np.exp(np.cumsum(moves, axis=0))
    before = np.vstack([np.full(assets, 100.0), close[:-1]])
    opened = before * np.exp(moves / 2 + night)
    dates = pd.bdate_range(start, periods=days)
    symbols = [f"P{i + 1}" for i in range(assets)]
    frames = {
        "open": opened,
        "high": np.maximum(opened, close),
        "low": np.minimum(opened, close),
        "close": close,
    }
    fields = {name: pd.DataFrame(values, dates, symbols) for name, values in frames.items()}
    return Prices.from_frames(
        "placebo-random", notes=("Placebo: random prices without any signal.",), **fields
    )


def shuffled_prices(prices: Prices, generator: np.random.Generator) -> Prices:
    """Return real days in random order: moves and correlations within a day stay, dependence over time goes.

    Raises `DataError` with the first missing price: a gap cannot be moved.
    """
    names = [name for name in PRICE_FIELDS if name in prices.fields]
    for name in names:
        missing = prices.fields[name].isna().to_numpy()
        if missing.any():
            row, column = np.argwhere(missing)[0]
            raise DataError(
                f"{prices.name}: {name} of {prices.symbols[column]} is missing on {prices.dates[row].date()}; "
                "choose dates or symbols without gaps to shuffle"
            )
    order = generator.permutation(len(prices.dates) - 1)
    moved: dict[str, pd.DataFrame] = {}
    for chain in ("close", "adj_close"):
        if chain not in names:
            continue
        values = prices.fields[chain].to_numpy()
        steps = np.log(values[1:] / values[:-1])[order]
        path = values[0] * np.exp(np.vstack([np.zeros(values.shape[1]), np.cumsum(steps, axis=0)]))
        moved[chain] = pd.DataFrame(path, prices.dates, list(prices.symbols))
    close = prices.fields["close"].to_numpy()
    for name in names:
        if name in moved:
            continue
        # Relative to the day's close, so that the shape of bars and the moves overnight stay the same.
        ratio = (prices.fields[name].to_numpy() / close)[1:][order]
        first = prices.fields[name].to_numpy()[:1]
        path = np.vstack([first, ratio * moved["close"].to_numpy()[1:]])
        moved[name] = pd.DataFrame(path, prices.dates, list(prices.symbols))
    if "volume" in prices.fields:
        volume = prices.fields["volume"].to_numpy()
        rows = np.vstack([volume[:1], volume[1:][order]])
        moved["volume"] = pd.DataFrame(rows, prices.dates, list(prices.symbols))
    notes = (*prices.notes, "Placebo: the days are in random order.")
    return Prices.from_frames(f"{prices.name}-shuffled", notes=notes, **moved)
