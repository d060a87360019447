"""Decisions: from an action at a close to target weights and orders, for NumPy arrays and torch tensors.

Accounts in training, made transitions, backtests and the service decide by these functions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from data.errors import DataError
from trading_app.market.accounting import Array, at_most, total
from trading_app.market.actions import target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.limits import LimitRows, limited_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trading_app.market.panel import TradingPanel

    Floats = NDArray[np.float64]

# Smaller changes of a weight without an order are rounding.
_STILL = 1e-12
_VOLUME_WINDOW = 21
_BETA_WINDOW, _BETA_MINIMUM = 252, 63

__all__ = [
    "DayRows",
    "Decision",
    "day_tables",
    "decide",
    "decision_of",
    "order_flags",
    "rebalancing_days",
    "rows_of",
    "table_rows",
    "target_of",
]


class DayRows(NamedTuple):
    """What a decision depends on besides action and weights held, [..., N] each; None where it makes no difference.

    Attributes
    ----------
    available
        1 where an asset may be given weight.
    base
        Weights of a tilt's base; all 0 on a day without one, when the target is cash.
    scheduled
        1 on a day of the rebalancing schedule [..., 1].
    untraded
        1 where an asset is available but did not trade in the session.
    no_buy, no_sell, group, largest_trade, beta
        As in `trading_app.market.limits.LimitRows`.
    """

    available: Array | None = None
    base: Array | None = None
    scheduled: Array | None = None
    untraded: Array | None = None
    no_buy: Array | None = None
    no_sell: Array | None = None
    group: Array | None = None
    largest_trade: Array | None = None
    beta: Array | None = None

    @property
    def limits(self) -> LimitRows:
        """Rows of the limits."""
        return LimitRows(self.no_buy, self.no_sell, self.group, self.largest_trade, self.beta, self.available)


class Decision(NamedTuple):
    """A decision.

    Attributes
    ----------
    target
        Target weights [..., N].
    orders
        1 where there is an order [..., N]; None for orders in every asset.
    wanted
        The weights before limits [..., N]; None where there are no limits.
    """

    target: Array
    orders: Array | None
    wanted: Array | None = None

    @property
    def instructions(self) -> Floats:
        """Target weights as a backtest takes them, NaN where there is no order (NumPy alone)."""
        return self.target if self.orders is None else np.where(self.orders > 0, self.target, np.nan)


def decide(action: Array, held: Array, rows: DayRows, config: MarketConfig) -> Decision:
    """Return the decision of actions in [−1, 1] [..., N] for accounts that hold these weights at the close [..., N]."""
    return decision_of(target_of(action, held, rows, config), held, rows, config)


def target_of(action: Array, held: Array, rows: DayRows, config: MarketConfig) -> Array:
    """Return the target weights of actions [..., N], before schedule, band and limits."""
    target = target_weights(action, config, rows.available, rows.base)
    if config.trading_speed == 1.0:
        return target
    return held + (target - held) * config.trading_speed


def decision_of(target: Array, held: Array, rows: DayRows, config: MarketConfig) -> Decision:
    """Return the decision for target weights [..., N]: which assets schedule and band let trade, within the limits.

    An asset without an order keeps the weight held, unless a limit moves it.
    """
    flags = order_flags(target, held, rows, config)
    if not config.limits.names:
        return Decision(target, flags)
    wanted = target if flags is None else target * flags + held * (flags == 0)
    weights = limited_weights(wanted, held, rows.limits, config.limits)
    if flags is not None:
        flags = at_most(flags + (abs(weights - held) > _STILL), 1.0)
    return Decision(weights, flags, wanted)


def order_flags(target: Array, held: Array, rows: DayRows, config: MarketConfig) -> Array | None:
    """Return 1 where an asset has an order [..., N]; None where every asset has one on every day.

    On days of the schedule, and for an account that holds nothing, these are the assets whose target is outside the
    no-trade band. Assets that did not trade in the session always have one: an order that waits is decided anew.
    """
    if config.orders_everything:
        return None
    gap = abs(target - held)
    flags = gap >= 0 if config.no_trade_band == 0.0 else gap > config.no_trade_band
    if rows.scheduled is not None:
        flags = flags * at_most(rows.scheduled + (total(abs(held)) == 0)[..., None], 1.0)
    return flags * 1.0 if rows.untraded is None else at_most(flags + rows.untraded, 1.0)


def day_tables(
    panel: TradingPanel, config: MarketConfig, base: Floats | None, capital: float
) -> dict[str, Floats]:
    """Return the tables [T, …] whose rows are a `DayRows`, without those that make no difference.

    DataError if a limit names another symbol, or needs volumes that the prices lack. `capital` is the value of the
    account in the currency of the prices.
    """
    tables = {} if base is None else {"base": base}
    if not (panel.always_traded and panel.status.available.all()):
        tables["available"] = panel.status.available.astype(np.float64)
    tables |= _limit_tables(panel, config, capital)
    if config.orders_everything:
        return tables
    if config.rebalance not in ("daily", 1):
        tables["scheduled"] = rebalancing_days(panel.dates, config.rebalance)[:, None].astype(np.float64)
    if not panel.always_traded:
        tables["untraded"] = (panel.status.available & ~panel.status.traded).astype(np.float64)
    return tables


def _limit_tables(panel: TradingPanel, config: MarketConfig, capital: float) -> dict[str, Floats]:
    """Return the tables [T, N] of the limits that depend on symbols, volumes or betas."""
    limits, symbols, tables = config.limits, panel.symbols, {}
    for name in ("no_buy", "no_sell"):
        if named := getattr(limits, name):
            unknown = [symbol for symbol in named if symbol not in symbols]
            if unknown:
                raise DataError(f"market.limits.{name}: {unknown[0]} is not a symbol of {panel.name}")
            tables[name] = np.array([float(symbol in named) for symbol in symbols])
    if limits.group_weight is not None:
        groups = limits.groups or {}
        missing = [symbol for symbol in symbols if symbol not in groups]
        if missing:
            raise DataError(f"market.limits.groups: {missing[0]} of {panel.name} has no group")
        numbers = {group: number for number, group in enumerate(sorted(set(groups.values())))}
        tables["group"] = np.array([float(numbers[groups[symbol]]) for symbol in symbols])
    found = {name: np.tile(row, (len(panel.close), 1)) for name, row in tables.items()}
    if limits.participation is not None:
        if panel.volume is None:
            raise DataError(f"market.limits.participation: {panel.name} has no volumes")
        volume = pd.DataFrame(panel.volume).rolling(_VOLUME_WINDOW, min_periods=1).mean().fillna(0.0)
        found["largest_trade"] = volume.to_numpy() * limits.participation / capital
    if limits.beta_min is not None or limits.beta_max is not None:
        found["beta"] = _betas(panel, config.benchmark)
    return found


def _betas(panel: TradingPanel, benchmark: str | None) -> Floats:
    """Return each symbol's beta at each close [T, N], to a symbol or to the equally weighted symbols that trade."""
    returns = pd.DataFrame(panel.close, columns=list(panel.symbols)).pct_change()
    returns = returns.where(panel.status.traded)
    market = returns[benchmark] if benchmark in panel.symbols else returns.mean(axis=1)
    spread = market.rolling(_BETA_WINDOW, min_periods=_BETA_MINIMUM).var()
    betas = returns.rolling(_BETA_WINDOW, min_periods=_BETA_MINIMUM).cov(market).div(spread, axis=0)
    return np.where(np.isfinite(betas), betas, 1.0)


def rows_of(tables: Mapping[str, Array], day: Array) -> DayRows:
    """Return the rows of days [...] in tables of `day_tables`; other tables are ignored."""
    return DayRows(*(table_rows(tables[name], day) if name in tables else None for name in DayRows._fields))


def table_rows(table: Array, day: Array) -> Array:
    """Return the rows [..., N] of a table [T, N] for days [...]."""
    return table.take(day, axis=0) if isinstance(table, np.ndarray) else table[day]


def rebalancing_days(dates: pd.DatetimeIndex, rebalance: str | int) -> NDArray[np.bool_]:
    """Return which sessions belong to a schedule [T]; see `MarketConfig.rebalance`.

    They do not depend on later dates.
    """
    if isinstance(rebalance, int):
        return np.asarray(np.arange(len(dates)) % rebalance == 0)
    if rebalance == "daily":
        return np.ones(len(dates), dtype=bool)
    period = dates.to_period("W" if rebalance == "weekly" else "M").asi8
    first = np.ones(len(dates), dtype=bool)
    first[1:] = period[1:] != period[:-1]
    return first
