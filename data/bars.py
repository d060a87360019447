"""Volumes and ranges of daily bars relative to their own past; causal, without unit, missing days carried forward."""

from __future__ import annotations

import numpy as np

from data.prices import Prices
from data.rolling import lagged, rolling_sum

#: Sessions, the current one included, that a volume or range is compared with.
BAR_WINDOW = 63


def volume_ratio(prices: Prices) -> np.ndarray:
    """Return log volume less its mean over the last `BAR_WINDOW` sessions [T, N]."""
    volume = _log_volume(prices)
    # Minus the first value, so that another unit of volume gives the same numbers up to rounding.
    centred = volume - _first(volume)
    return np.asarray(centred - rolling_sum(centred, BAR_WINDOW) / BAR_WINDOW)


def volume_change(prices: Prices) -> np.ndarray:
    """Return the change of log volume over the root mean square of its last `BAR_WINDOW` changes [T, N]."""
    volume = _log_volume(prices)
    change = volume - lagged(volume, 1)
    usual = np.sqrt(rolling_sum(change**2, BAR_WINDOW) / BAR_WINDOW)
    scaled: np.ndarray = np.divide(change, usual, out=np.zeros_like(change), where=usual > 0)
    return scaled


def range_ratio(prices: Prices) -> np.ndarray:
    """Return the log of high/low over its mean of the last `BAR_WINDOW` sessions [T, N].

    A day without a range counts as a twentieth of the usual one.
    """
    spread = _log_range(prices)
    usual = rolling_sum(spread, BAR_WINDOW) / BAR_WINDOW
    share = np.divide(spread, usual, out=np.full_like(spread, np.nan), where=usual > 0)
    return np.asarray(np.log(np.maximum(share, 0.05)))


def close_location(prices: Prices) -> np.ndarray:
    """Return where the close lies between the low (−1) and the high (+1) in logarithms [T, N]; 0 without a range."""
    low, high, close = (np.log(prices.field(name).to_numpy()) for name in ("low", "high", "close"))
    spread = high - low
    place: np.ndarray = np.divide(2 * close - high - low, spread, out=np.zeros_like(spread), where=spread > 0)
    return place


def _log_volume(prices: Prices) -> np.ndarray:
    """Return log volumes as if no split had happened, the last positive one carried forward [T, N]."""
    volume = prices.field("volume")
    if "adj_close" in prices.fields:
        # Prices and volumes move by inverse ratios at a split. Dividends move the factor too, by far less than volumes
        # move from day to day.
        volume = volume / (prices.adjusted("close") / prices.close).ffill().fillna(1.0)
    return np.asarray(np.log(volume.where(volume > 0).ffill().to_numpy()))


def _log_range(prices: Prices) -> np.ndarray:
    ratio = prices.field("high") / prices.field("low")
    return np.asarray(np.log(ratio.clip(lower=1.0).ffill().to_numpy()))


def _first(values: np.ndarray) -> np.ndarray:
    first = values[np.isfinite(values).argmax(axis=0), np.arange(values.shape[1])]
    return np.where(np.isfinite(first), first, 0.0)
