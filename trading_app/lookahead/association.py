"""Test of signals for look-ahead by their association with later returns.

Changing prices cannot show whether a signal from a file is causal: its values stay what they are. But a value that was
computed with the return of the next session is associated with that return as strongly as a causal one is with returns
of its past, and much more strongly than any forecast. So for each number of sessions k = 1 … `HORIZON` the correlation
ρ(k) of the signal usable at the close of day t with the return of session t + k is computed, over all days and assets.
It is a leak where all of these hold:

- size: |ρ(k)| is at least `LEAST_CORRELATION` and two standard errors more. A daily R² above 2 % is beyond what
  forecasts of daily returns reach;
- drop: |ρ(k)| is more than twice |ρ(k + 1)|. A forecast, or a volatility, fades over days; what was looked up ends from
  one day to the next;
- significance: the mean of the daily products over assets is more than `LEAST_Z` standard errors from 0. Days are the
  independent units, since assets move together.

It is done for the value and for its last change (a moving average or sum shows the return that entered last in its
change), and for returns and their absolute values (volumes and volatilities know the size of a move, not its sign).
Each block of `BLOCK` sessions is tested too, so that a leak in a part of the history is found and dated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trading_app.lookahead.findings import Leak

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices
    from data.signals.values import AlignedSignals

    Floats = NDArray[np.float64]

__all__ = ["BLOCK", "HORIZON", "LEAST_CORRELATION", "LEAST_Z", "Association", "signal_leaks"]

HORIZON = 10
LEAST_CORRELATION, LEAST_Z = 0.15, 5.0
BLOCK = 252
# A day counts if it has a value; a block if so many days do.
_LEAST_DAYS = 60
_VOLATILITY_WINDOW, _CLIP = 63, 5.0


@dataclass(frozen=True)
class Association:
    """Correlation of a signal with the return `ahead` sessions later, in sessions first … stop − 1.

    Attributes
    ----------
    signal, target
        ``value`` or ``change``; ``return`` or ``size of the return``.
    ahead
        Sessions ahead.
    correlation, later
        With that return, and with the one a session after it.
    z
        Mean of the daily products over its standard error.
    first, stop
        Sessions (positions).
    """

    signal: str
    target: str
    ahead: int
    correlation: float
    later: float
    z: float
    first: int
    stop: int

    @property
    def is_leak(self) -> bool:
        """Whether size, drop and significance hold."""
        size, z = abs(self.correlation), abs(self.z)
        return z > LEAST_Z and size * (1 - 2 / z) >= LEAST_CORRELATION and size > 2 * abs(self.later)


def signal_leaks(
    prices: Prices, allowed: tuple[str, ...] = ()
) -> tuple[list[Leak], dict[str, dict[str, Any]]]:
    """Test every signal beside prices; return leaks, and the strongest association of each column by name."""
    leaks, table = [], {}
    for signals in prices.signals:
        for index, name in enumerate(signals.source.features):
            found = list(associations(prices, signals, index))
            worst = max(found, key=lambda item: (item.is_leak, abs(item.correlation)), default=None)
            table[name] = _entry(prices, worst)
            bad = [item for item in found if item.is_leak]
            if bad and name not in allowed:
                leaks.append(_leak(prices, signals, index, bad))
    return leaks, table


def associations(prices: Prices, signals: AlignedSignals, index: int) -> Iterator[Association]:
    """Yield the associations of a column, over all sessions and in each block of them."""
    value = _standardised(signals.values[..., index])
    change = np.full_like(value, np.nan)
    change[1:] = np.diff(value, axis=0)
    change[change == 0] = np.nan  # carried values do not change
    returns = _returns(prices)
    size = np.abs(returns) - np.nanmean(np.abs(returns))
    days = len(value)
    blocks = [(0, days)]
    if days >= 2 * BLOCK:
        edges = np.linspace(0, days, days // BLOCK + 1).astype(int)
        blocks += list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    for kind, x in (("value", value), ("change", change)):
        for target, y in (("return", returns), ("size of the return", size)):
            products = [_products(x, y, ahead) for ahead in range(1, HORIZON + 2)]
            for first, stop in blocks:
                found = [_correlation(part, first, stop) for part in products]
                for ahead in range(1, HORIZON + 1):
                    (correlation, z), (later, _) = found[ahead - 1], found[ahead]
                    yield Association(kind, target, ahead, correlation, later, z, first, stop)


def _standardised(values: Floats) -> Floats:
    spread = np.nanstd(values) if np.isfinite(values).any() else 0.0
    if not spread > 0:
        return np.full_like(values, np.nan)
    return np.clip((values - np.nanmean(values)) / spread, -_CLIP, _CLIP)


def _returns(prices: Prices) -> Floats:
    """Return log returns over their volatility of the sessions before [T, N]; NaN where unknown."""
    returns = prices.adjusted("close").transform(np.log).diff()
    usual = returns.rolling(_VOLATILITY_WINDOW, min_periods=21).std().shift(1)
    scaled: Floats = (returns / usual.where(usual > 0)).clip(-_CLIP, _CLIP).to_numpy()
    return scaled


def _products(x: Floats, y: Floats, ahead: int) -> Floats:
    """Return the means over assets of x·y, x² and y², y so many sessions ahead [T, 3]; NaN without a pair."""
    later = np.full_like(y, np.nan)
    later[:-ahead] = y[ahead:]
    known = np.isfinite(x) & np.isfinite(later)
    count = known.sum(axis=1)
    a, b = np.where(known, x, 0.0), np.where(known, later, 0.0)
    sums = np.stack([(a * b).sum(axis=1), (a * a).sum(axis=1), (b * b).sum(axis=1)], axis=1)
    return np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], np.nan)


def _correlation(products: Floats, first: int, stop: int) -> tuple[float, float]:
    """Return the correlation over days, and the z of its products; 0 with too few days."""
    part = products[first:stop]
    part = part[np.isfinite(part[:, 0])]
    if len(part) < _LEAST_DAYS:
        return 0.0, 0.0
    xy, xx, yy = part.mean(axis=0)
    spread = part[:, 0].std(ddof=1)
    if not (xx > 0 and yy > 0 and spread > 0):
        return 0.0, 0.0
    return float(xy / np.sqrt(xx * yy)), float(xy / (spread / np.sqrt(len(part))))


def _leak(prices: Prices, signals: AlignedSignals, index: int, bad: list[Association]) -> Leak:
    """Return the leak of a column: dated by its first block, explained by the return that is furthest ahead."""
    strongest = max(abs(item.correlation) for item in bad)
    clear = [item for item in bad if 2 * abs(item.correlation) >= strongest]
    worst = max(clear, key=lambda item: (item.ahead, abs(item.correlation)))
    parts = [item for item in bad if item.stop - item.first < len(prices.dates)]
    start = min((item.first for item in parts), default=worst.first)
    known = np.isfinite(signals.values[start:, :, index])
    row = start + int(known.any(axis=1).argmax())
    column = int(known[row - start].argmax())
    sessions = "the next session" if worst.ahead == 1 else f"{worst.ahead} sessions later"
    end = max((item.stop for item in parts), default=worst.stop) - 1
    reason = (
        f"its {worst.signal} correlates {worst.correlation:+.2f} with the {worst.target} of {sessions} and "
        f"{worst.later:+.2f} with that of the session after it, from {prices.dates[start].date()} to "
        f"{prices.dates[end].date()}: the value seems to be computed with prices of {sessions}; correct its dates, or "
        f"import it with --lag {signals.source.lag + worst.ahead}"
    )
    return Leak(
        "signal",
        signals.source.features[index],
        prices.symbols[column],
        str(prices.dates[row].date()),
        reason,
    )


def _entry(prices: Prices, worst: Association | None) -> dict[str, Any]:
    if worst is None:
        return {}
    return {
        "leak": worst.is_leak,
        "signal": worst.signal,
        "target": worst.target,
        "ahead": worst.ahead,
        "correlation": worst.correlation,
        "later": worst.later,
        "z": worst.z,
        "start": str(prices.dates[worst.first].date()),
        "end": str(prices.dates[worst.stop - 1].date()),
    }
