"""Simulated prices with a planted signal of known strength: a panel like real ones whose forecast is known.

A log return of a session is

    r_{t+1,i} = m_i + σ_i (ρ_i f_{t,i} + √(1 − ρ_i²) e_{t+1,i}),

with f the signal of the close before, an autoregression of order one with variance 1, and e noise with variance 1. The
noise has a market factor, sectors and a part of each asset's own, innovations of Student's t, and a volatility common
to all that moves in clusters. ρ_i² is the R² of a regression of the asset's daily return on its signal.

The signal forecasts the part of a return between open and close, so that an order which fills at the next open earns
all of it. The night moves by noise alone.

Axes: T sessions, N assets.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.errors import DataError
from data.fields import parse_date
from data.prices import Prices
from data.signals.store import SignalStore
from data.signals.values import SEPARATOR, Signals
from data.snapshots.store import SnapshotStore
from data.snapshots.versions import Snapshot

__all__ = ["COLUMN", "SIMULATED", "PanelConfig", "PlantedPanel", "planted_panel", "save_planted"]

Floats = NDArray[np.float64]

COLUMN = "forecast"
SIMULATED = "Simulated"
"""First word of the note on simulated prices."""

SESSIONS_A_YEAR = 252

# Shares of the variance of the noise: market, sector, own.
_MARKET, _SECTOR, _OWN = 0.30, 0.10, 0.60
# Share of the variance that falls into the night.
_NIGHT = 0.25
# Log volatility: an autoregression with this persistence and this stationary variance.
_CLUSTERING, _CLUSTER_VARIANCE = 0.98, 0.10
# Degrees of freedom of the innovations; beyond ±10 standard deviations they are cut off.
_FREEDOM, _LARGEST = 5.0, 10.0
# Relative spreads over assets at a heterogeneity of 1: of the slopes, the volatilities and the market betas.
_SLOPE_SPREAD, _VOLATILITY_SPREAD, _BETA_SPREAD = 0.75, 0.40, 0.40
_FIRST_CLOSE, _DOLLAR_VOLUME = 50.0, 2e8

_RANGES: dict[str, tuple[float, float]] = {
    "assets": (1, 2_000),
    "sessions": (2, 100_000),
    "r2": (0.0, 0.5),
    "half_life": (0.1, 250.0),
    "heterogeneity": (0.0, 1.0),
    "drift": (-1.0, 1.0),
    "volatility": (0.01, 2.0),
    "sectors": (1, 2_000),
    "seed": (0, 2**63 - 1),
}


@dataclass(frozen=True)
class PanelConfig:
    """Parameters of a planted panel.

    Attributes
    ----------
    assets, sessions
        N and T; a longer panel begins with the shorter one.
    r2
        R² of the regression of an asset's daily log return on its signal, mean over assets.
    half_life
        Sessions after which half of a signal is left.
    heterogeneity
        0 … 1, how far assets differ: at 1 slopes ρ_i spread by ±75 %, volatilities and market betas by ±40 %. At 0
        assets can be exchanged, as far as they are of one sector.
    drift
        Mean simple return of every asset in a year; anything but 0 breaks the mirror.
    volatility
        Yearly volatility of log returns, mean over assets.
    sectors
        Number of sectors, of equal size as far as possible.
    seed
        Of all random numbers.
    start
        Date of the first session; sessions are weekdays.

    Raises
    ------
    DataError
        If a value is out of range; the message names it.
    """

    assets: int = 20
    sessions: int = 2520
    r2: float = 0.005
    half_life: float = 5.0
    heterogeneity: float = 0.0
    drift: float = 0.0
    volatility: float = 0.25
    sectors: int = 5
    seed: int = 0
    start: str = "2005-01-03"

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                option = name.replace("_", "-")
                raise DataError(f"--{option} is {value}: it must lie from {low:g} to {high:g}")
        parse_date(self.start, "start")


@dataclass(frozen=True, eq=False)
class PlantedPanel:
    """Prices, their signal, and what is true about them.

    Attributes
    ----------
    prices
        Open, high, low, close and volume, without the signal beside them.
    signals
        One odd column, `COLUMN`, which is usable at the close of its stamp.
    slopes
        Expected log return of the next session per unit of the signal [N].
    volatilities
        Standard deviation of a session's log return [N].
    sectors
        Sector of each asset, from 0 [N].
    """

    prices: Prices
    signals: Signals
    slopes: Floats
    volatilities: Floats
    sectors: NDArray[np.int64]


def planted_panel(name: str, config: PanelConfig) -> PlantedPanel:
    """Simulate prices and their signal; equal parameters give equal numbers."""
    draw = _Draws(config)
    spaced = np.linspace(-1.0, 1.0, config.assets) if config.assets > 1 else np.zeros(1)
    orders = [np.random.default_rng(place).permutation(config.assets) for place in range(3)]
    slope, size, beta = (
        1.0 + spread * config.heterogeneity * spaced[order]
        for spread, order in zip((_SLOPE_SPREAD, _VOLATILITY_SPREAD, _BETA_SPREAD), orders, strict=True)
    )
    correlations = np.sqrt(config.r2) * slope / np.sqrt((slope**2).mean())
    volatilities = config.volatility / np.sqrt(SESSIONS_A_YEAR) * size
    sectors = np.arange(config.assets) * config.sectors // max(config.assets, config.sectors)
    signal = draw.signal()
    clusters = draw.clusters()
    night, day = (draw.noise(part, beta, sectors, clusters) for part in ("night", "day"))
    scale = volatilities * np.sqrt(1.0 - correlations**2)
    mean = np.log1p(config.drift) / SESSIONS_A_YEAR - volatilities**2 / 2
    # The first row of the signal is that of the session before the first.
    within = mean + volatilities * correlations * signal[:-1] + scale * np.sqrt(1.0 - _NIGHT) * day
    prices = _bars(name, config, draw, scale * np.sqrt(_NIGHT) * night, within, clusters, volatilities)
    signals = Signals(name, prices.dates, prices.symbols, {COLUMN: -1}, signal[1:, :, None], lag=0)
    return PlantedPanel(prices, signals, volatilities * correlations, volatilities, sectors)


class _Draws:
    """Random numbers of a panel, each kind from a stream of its own and session by session."""

    def __init__(self, config: PanelConfig) -> None:
        self.config = config

    def normal(self, name: str, columns: int, rows: int | None = None) -> Floats:
        """Return standard normal numbers [T, columns]."""
        return self._stream(name).standard_normal((rows or self.config.sessions, columns))

    def heavy(self, name: str, columns: int) -> Floats:
        """Return innovations of Student's t with variance 1 [T, columns]."""
        shape = (self.config.sessions, columns)
        ordinary, squares = (
            self.normal(name, columns),
            self._stream(f"{name} tails").chisquare(_FREEDOM, shape),
        )
        drawn = ordinary * np.sqrt((_FREEDOM - 2.0) / squares)
        return np.clip(drawn, -_LARGEST, _LARGEST)

    def signal(self) -> Floats:
        """Return the signals [T + 1, N], from the session before the first on."""
        rows = self.config.sessions + 1
        return _autoregression(
            self.normal("signal", self.config.assets, rows), 0.5 ** (1.0 / self.config.half_life)
        )

    def clusters(self) -> Floats:
        """Return the common volatility [T, 1], with a mean square of 1."""
        level = _autoregression(self.normal("clusters", 1), _CLUSTERING) * np.sqrt(_CLUSTER_VARIANCE)
        clusters: Floats = np.exp(level - _CLUSTER_VARIANCE)
        return clusters

    def noise(self, part: str, beta: Floats, sectors: NDArray[np.int64], clusters: Floats) -> Floats:
        """Return noise with variance 1 of a part of the sessions [T, N]."""
        market = self.heavy(f"{part} market", 1) * beta * np.sqrt(_MARKET)
        sector = self.heavy(f"{part} sector", self.config.sectors)[:, sectors] * np.sqrt(_SECTOR)
        own = self.heavy(f"{part} own", self.config.assets) * np.sqrt(_OWN)
        noise: Floats = (market + sector + own) * clusters / np.sqrt(_MARKET * beta**2 + _SECTOR + _OWN)
        return noise

    def _stream(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *name.encode()])


def _autoregression(shocks: Floats, persistence: float) -> Floats:
    """Return autoregressions of order one with variance 1 from standard normal shocks [T, N]."""
    path = np.empty_like(shocks)
    path[0] = shocks[0]
    weight = np.sqrt(1.0 - persistence**2)
    for row in range(1, len(shocks)):
        path[row] = persistence * path[row - 1] + weight * shocks[row]
    return path


def _bars(
    name: str,
    config: PanelConfig,
    draw: _Draws,
    night: Floats,
    within: Floats,
    clusters: Floats,
    volatilities: Floats,
) -> Prices:
    """Return bars of log returns over night and between open and close [T, N]."""
    level = np.log(_FIRST_CLOSE) + np.cumsum(night + within, axis=0)
    opened, close = np.exp(level - within), np.exp(level)
    reach = 0.4 * volatilities * clusters
    high = np.maximum(opened, close) * np.exp(reach * np.abs(draw.normal("high", config.assets)))
    low = np.minimum(opened, close) * np.exp(-reach * np.abs(draw.normal("low", config.assets)))
    moved = np.abs(within + night) / volatilities
    activity = np.exp(0.25 * moved + 0.3 * draw.normal("volume", config.assets)) * clusters
    volume = np.maximum(np.rint(_DOLLAR_VOLUME * activity / close), 1.0)
    width = len(str(config.assets))
    symbols = [f"A{number + 1:0{width}d}" for number in range(config.assets)]
    dates = pd.bdate_range(config.start, periods=config.sessions)
    values = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    note = (
        f"{SIMULATED}: prices with a planted signal, {name}{SEPARATOR}{COLUMN}, daily R² {config.r2:.2%}, half-life "
        f"{config.half_life:g} sessions, heterogeneity {config.heterogeneity:g}, drift {config.drift:g}, seed "
        f"{config.seed}."
    )
    return Prices.from_frames(
        name,
        notes=(note,),
        **{field: pd.DataFrame(value, dates, symbols) for field, value in values.items()},
    )


def save_planted(name: str, config: PanelConfig, home: Path | None = None) -> tuple[Snapshot, Snapshot]:
    """Simulate a panel and write prices and signals of that name to the store; return both snapshots.

    Raises
    ------
    DataError
        If the name is not allowed or they cannot be written.
    """
    panel = planted_panel(name, config)
    provider = {"name": "planted", **asdict(config)}
    prices = SnapshotStore(home).save(panel.prices, name, provider=provider)
    truth = {"slopes": panel.slopes.tolist(), "sectors": panel.sectors.tolist()}
    details = {
        "provider": {**provider, "files": []},
        "prices": {"name": name, "hash": panel.prices.hash},
        "planted": truth,
    }
    return prices, SignalStore(home).save(panel.signals, details)
