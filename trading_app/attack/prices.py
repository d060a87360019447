"""Changed prices: permuted, mirrored, rescaled, without any signal, and with a planted one.

Signals of one's own beside the prices are changed with them. Axes: T sessions, N assets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from data.fields import PRICE_FIELDS
from data.prices import Prices

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.signals.values import Signals

    Floats = NDArray[np.float64]

__all__ = ["mirrored_prices", "permuted_prices", "placebo_prices", "rescaled_prices"]

_BARS = ("open", "high", "low", "close")
# Returns beyond this are cut before their sign changes: −r must not lose everything.
_LARGEST = 0.9


def permuted_prices(prices: Prices, order: Sequence[int]) -> Prices:
    """Return prices in which symbol i has the prices and signals of symbol ``order[i]``."""
    places = list(order)
    fields = {name: frame.to_numpy()[:, places] for name, frame in prices.fields.items()}
    columns = [prices.symbols[place] for place in places]

    def permuted(source: Signals) -> Signals:
        rows = [source.symbols.index(symbol) for symbol in columns]
        return replace(source, symbols=prices.symbols, values=source.values[:, rows])

    return _changed(prices, "permuted", fields, [permuted(aligned.source) for aligned in prices.signals])


def rescaled_prices(prices: Prices, factors: Floats) -> Prices:
    """Return prices in other units: those of each symbol times a factor [N], volumes divided by it."""
    fields = {}
    for name, frame in prices.fields.items():
        values = frame.to_numpy()
        if name in (*PRICE_FIELDS, "dividends"):
            values = values * factors
        fields[name] = values / factors if name == "volume" else values
    return _changed(prices, "rescaled", fields, [aligned.source for aligned in prices.signals])


def mirrored_prices(prices: Prices) -> Prices:
    """Return prices whose log returns have the other sign; highs and lows exchange, odd signals change sign too."""
    fields = {}
    for name, other in (("open", "open"), ("high", "low"), ("low", "high"), ("close", "close")):
        if other in prices.fields:
            values = prices.adjusted(other).to_numpy(dtype=np.float64)
            fields[name] = 1e4 / values
    if "volume" in prices.fields:
        fields["volume"] = prices.fields["volume"].to_numpy()
    signals = []
    for aligned in prices.signals:
        parity = np.array(list(aligned.source.parity.values()))
        signals.append(replace(aligned.source, values=aligned.source.values * parity))
    return _changed(prices, "mirrored", fields, signals)


def placebo_prices(prices: Prices, generator: np.random.Generator, *, drift: Floats | None = None) -> Prices:
    """Return prices of the same sessions in random order, with the returns of each session times +1 or −1 at random.

    All assets share a session's order and sign, so that correlations and fat tails stay, while no asset has a mean
    return and nothing can be predicted. Sessions without a price stay where they are, and so do signals.

    Parameters
    ----------
    prices
        Real prices.
    generator
        Draws order and signs.
    drift
        Return that is added within each session [T, N], after its open where there are opens.
    """
    close = prices.adjusted("close").to_numpy(dtype=np.float64)
    known = np.isfinite(close)
    close = pd.DataFrame(close).ffill().bfill().fillna(1.0).to_numpy()
    opens = close.copy()
    opens[1:] = close[:-1]
    if prices.has_opens:
        found = prices.adjusted("open").to_numpy(dtype=np.float64)
        opens = np.where(np.isfinite(found) & known, found, opens)
    order = generator.permutation(len(close) - 1) + 1
    night, day = (
        np.clip(moves, -_LARGEST, _LARGEST)[order - 1] * generator.choice([-1.0, 1.0], (len(order), 1))
        for moves in (opens[1:] / close[:-1] - 1, close[1:] / opens[1:] - 1)
    )
    if drift is not None:
        day = np.maximum(day + drift[1:], -_LARGEST)
    path = close[0] * np.cumprod(np.vstack([np.ones(close.shape[1]), (1 + night) * (1 + day)]), axis=0)
    fields = {"close": path}
    if prices.has_opens:
        fields["open"] = np.vstack([opens[:1], path[:-1] * (1 + night)])
    top = np.maximum(path, fields.get("open", path))
    bottom = np.minimum(path, fields.get("open", path))
    for name, edge, extreme in (("high", top, np.maximum), ("low", bottom, np.minimum)):
        if name in prices.fields:
            shape = prices.adjusted(name).to_numpy(dtype=np.float64) / extreme(opens, close)
            shape = np.where(np.isfinite(shape), extreme(shape, 1.0), 1.0)
            fields[name] = edge * np.vstack([shape[:1], shape[order]])
    if "volume" in prices.fields:
        volume = prices.fields["volume"].to_numpy()
        fields["volume"] = np.vstack([volume[:1], volume[order]])
    for name in _BARS:
        if name in fields:
            fields[name] = np.where(known, fields[name], np.nan)
    name = "placebo" if drift is None else "planted"
    return _changed(prices, name, fields, [aligned.source for aligned in prices.signals])


def _changed(prices: Prices, change: str, fields: dict[str, Floats], signals: list[Signals]) -> Prices:
    frames = {
        name: pd.DataFrame(values, prices.dates, list(prices.symbols)) for name, values in fields.items()
    }
    other = Prices(f"{prices.name}, {change}", prices.dates, prices.symbols, frames)
    return other.with_signals(signals)
