"""The benchmark of an active objective: its returns from fill to fill, on the calendar of the accounts.

A portfolio or a symbol is an account of its own, with the fills, costs and schedule of the market: that of a tilt
without active weights. A series from a file has no costs but those in its levels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from data.errors import DataError
from trading_app.market.accounts import AccountRules
from trading_app.market.base import base_weights
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.decisions import decide, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices
    from trading_app.market.panel import TradingPanel

    Floats = NDArray[np.float64]

__all__ = ["Benchmark", "benchmark_levels", "benchmark_returns"]


class Benchmark(NamedTuple):
    """Returns of a benchmark.

    Attributes
    ----------
    returns
        From the fill after each close to the next fill, after costs [T]; 0 outside the range asked for.
    parts
        Those of its assets [T, N], see `AccountRules.asset_returns`; None for a series.
    targets
        Target weights decided at each close, NaN without an order [T, N]; None for a series.
    """

    returns: Floats
    parts: Floats | None
    targets: Floats | None


def benchmark_returns(
    prices: Prices, panel: TradingPanel, config: MarketConfig, costs: CostModel, first: int, last: int
) -> Benchmark:
    """Return the benchmark of a market, decided from day `first` to day `last`; it begins in cash.

    Raises
    ------
    DataError
        If the benchmark is no portfolio, no symbol of the prices and no file with dates and levels in that range.
    """
    name = config.benchmark_name
    changes: dict[str, Any]
    if name == "base":
        changes = {"base": config.base, "base_weights": config.base_weights}
    elif name in ("equal-weight", "inverse-volatility", "min-variance"):
        changes = {"base": name, "base_weights": None}
    elif name in prices.symbols:
        changes = {"base": "given", "base_weights": {name: 1.0}}
    else:
        return Benchmark(_series_returns(name, prices, panel.at_close, first, last), None, None)
    held = {**config.plain_tilt, **changes}
    return _account_returns(prices, panel, replace(config, **held), costs, first, last)


def _account_returns(
    prices: Prices, panel: TradingPanel, config: MarketConfig, costs: CostModel, first: int, last: int
) -> Benchmark:
    base = base_weights(prices, config, first, last)
    rules = AccountRules(panel, config, costs, base=base, length=last - first + 2, dtype=np.float64)
    state = rules.start(np.int64(first))
    returns, parts, targets = np.zeros(len(base)), np.zeros(base.shape), np.full(base.shape, np.nan)
    for day in range(first, last + 1):
        rows = rows_of(rules.tables, state["day"])
        decision = decide(np.zeros(base.shape[1]), state["weights"], rows, config)
        targets[day] = decision.instructions
        outcome = rules.trade(state, decision)
        returns[day] = outcome.state["value"] / state["value"] - 1.0
        parts[day] = rules.asset_returns(outcome.fill)
        state = outcome.state
    return Benchmark(returns, parts, targets)


def benchmark_levels(path: Path) -> pd.Series[float]:
    """Return the levels of a benchmark from a CSV or Parquet file, by date; DataError for another file."""
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, index_col=0)
        series = (
            frame.set_axis(pd.to_datetime(frame.index, format="ISO8601"))
            .iloc[:, 0]
            .astype(float)
            .sort_index()
        )
    except (OSError, ValueError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: not a table of dates (YYYY-MM-DD) and levels ({reason})") from None
    if not (np.isfinite(series) & (series > 0)).all():
        raise DataError(f"{path}: a level is not a number above 0")
    return series


def _series_returns(name: str | None, prices: Prices, at_close: bool, first: int, last: int) -> Floats:
    """Return the returns [T] of the levels in a file; at the open, those of the session in which a fill is."""
    path = Path(str(name))
    if not path.is_file():
        raise DataError(
            f"market.benchmark is {name!r}: it must be base (of a tilt), equal-weight, inverse-volatility, "
            f"min-variance, a symbol of {prices.name}, or a file with dates and levels"
        )
    series = benchmark_levels(path)
    level = series.reindex(prices.dates, method="ffill").to_numpy()
    rows = np.arange(len(level)) + (1 if at_close else 0)
    after = np.minimum(rows + 1, len(level) - 1)
    growth = level[after] / level[np.minimum(rows, len(level) - 1)]
    stop = min(last + 3, len(level)) - 1
    if series.index[-1] < prices.dates[stop] or not np.isfinite(growth[first : last + 1]).all():
        raise DataError(
            f"{path}: levels from {series.index[0].date()} to {series.index[-1].date()} do not cover "
            f"{prices.dates[first].date()} to {prices.dates[stop].date()}"
        )
    returns = np.zeros(len(level))
    returns[first : last + 1] = growth[first : last + 1] - 1.0
    return returns
