"""Decisions: from an action at a close to target weights and orders, for NumPy arrays and torch tensors.

Accounts in training, made transitions, backtests and the service decide by these functions alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from trading_app.market.accounting import Array, at_most, total
from trading_app.market.actions import target_weights
from trading_app.market.config import MarketConfig

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from trading_app.market.panel import TradingPanel

    Floats = NDArray[np.float64]

__all__ = [
    "DayRows",
    "Decision",
    "day_tables",
    "decide",
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
    """

    available: Array | None = None
    base: Array | None = None
    scheduled: Array | None = None
    untraded: Array | None = None


class Decision(NamedTuple):
    """Target weights [..., N], and 1 where there is an order [..., N]; None for orders in every asset."""

    target: Array
    orders: Array | None

    @property
    def instructions(self) -> Floats:
        """Target weights as a backtest takes them, NaN where there is no order (NumPy alone)."""
        return self.target if self.orders is None else np.where(self.orders > 0, self.target, np.nan)


def decide(action: Array, held: Array, rows: DayRows, config: MarketConfig) -> Decision:
    """Return the decision of actions in [−1, 1] [..., N] for accounts that hold these weights at the close [..., N]."""
    target = target_of(action, held, rows, config)
    return Decision(target, order_flags(target, held, rows, config))


def target_of(action: Array, held: Array, rows: DayRows, config: MarketConfig) -> Array:
    """Return the target weights of actions [..., N], before the question which assets have orders."""
    target = target_weights(action, config, rows.available, rows.base)
    if config.trading_speed == 1.0:
        return target
    return held + (target - held) * config.trading_speed


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


def day_tables(panel: TradingPanel, config: MarketConfig, base: Floats | None) -> dict[str, Floats]:
    """Return the tables [T, …] whose rows are a `DayRows`, without those that make no difference."""
    tables = {} if base is None else {"base": base}
    if not panel.always_traded:
        tables["available"] = panel.status.available.astype(np.float64)
    if config.orders_everything:
        return tables
    if config.rebalance not in ("daily", 1):
        tables["scheduled"] = rebalancing_days(panel.dates, config.rebalance)[:, None].astype(np.float64)
    if not panel.always_traded:
        tables["untraded"] = (panel.status.available & ~panel.status.traded).astype(np.float64)
    return tables


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
