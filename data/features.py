"""Causal features of prices, scaled by trailing volatility and declared odd or even under the mirror.

The mirror turns every log return r into −r. Odd features change sign under it, even ones do not. The default features
are functions of log returns of adjusted closes, which makes the parities exact and the price scale (currency,
split history) irrelevant. Those of `data.bars` are functions of volumes, which the mirror leaves as they are, and of
highs and lows, which it exchanges. Row t of a table uses prices up to and including the close of day t.

Signals of one's own that stand beside the prices are features too, ``NAME:COLUMN``, scaled by their own past, with the
parity that was declared for them (see `data.signals`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import pi, sqrt

import numpy as np

from data.bars import BAR_WINDOW, close_location, range_ratio, volume_change, volume_ratio
from data.errors import DataError
from data.prices import Prices
from data.rolling import lagged, rolling_sum
from data.signals.scaling import SIGNAL_HISTORY, scaled
from data.signals.values import SEPARATOR

ODD, EVEN = -1, 1
VOLATILITY_WINDOW = 63
# Smallest daily volatility: a price that moves less counts as constant and is not scaled up to noise.
_FLOOR = 1e-6
# Clipped at ten standard deviations, so that an error in the data cannot blow up a network.
_CLIP = 10.0


@dataclass(frozen=True)
class FeatureTable:
    """Features of each asset, or of the market.

    Attributes
    ----------
    values
        float32 [T, N, C] for assets, [T, C] for the market. Zero where prices are missing or history is too
        short; never NaN. No unit: multiples of trailing volatility, or logarithms of ratios of volatilities.
    parity
        int8 [C]: −1 odd, +1 even under the mirror.
    names
        Name of each feature [C].
    warmup
        Rows before this one lack history for at least one feature.
    """

    values: np.ndarray
    parity: np.ndarray
    names: tuple[str, ...]
    warmup: int


@dataclass(frozen=True)
class Feature:
    """A feature: parity, days of history that it needs, the function that computes it from `_Series`, and the fields
    that prices need for it beside closes."""

    name: str
    parity: int
    history: int
    function: Callable[[_Series], np.ndarray]
    fields: tuple[str, ...] = ()


class _Series:
    """Log returns and their trailing sums, computed once for all features of prices."""

    def __init__(self, prices: Prices, log_prices: np.ndarray, returns: np.ndarray) -> None:
        self.prices = prices
        self.log_prices = log_prices
        self.returns = returns
        self._squares = returns**2
        self._volatility: dict[int, np.ndarray] = {}

    def volatility(self, days: int) -> np.ndarray:
        """Return the root mean square of the last `days` log returns (not centred, so that it is even) [T, N]."""
        if days not in self._volatility:
            mean_square = rolling_sum(self._squares, days) / days
            self._volatility[days] = np.maximum(np.sqrt(mean_square), _FLOOR)
        return self._volatility[days]

    def momentum(self, days: int) -> np.ndarray:
        """Return the return of the last `days` days over its standard deviation for a random walk [T, N]."""
        total = rolling_sum(self.returns, days)
        return total / (self.volatility(VOLATILITY_WINDOW) * sqrt(days))


def _momentum(days: int) -> Callable[[_Series], np.ndarray]:
    return lambda series: series.momentum(days)


def _average_gap(days: int) -> Callable[[_Series], np.ndarray]:
    def gap(series: _Series) -> np.ndarray:
        # log p_t − mean of the last n log p, over its standard deviation for a random walk:
        # the gap is Σ_k (1 − k/n) r_{t−k+1} for k = 1…n−1, of variance σ² (n − 1)(2n − 1) / 6n.
        base = _first_valid(series.log_prices)
        centred = series.log_prices - base
        distance: np.ndarray = centred - rolling_sum(centred, days) / days
        spread = sqrt((days - 1) * (2 * days - 1) / (6 * days))
        return distance / (series.volatility(VOLATILITY_WINDOW) * spread)

    return gap


def _first_valid(values: np.ndarray) -> np.ndarray:
    # Minus the first log price of each asset, so that prices of another scale give the same numbers up to rounding.
    valid = np.isfinite(values)
    first = values[np.argmax(valid, axis=0), np.arange(values.shape[1])]
    return np.where(np.isfinite(first), first, 0.0)


def _volatility_ratio(short: int, long: int) -> Callable[[_Series], np.ndarray]:
    def ratio(series: _Series) -> np.ndarray:
        usual = series.volatility(long)
        # A few days without a move (rounded prices) count as a twentieth of the usual volatility.
        recent = np.maximum(series.volatility(short), 0.05 * usual)
        logarithm: np.ndarray = np.log(recent / usual)
        return logarithm

    return ratio


def _absolute_return(series: _Series) -> np.ndarray:
    # Minus the mean of |z| of a standard normal, so that it is centred.
    scaled: np.ndarray = np.abs(series.returns) / series.volatility(VOLATILITY_WINDOW)
    return scaled - sqrt(2 / pi)


_ALL = (
    Feature("ret_1", ODD, VOLATILITY_WINDOW, _momentum(1)),
    Feature("ret_5", ODD, VOLATILITY_WINDOW, _momentum(5)),
    Feature("ret_21", ODD, VOLATILITY_WINDOW, _momentum(21)),
    Feature("ret_126", ODD, 126, _momentum(126)),
    Feature("ret_252", ODD, 252, _momentum(252)),
    Feature("ma_gap_21", ODD, VOLATILITY_WINDOW, _average_gap(21)),
    Feature("ma_gap_63", ODD, VOLATILITY_WINDOW, _average_gap(63)),
    Feature("abs_ret", EVEN, VOLATILITY_WINDOW, _absolute_return),
    Feature("vol_ratio", EVEN, VOLATILITY_WINDOW, _volatility_ratio(5, VOLATILITY_WINDOW)),
    Feature("vol_trend", EVEN, 126, _volatility_ratio(21, 126)),
    Feature("volume_ratio", EVEN, BAR_WINDOW, lambda series: volume_ratio(series.prices), ("volume",)),
    Feature("volume_change", EVEN, BAR_WINDOW + 1, lambda series: volume_change(series.prices), ("volume",)),
    Feature("range_ratio", EVEN, BAR_WINDOW, lambda series: range_ratio(series.prices), ("high", "low")),
    Feature("close_location", ODD, 1, lambda series: close_location(series.prices), ("high", "low")),
)
FEATURES: dict[str, Feature] = {feature.name: feature for feature in _ALL}
DEFAULT_FEATURES = (
    "ret_1",
    "ret_5",
    "ret_21",
    "ret_126",
    "ma_gap_63",
    "abs_ret",
    "vol_ratio",
    "vol_trend",
)
MARKET_FEATURES = {
    "market_ret_1": ODD,
    "market_ret_21": ODD,
    "market_breadth": ODD,
    "market_vol_ratio": EVEN,
    "market_dispersion": EVEN,
}


def compute_features(prices: Prices, names: Sequence[str] = DEFAULT_FEATURES) -> FeatureTable:
    """Compute features of each asset.

    Missing prices inside a history count as days without a move; a feature is zero on a day without a price
    and until the asset has enough history of its own.

    Parameters
    ----------
    prices
        A panel; adjusted closes are used where it has them.
    names
        Names from `FEATURES`, and ``NAME:COLUMN`` of signals beside the prices. Those are zero where they are missing.

    Returns
    -------
    FeatureTable
        Values float32 [T, N, C].

    Raises
    ------
    DataError
        If a name is unknown or named twice, or the prices lack a field that a feature needs.
    """
    chosen = _chosen(names, prices)
    series, present = _series(prices)
    values = np.empty((*series.returns.shape, len(chosen)), dtype=np.float32)
    for index, feature in enumerate(chosen):
        values[..., index] = _cleaned(feature.function(series))
    values[~present] = 0.0
    return FeatureTable(
        values=values,
        parity=np.array([feature.parity for feature in chosen], dtype=np.int8),
        names=tuple(names),
        warmup=max(feature.history for feature in chosen),
    )


def market_features(prices: Prices, available: np.ndarray | None = None) -> FeatureTable:
    """Compute features of the market as a whole, the same whatever the order of the assets.

    The market's return is the mean log return of the assets with a price on that day. ``market_breadth`` is
    the mean sign of 21-day returns, ``market_dispersion`` the log ratio of the cross-sectional spread of
    returns to its trailing mean.

    Parameters
    ----------
    prices
        A panel; adjusted closes are used where it has them.
    available
        True where an asset counts (bool [T, N]); all assets with a price by default.

    Returns
    -------
    FeatureTable
        Values float32 [T, C].
    """
    series, present = _series(prices)
    present = present if available is None else present & available
    returns = np.where(present, series.returns, np.nan)
    count = np.isfinite(returns).sum(axis=1)
    filled = np.where(np.isfinite(returns), returns, 0.0)
    # Sorted before summing: the sum of the same numbers in another order may differ in its last bit.
    mean = np.sort(filled, axis=1).sum(axis=1) / np.maximum(count, 1)
    mean[count == 0] = np.nan
    spread = np.sort(np.where(np.isfinite(returns), (returns - mean[:, None]) ** 2, 0.0), axis=1).sum(axis=1)
    spread = np.sqrt(spread / np.maximum(count - 1, 1))
    spread[count < 2] = np.nan
    market = _Series(prices, np.cumsum(np.nan_to_num(mean))[:, None], mean[:, None])
    sign = np.sign(np.where(present, rolling_sum(series.returns, 21), np.nan))
    signs = np.isfinite(sign).sum(axis=1)
    usual = rolling_sum(spread, VOLATILITY_WINDOW) / VOLATILITY_WINDOW
    columns = (
        market.momentum(1)[:, 0],
        market.momentum(21)[:, 0],
        np.where(signs > 0, np.nansum(sign, axis=1) / np.maximum(signs, 1), np.nan),
        _volatility_ratio(5, VOLATILITY_WINDOW)(market)[:, 0],
        np.log(np.maximum(spread, _FLOOR) / np.maximum(usual, _FLOOR)),
    )
    return FeatureTable(
        values=_cleaned(np.stack(columns, axis=-1)).astype(np.float32),
        parity=np.array(list(MARKET_FEATURES.values()), dtype=np.int8),
        names=tuple(MARKET_FEATURES),
        warmup=VOLATILITY_WINDOW,
    )


def feature_history(name: str) -> int:
    """Return the sessions of prices that a feature depends on.

    Raises
    ------
    DataError
        If there is no such feature.
    """
    if SEPARATOR in name:
        return SIGNAL_HISTORY
    if name not in FEATURES:
        raise DataError(f"no feature '{name}' (features: {', '.join(FEATURES)})")
    return FEATURES[name].history


def _chosen(names: Sequence[str], prices: Prices) -> list[Feature]:
    if not names or len(set(names)) < len(names):
        raise DataError(f"features must be named once each, at least one: {', '.join(names) or 'none given'}")
    chosen = []
    for name in names:
        feature_history(name)  # refuses an unknown name
        chosen.append(_signal(name, prices) if SEPARATOR in name else FEATURES[name])
        for field in chosen[-1].fields:
            if field not in prices.fields:
                raise DataError(
                    f"{prices.name}: the feature '{name}' needs the field '{field}', which these prices lack "
                    f"(fields: {', '.join(prices.fields)}); leave it out of the features or import prices with it"
                )
    return chosen


def _signal(name: str, prices: Prices) -> Feature:
    """Return the feature of a column of signals beside the prices."""
    columns = {
        feature: (aligned.values[..., index], parity)
        for aligned in prices.signals
        for index, (feature, parity) in enumerate(
            zip(aligned.source.features, aligned.source.parity.values(), strict=True)
        )
    }
    if name not in columns:
        raise DataError(
            f"{prices.name}: no signal '{name}' beside these prices (signals: {', '.join(columns) or 'none'}); "
            "import it with `equitrade data import-signals` and name its snapshot in data.signals"
        )
    values, parity = columns[name]
    return Feature(name, parity, SIGNAL_HISTORY, lambda _: scaled(values, parity))


def _series(prices: Prices) -> tuple[_Series, np.ndarray]:
    closes = prices.adjusted("close")
    present = np.isfinite(closes.to_numpy())
    # The last known price is carried forward, which is causal: a gap counts as days without a move.
    log_prices = np.log(closes.ffill().to_numpy())
    returns = log_prices - lagged(log_prices, 1)
    return _Series(prices, log_prices, returns), present


def _cleaned(values: np.ndarray) -> np.ndarray:
    return np.clip(np.where(np.isfinite(values), values, 0.0), -_CLIP, _CLIP)
