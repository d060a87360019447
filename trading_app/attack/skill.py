"""Attacks on the profit that is found: none on prices without a signal, and that of a planted signal.

Profit is the return above an account with the same rules, costs and fills whose actions are all 0: the base of a tilt,
cash for long–short. On prices without drift neither can expect any before costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from data.prices import Prices
from trading_app.attack.findings import Attack
from trading_app.attack.prices import placebo_prices
from trading_app.backtesting.backtest import backtest
from trading_app.market.accounts import AccountRules
from trading_app.market.base import base_weights
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.decisions import decide, rows_of
from trading_app.market.panel import trading_panel

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Decided = Callable[[Prices, pd.Timestamp, pd.Timestamp], dict[str, Floats]]

__all__ = ["placebo_attack", "planted_attack"]

#: t-value above which a profit is no luck: 1 in 700 of honest agents.
SIGNIFICANT = 3.0
#: Share of the variance of a session's return that the planted signal predicts, and sessions of its half-life.
STRENGTH, HALF_LIFE = 0.02, 10
#: Sessions of all draws together from which the planted signal is found, and the most draws for them.
ENOUGH, MOST_DRAWS = 2_000, 20


def placebo_attack(
    decide_all: Decided,
    prices: Prices,
    config: MarketConfig,
    costs: CostModel,
    period: tuple[pd.Timestamp, pd.Timestamp],
    draws: int,
) -> Attack:
    """Return whether policies profit from prices without a signal.

    Parameters
    ----------
    decide_all
        Target weights by name, each [K, T, N] for K accounts whose mean return counts, NaN where there is no order.
    prices
        Real prices, with the history that decisions need before the period.
    config, costs
        Rules of the accounts.
    period
        First and last session.
    draws
        Number of draws of prices.
    """
    found: dict[str, list[Floats]] = {}
    for draw in range(draws):
        fake = placebo_prices(prices, np.random.default_rng(draw))
        idle = _followed(fake, np.zeros((len(fake.dates), len(fake.symbols))), config, costs, period[0])
        for name, targets in decide_all(fake, *period).items():
            excess = _excess(fake, targets, idle, config, costs, period)
            found.setdefault(name, []).append(excess)
    scores = {name: _score(np.concatenate(parts)) for name, parts in found.items()}
    name = max(scores, key=lambda one: scores[one][1])
    mean, t = scores[name]
    yearly = mean * costs.for_dates(prices.dates).sessions_a_year
    whose = "" if len(scores) == 1 else f"{name}: "
    return Attack(
        "placebo",
        f"no profit on {draws} draws of days in random order and with random signs (t at most {SIGNIFICANT:g})",
        f"{whose}{yearly:+.1%} a year, t = {t:+.1f}",
        t <= SIGNIFICANT,
        {"yearly": yearly, "t": t, "draws": draws},
    )


def planted_attack(
    prices: Prices,
    config: MarketConfig,
    costs: CostModel,
    period: tuple[pd.Timestamp, pd.Timestamp],
    draws: int,
) -> Attack:
    """Return whether a known signal that is added to prices without one earns money by the same rules.

    Without it, no profit found on placebo prices would say little: rules, limits, fills or costs may hide all profit.
    The signal of a close predicts the returns of the next sessions; a rule follows it by actions from −1 to 1. Short
    periods are drawn more often than `draws` times, so that the profit is found.
    """
    sessions = int(prices.dates.searchsorted(period[1]) - prices.dates.searchsorted(period[0]))
    parts, draws = [], max(draws, min(MOST_DRAWS, ENOUGH // max(sessions, 1) + 1))
    for draw in range(draws):
        generator = np.random.default_rng([draw, 1])
        signal = _signal(generator, *prices.close.shape)
        spread = np.nanstd(
            np.diff(np.log(prices.adjusted("close").to_numpy(dtype=np.float64)), axis=0), axis=0
        )
        drift = (
            np.vstack([np.zeros((1, len(spread))), signal[:-1]]) * np.sqrt(STRENGTH) * np.nan_to_num(spread)
        )
        fake = placebo_prices(prices, generator, drift=drift)
        idle, rule = (
            _followed(fake, action, config, costs, period[0])
            for action in (np.zeros_like(signal), np.clip(signal, -1.0, 1.0))
        )
        parts.append(_excess(fake, rule[None], idle, config, costs, period))
    mean, t = _score(np.concatenate(parts))
    yearly = mean * costs.for_dates(prices.dates).sessions_a_year
    return Attack(
        "planted",
        f"a rule that follows a planted signal (R² {STRENGTH:.0%} a day) profits (t at least {SIGNIFICANT:g})",
        f"{yearly:+.1%} a year, t = {t:+.1f}",
        t >= SIGNIFICANT,
        {"yearly": yearly, "t": t, "draws": draws},
    )


def _signal(generator: np.random.Generator, sessions: int, assets: int) -> Floats:
    """Independent autoregressive signals of variance 1 [T, N]."""
    stay = 0.5 ** (1 / HALF_LIFE)
    signal = generator.normal(size=(sessions, assets))
    for t in range(1, sessions):
        signal[t] = stay * signal[t - 1] + np.sqrt(1 - stay**2) * signal[t]
    return signal


def _followed(
    prices: Prices, actions: Floats, config: MarketConfig, costs: CostModel, start: pd.Timestamp
) -> Floats:
    """Return the targets of an account that takes actions [T, N] from a session on, NaN without an order [D, N]."""
    prices = config.universe(prices)
    first, last = int(prices.dates.searchsorted(start)), len(prices.dates) - 1
    panel = trading_panel(
        prices, config.fill, delist_after=config.delist_after, delisting_return=config.delisting_return
    )
    base = base_weights(prices, config, first, last) if config.tilts else None
    model = costs.for_dates(prices.dates)
    rules = AccountRules(panel, _plain(config), model, base=base, length=last + 1, dtype=np.float64)
    state, targets = rules.start(np.int64(first)), np.empty((last + 1 - first, actions.shape[1]))
    for day in range(first, last + 1):
        decision = decide(actions[day], state["weights"], rows_of(rules.tables, np.int64(day)), rules.config)
        targets[day - first] = decision.instructions
        if day < last:
            state = rules.trade(state, decision).state
    return targets


def _plain(config: MarketConfig) -> MarketConfig:
    """The same actions, schedule, band and limits, with a reward that needs no benchmark."""
    return replace(config, reward="log", benchmark=None)


def _excess(
    prices: Prices,
    targets: Floats,
    idle: Floats,
    config: MarketConfig,
    costs: CostModel,
    period: tuple[pd.Timestamp, pd.Timestamp],
) -> Floats:
    """Mean return of accounts with targets [K, T, N], less that of the idle account [T, N], each session."""
    batch = backtest(
        prices,
        np.concatenate([targets, idle[None]]),
        costs=costs,
        start=period[0],
        end=period[1],
        partial_orders=True,
        **config.account,
    )
    returns = np.asarray(batch.returns, dtype=np.float64)
    return np.asarray(returns[:, :-1].mean(axis=1) - returns[:, -1])


def _score(excess: Floats) -> tuple[float, float]:
    """Mean and t-value of returns; 0 where all are equal."""
    spread = float(excess.std(ddof=1))
    if spread < 1e-12:
        return float(excess.mean()), 0.0
    return float(excess.mean()), float(excess.mean() / (spread / np.sqrt(len(excess))))
