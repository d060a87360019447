"""Search for look-ahead by another future: what is known at a close must not change when later prices do.

After some sessions all prices, volumes and signals are changed. Features, observations of an environment and weights of
policies up to the session are computed on both histories and compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from data.errors import DataError
from data.features import MARKET_FEATURES, compute_features, market_features
from data.prices import Prices
from trading_app.envs.portfolio import PortfolioEnv
from trading_app.lookahead.findings import Leak
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Decide", "changed_future", "future_leaks", "sessions_to_change"]

#: Sessions before and after the change that environments and policies act in.
_BEFORE, _AFTER = 10, 10
# Sessions around the change that their prices have: a year of history for baselines, a quarter of another future.
_HISTORY, _FUTURE = 300, 63
# Decisions are compared to rounding: a known future moves them by far more.
_TOLERANCE = 1e-9


class Decide(Protocol):
    """Target weights of a policy on each session of a range, date × symbol."""

    def __call__(self, prices: Prices, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        """Return target weights; a row of session t may use prices up to its close alone."""


def sessions_to_change(prices: Prices, config: MarketConfig, count: int) -> list[int]:
    """Return positions of sessions after which the future is changed, evenly spread.

    Raises
    ------
    DataError
        If the prices are too short.
    """
    first, last = config.history + _BEFORE, len(prices.dates) - _AFTER - 3
    if first > last:
        raise DataError(
            f"{prices.name}: {len(prices.dates)} sessions are too few to check: features and window need "
            f"{config.history} and the check {_BEFORE + _AFTER + 3} more; use more prices or a shorter window"
        )
    return sorted({int(day) for day in np.linspace(first, last, count)})


def changed_future(prices: Prices, day: int, generator: np.random.Generator) -> Prices:
    """Return prices and signals that are the same up to the close of a session and others after it.

    A signal changes where it is stamped so that it may be used in later sessions only. One symbol has no prices any
    more.
    """
    ended = int(generator.integers(len(prices.symbols)))
    frames = {}
    for name, frame in prices.fields.items():
        values = frame.to_numpy().copy()
        values[day + 1 :] *= np.exp(generator.normal(0, 0.3, values[day + 1 :].shape))
        if len(prices.symbols) > 1:
            values[day + 1 :, ended] = np.nan
        frames[name] = pd.DataFrame(values, prices.dates, list(prices.symbols))
    signals = []
    for aligned in prices.signals:
        source = aligned.source
        values = source.values.copy()
        later = source.usable(prices.dates) > day
        values[later] = generator.normal(size=values[later].shape) * 3 * np.nanstd(source.values)
        signals.append(replace(source, values=values))
    other = Prices(f"{prices.name} with another future", prices.dates, prices.symbols, frames)
    return other.with_signals(signals)


def future_leaks(
    prices: Prices,
    config: MarketConfig,
    costs: CostModel,
    policies: Mapping[str, Decide],
    days: Sequence[int],
    *,
    seed: int = 0,
) -> list[Leak]:
    """Return what changes before a changed future, each feature, part of an observation and policy once.

    Parameters
    ----------
    prices
        Prices, with signals beside them.
    config, costs
        Market whose features and observations are checked.
    policies
        Name → target weights.
    days
        See `sessions_to_change`.
    seed
        Of the changes.
    """
    panel = prices.with_signals([aligned.source for aligned in prices.signals])
    generator = np.random.default_rng(seed)
    found: dict[tuple[str, str], Leak] = {}
    for day in days:
        other = changed_future(panel, day, generator)
        leaks = list(_features(panel, other, day, config.feature_names))
        # Accounts and policies need what is near alone.
        near = slice(max(0, day - config.history - _HISTORY), day + _FUTURE)
        ends = panel.dates[near][[0, -1]]
        one, two, row = panel.between(*ends), other.between(*ends), day - near.start
        leaks += _observations(one, two, row, config, costs)
        leaks += _decisions(one, two, row, policies)
        for leak in leaks:
            found.setdefault((leak.kind, leak.name), leak)
    return list(found.values())


def _reason(prices: Prices, day: int) -> str:
    return f"changes with prices after the close of {prices.dates[day].date()}"


def _features(prices: Prices, other: Prices, day: int, names: Sequence[str]) -> Iterator[Leak]:
    one, two = (compute_features(panel, names).values[: day + 1] for panel in (prices, other))
    for index, name in enumerate(names):
        rows, columns = np.nonzero(one[..., index] != two[..., index])
        if len(rows):
            date = str(prices.dates[rows[0]].date())
            yield Leak("feature", name, prices.symbols[columns[0]], date, _reason(prices, day))
    one, two = (market_features(panel).values[: day + 1] for panel in (prices, other))
    for index, name in enumerate(MARKET_FEATURES):
        rows = np.flatnonzero(one[:, index] != two[:, index])
        if len(rows):
            yield Leak("market feature", name, None, str(prices.dates[rows[0]].date()), _reason(prices, day))


def _observations(
    prices: Prices, other: Prices, day: int, config: MarketConfig, costs: CostModel
) -> Iterator[Leak]:
    """Compare what accounts see and hold up to a session, under a policy that looks at all that it is shown."""
    one, two = (_episode(panel, day, config, costs) for panel in (prices, other))
    parts = _parts(config)
    for (seen, account, at), (seen_too, account_too, _) in zip(one, two, strict=True):
        date, reason = str(prices.dates[at].date()), _reason(prices, day)
        assets, entries = np.nonzero(seen != seen_too)
        for name in dict.fromkeys(parts[entry] for entry in entries):
            asset = int(next(a for a, entry in zip(assets, entries, strict=True) if parts[entry] == name))
            yield Leak("observation", name, prices.symbols[asset], date, reason)
        if not np.array_equal(account, account_too):
            yield Leak("observation", "account", None, date, reason)


def _episode(
    prices: Prices, day: int, config: MarketConfig, costs: CostModel
) -> list[tuple[NDArray[np.float32], Floats, int]]:
    """Return observations, accounts (weights and value) and days of an episode that ends at the close of `day`."""
    env = PortfolioEnv(prices, config=config, costs=costs)
    observation, info = env.reset(options={"start": prices.dates[day - _BEFORE]})
    # The presence of assets, where there is one, comes last and shows in rows of zeros.
    width = len(_parts(config))
    mixer = np.random.default_rng(1).normal(size=width) / np.sqrt(width)
    record = []
    while info["day"] <= day:
        observation = observation[:, :width]
        record.append((observation, np.append(info["weights"], info["nav"]), int(info["day"])))
        if info["day"] == day:
            break
        observation, _, terminated, _, info = env.step(np.tanh(observation @ mixer))
        if terminated:
            break
    return record


def _parts(config: MarketConfig) -> list[str]:
    """Return the name of each entry of an observation's rows."""
    return [
        *(config.feature_names * config.window),
        "weight held",
        *MARKET_FEATURES,
        "net exposure",
    ]


def _decisions(prices: Prices, other: Prices, day: int, policies: Mapping[str, Decide]) -> Iterator[Leak]:
    start, end, last = (prices.dates[row] for row in (day - _BEFORE, day + _AFTER, day))
    for name, decide in policies.items():
        one, two = (decide(panel, start, end).loc[:last] for panel in (prices, other))
        apart = np.abs(one.fillna(0.0).to_numpy() - two.fillna(0.0).to_numpy()) > _TOLERANCE
        rows, columns = np.nonzero(apart)
        if len(rows):
            date = str(one.index[rows[0]].date())
            yield Leak("decision", name, prices.symbols[columns[0]], date, _reason(prices, day))
