"""The plug-in: a forecast estimated from signals, traded as if it were the truth.

What a quant would do with the signals that an agent sees, in three steps, on data up to the session of the fit alone:

1. **Forecast.** Each asset's return from fill to fill is regressed on its signals, days weighted by their variance.
   Slopes and means are shrunk over the assets by empirical Bayes, and their mean over assets towards 0.
2. **Aim.** With returns that follow signals which revert at rate 1 − φ from one rebalancing to the next, and costs
   proportional to the risk of a trade, the best policy trades a constant share κ of the way towards an aim: (γΣ)⁻¹
   times the forecast, each signal divided by 1 + (1 − φ)(1/κ − 1), so that short-lived ones count less (Gârleanu and
   Pedersen, "Dynamic Trading with Predictable Returns and Transaction Costs", Journal of Finance 2013, without
   discounting). Σ is shrunk as Ledoit and Wolf.
3. **Size and speed.** γ and κ are those of a small grid that earn the highest mean reward in the agent's own market:
   with its actions, costs, schedule, band and limits. Each half of the data is traded with the forecast of the other
   half. Not to leave the base is one of the choices.

Axes: T sessions, N assets, K signals, P settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from data.errors import DataError
from data.fields import DateLike, parse_date
from data.prices import Prices
from data.signals.scaling import scaled
from trading_app.backtesting.scheduled_rules import Terms, run_accounts
from trading_app.evaluation.shrinkage import reliability_of_mean, shrink
from trading_app.market.accounting import at_least, at_most
from trading_app.market.actions import paced_action, target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.decisions import DayRows, Decision, decision_of, rebalancing_days
from trading_app.market.env import Market

__all__ = ["MINIMUM_SESSIONS", "Forecast", "fit_forecast", "plug_in"]

Floats = npt.NDArray[np.float64]

MINIMUM_SESSIONS = 252
"""Sessions that a fit needs, and between two fits."""
SIZES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Typical active weight of an aim, in multiples of the largest one that an action may choose."""
SPEEDS = (0.1, 0.25, 0.5, 1.0)
_VOLATILITY_WINDOW = 63
# Returns that an asset needs in half of the data.
_LEAST_RETURNS = 60


@dataclass(frozen=True)
class Forecast:
    """Estimated law of the returns from fill to fill.

    Attributes
    ----------
    slopes
        Expected return per unit of each signal [N, K].
    means
        Expected return without signals [N].
    persistence
        φ of each signal [K].
    precision
        Inverse of the covariance of returns [N, N]; rows of assets without returns are 0.
    """

    slopes: Floats
    means: Floats
    persistence: Floats
    precision: Floats

    def aims(self, signals: Floats, speed: float, every: float, *, balanced: bool) -> Floats:
        """Return aims [T, N] up to a factor for signals [T, N, K]; balanced ones sum to 0.

        A share `speed` of the way is traded once in `every` sessions.
        """
        left = self.persistence**every
        # Mean of the signal until the next rebalancing, relative to now; then its value over later ones.
        mean = (1.0 - left) / (1.0 - self.persistence) / every
        factor = mean / (1.0 + (1.0 - left) * (1.0 / speed - 1.0))
        expected = self.means + np.einsum("tnk,nk->tn", signals, self.slopes * factor)
        aims: Floats = expected @ self.precision
        if balanced:
            hedge = self.precision.sum(axis=0)
            aims = aims - hedge * (aims.sum(axis=1, keepdims=True) / hedge.sum())
        return aims


@dataclass(frozen=True)
class _Fit:
    """A forecast with the factor of its aims and the trading speed that were best on the data of the fit.

    ``every`` are the sessions from one rebalancing to the next.
    """

    forecast: Forecast
    factor: float
    speed: float
    every: float


def plug_in(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    rebalance: str | int = "monthly",
    terms: Terms | None = None,
) -> pd.DataFrame:
    """Return the target weights of the plug-in, date × symbol; NaN where there is no order.

    It is fitted once, on the sessions up to ``terms.fitted_until``, or else every 252 sessions on all sessions before.
    Until the first fit there are no orders.

    Raises
    ------
    DataError
        If there are no signals beside the prices, or too few sessions to fit before `end`.
    """
    known = prices.between(None, end)
    if not known.signals:
        raise DataError(
            f"plug-in: {prices.name} has no signals beside it; name some with --signals, or choose another baseline"
        )
    asked = int(known.dates.searchsorted(parse_date(start, "start"))) if start is not None else 0
    window = known.dates[asked:]
    if len(window) == 0:
        raise DataError(f"plug-in: no session of {prices.name} from {start} on")
    terms = terms or Terms()
    config = replace(terms.market, rebalance=rebalance)
    fits = _fit_days(known, terms.fitted_until)
    first = max(asked, fits[0])
    if first >= len(known.dates):
        raise DataError(
            f"plug-in: {prices.name} has too little history for any decision up to {known.dates[-1]:%Y-%m-%d}: it "
            f"begins {prices.dates[0]:%Y-%m-%d} and a fit needs {MINIMUM_SESSIONS} sessions of prices before one"
        )
    known.check_signals(first, len(known.dates) - 1)
    signals = _scaled_signals(known)
    market = _market(known, config, terms, first)
    current: dict[int, _Fit] = {}

    def decide(day: int, held: Floats, rows: DayRows) -> Decision:
        fitted = max(fit for fit in fits if fit <= day)
        if fitted not in current:
            current.clear()
            current[fitted] = _fit(known, config, terms, signals, fitted)
        fit = current[fitted]
        aim = fit.forecast.aims(signals[day : day + 1], fit.speed, fit.every, balanced=_balanced(config))
        aim = fit.factor * aim
        return _decision(aim, np.array([[fit.speed]]), held, rows, config)

    decided, _ = run_accounts(market, first, 1, decide)
    targets = np.full((len(window), len(prices.symbols)), np.nan)
    targets[first - asked :] = decided[:, 0]
    return pd.DataFrame(targets, index=window, columns=list(prices.symbols))


def fit_forecast(market: Market, signals: Floats, days: slice = slice(None)) -> Forecast:
    """Estimate the law of returns on sessions of a market, whose last fills are in its last session.

    Parameters
    ----------
    market
        Prices, costs and settings.
    signals
        Scaled signals [T, N, K].
    days
        Sessions with the decisions that count.
    """
    returns = market.fill_returns()[:-2][days]
    signals = signals[:-2][days]
    precision = _precision(returns)
    if _balanced(market.config):
        returns = returns - np.nanmean(returns, axis=1, keepdims=True)
    slopes, means, slope_variances, mean_variances = _regress(signals, returns)
    counted = np.maximum(np.isfinite(returns).sum(axis=0), 1)
    size = np.maximum(np.sqrt(np.nansum(returns**2, axis=0) / counted), 1e-12)
    for k in range(slopes.shape[1]):
        slopes[:, k] = size * _towards_zero(slopes[:, k] / size, slope_variances[:, k] / size**2)
    means = size * _towards_zero(means / size, mean_variances / size**2)
    later, before = signals[1:], signals[:-1]
    spread = np.maximum((before**2).sum(axis=(0, 1)), 1e-12)
    persistence = np.clip((later * before).sum(axis=(0, 1)) / spread, 0.0, 0.999)
    return Forecast(slopes, means, persistence, precision)


def _fit_days(prices: Prices, until: DateLike | None) -> list[int]:
    """Return the sessions of fits: that of the last training day, or one each year."""
    if until is None:
        return list(range(MINIMUM_SESSIONS, max(len(prices.dates), MINIMUM_SESSIONS + 1), MINIMUM_SESSIONS))
    last = int(prices.dates.searchsorted(parse_date(until, "fitted_until"), side="right")) - 1
    return [max(last, MINIMUM_SESSIONS)]


def _scaled_signals(prices: Prices) -> Floats:
    """Return the signals as agents see them [T, N, K]."""
    columns = [
        scaled(item.values[..., index], parity)
        for item in prices.signals
        for index, parity in enumerate(item.source.parity.values())
    ]
    return np.stack(columns, axis=-1)


def _market(prices: Prices, config: MarketConfig, terms: Terms, first: int) -> Market:
    """Return a market of these prices in double precision."""
    days = (first, len(prices.dates) - 1)
    return Market(prices, config=config, costs=terms.costs, days=days, dtype=torch.float64)


def _fit(prices: Prices, config: MarketConfig, terms: Terms, signals: Floats, day: int) -> _Fit:
    """Fit on sessions up to a day, and choose size and speed there."""
    known = prices.between(None, prices.dates[day])
    first = min(config.history, day // 2)
    market = _market(known, config, terms, first)
    seen = signals[: day + 1]
    middle = (first + day) // 2
    # Decisions before and from the middle on, each with the forecast of the other part.
    halves = slice(0, middle), slice(middle, None)
    forecasts = fit_forecast(market, seen, halves[1]), fit_forecast(market, seen, slice(0, middle - 2))
    every = len(known.dates) / rebalancing_days(known.dates, config.rebalance).sum()
    settings = [(0.0, 1.0), *((size, speed) for size in SIZES[1:] for speed in SPEEDS)]
    wanted = np.zeros((day + 1, len(settings), len(prices.symbols)))
    for place, (size, speed) in enumerate(settings):
        for part, forecast in zip(halves, forecasts, strict=True):
            aims = forecast.aims(seen[part], speed, every, balanced=_balanced(config))
            wanted[part, place] = _factor(size, aims, config) * aims
    speeds = np.array([[speed] for _, speed in settings])

    def decide(at: int, held: Floats, rows: DayRows) -> Decision:
        return _decision(wanted[at], speeds, held, rows, config)

    _, rewards = run_accounts(market, first, len(settings), decide)
    size, speed = settings[int(rewards.mean(axis=0).argmax())]
    forecast = fit_forecast(market, seen)
    aims = forecast.aims(seen[first:], speed, every, balanced=_balanced(config))
    return _Fit(forecast, _factor(size, aims, config), speed, every)


def _factor(size: float, aims: Floats, config: MarketConfig) -> float:
    """Return the factor with which aims [T, N] have a typical size in multiples of the largest one of an action."""
    typical = float(np.sqrt((aims**2).mean()))
    return size * _limit(config, aims.shape[1]) / typical if typical > 0 else 0.0


def _decision(aim: Floats, speed: Floats, held: Floats, rows: DayRows, config: MarketConfig) -> Decision:
    """Return the decision for aims [P, N] at trading speeds [P, 1], by an agent's way of acting."""
    limit = _limit(config, aim.shape[-1])
    if config.actions == "long-only":
        weights = at_most(at_least(aim, 0.0), limit)
        if rows.available is not None:
            weights = weights * rows.available
        target = held + (weights / at_least(weights.sum(axis=-1, keepdims=True), 1.0) - held) * speed
    else:
        action = aim / limit
        if rows.base is not None:
            action = paced_action(action, held, rows.base, config, size=1.0, speed=speed)
        else:
            action = held / limit + (np.clip(action, -1.0, 1.0) - held / limit) * speed
        target = target_weights(action, config, rows.available, rows.base)
    return decision_of(held + (target - held) * config.trading_speed, held, rows, config)


def _balanced(config: MarketConfig) -> bool:
    """Return whether the active weights of an account sum to 0, so that only differences between assets count."""
    return config.tilts and not config.active_net


def _limit(config: MarketConfig, assets: int) -> float:
    """Return the largest (active) weight of an asset."""
    return config.active_limit(assets) if config.tilts else config.weight_limit(assets)


def _towards_zero(estimates: Floats, variances: Floats) -> Floats:
    """Return estimates [N] shrunk towards their mean, and the mean towards 0; assets without data get the mean."""
    known = np.isfinite(estimates) & np.isfinite(variances)
    if not known.any():
        return np.zeros_like(estimates)
    found = shrink(estimates[known], variances[known])
    lost = found.mean() * (1.0 - reliability_of_mean(float(found.mean()), variances[known]))
    result = np.full(estimates.shape, found.mean() - lost)
    result[known] = found - lost
    return result


def _regress(signals: Floats, returns: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Return slopes [N, K] and means [N] of each asset's returns on its signals, and their sampling variances.

    Days are weighted by the inverse of their variance, that of all assets over the sessions before. NaN for an asset
    with too few returns.
    """
    square = pd.Series(np.nanmean(returns**2, axis=1))
    trailing = square.rolling(_VOLATILITY_WINDOW, min_periods=_VOLATILITY_WINDOW // 3).mean().shift(1)
    weight = np.sqrt(1.0 / trailing.bfill().clip(lower=1e-12).to_numpy())
    assets, count = returns.shape[1], signals.shape[2]
    estimates, variances = np.full((2, assets, count + 1), np.nan)
    for i in range(assets):
        known = np.isfinite(returns[:, i])
        if known.sum() < _LEAST_RETURNS:
            continue
        x = np.column_stack([signals[known, i], np.ones(known.sum())]) * weight[known, None]
        y = returns[known, i] * weight[known]
        gram = np.linalg.pinv(x.T @ x)
        estimates[i] = gram @ (x.T @ y)
        residual = y - x @ estimates[i]
        variances[i] = np.diag(gram) * (residual @ residual) / max(len(y) - count - 1, 1)
    return estimates[:, :-1], estimates[:, -1], variances[:, :-1], variances[:, -1]


def _precision(returns: Floats) -> Floats:
    """Return the inverse of the covariance of returns [N, N], shrunk as Ledoit and Wolf."""
    from skfolio.moments import LedoitWolf

    usable = np.isfinite(returns).sum(axis=0) >= _LEAST_RETURNS
    sample = returns[:, usable]
    complete = sample[np.isfinite(sample).all(axis=1)]
    sample = complete if len(complete) >= _LEAST_RETURNS else np.nan_to_num(sample)
    precision = np.zeros((returns.shape[1],) * 2)
    precision[np.ix_(usable, usable)] = np.linalg.inv(LedoitWolf().fit(sample).covariance_)
    return precision
