"""Cross-validation of a choice among baselines, trials of a search, or returns from a file.

Keys of the document:

``source``, ``start``, ``end``, ``sessions``, ``periods``; ``folds``, ``test_folds``, ``purge``, ``embargo`` and the
number of ``splits``; ``configurations``: name → ``sharpe`` (annualised, over all dates) and ``chosen`` (share of the
splits that chose it); ``paths``: Sharpe ratio of each path, on whose dates the choice was made from other dates, and
``path_median``; ``overfitting``: a `trading_app.evaluation.overfitting.Overfitting` as a mapping.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from data.fields import DateLike
from data.frequency import periods_per_year
from equitrade.json_values import json_value
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import Terms
from trading_app.evaluation.cross_validation import combinatorial_splits, cross_validate
from trading_app.evaluation.metrics import Rate, less_dated_rates, sharpe
from trading_app.evaluation.overfitting import overfitting
from trading_app.experiments.config import RunConfig
from trading_app.experiments.out_of_sample import baseline_weights
from trading_app.experiments.training import prices_of


def baseline_returns(
    config: RunConfig, home: Path, *, start: DateLike | None = None, end: DateLike | None = None
) -> pd.DataFrame:
    """Return the net returns of every baseline that can be computed, date × baseline.

    Baselines estimate on past prices alone, so that they are the same in every split: only their choice is tested.
    """
    prices = prices_of(config, home)
    first, last = (start or prices.dates[0], end or prices.dates[-1])
    weights, _ = baseline_weights(prices, first, last, Terms(config.market, config.costs))
    if len(weights) < 2:
        raise DataError(f"{prices.name}: {len(weights)} baselines can be computed; a choice needs 2")
    options = {"start": first, "end": last, "partial_orders": True, **config.market.account}
    return backtest(prices, weights, costs=config.costs, **options).returns


def cross_validation_document(
    returns: pd.DataFrame,
    source: str,
    *,
    folds: int = 10,
    test_folds: int = 2,
    purge: int = 1,
    embargo: int = 5,
    risk_free: Rate = 0.0,
    periods: int | None = None,
) -> dict[str, Any]:
    """Cross-validate the choice of the configuration with the highest Sharpe ratio; see the module's docstring.

    Parameters
    ----------
    returns
        Net returns, date × configuration.
    source
        Name of what they are returns of.
    folds, test_folds, purge, embargo
        As of `trading_app.evaluation.cross_validation.combinatorial_splits`.
    risk_free, periods
        Annual rate or that of each return [T], and sessions a year; found from the dates by default.

    Raises
    ------
    DataError
        For fewer than 2 configurations, a missing return, or folds that do not fit the dates.
    """
    if len(returns.columns) < 2:
        raise DataError(f"{source}: {len(returns.columns)} configuration; a choice needs 2")
    dates = pd.DatetimeIndex(returns.index)
    year = periods_per_year(dates) if periods is None else periods
    options = {"folds": folds, "test_folds": test_folds, "purge": purge, "embargo": embargo}
    found = cross_validate(returns, periods=year, risk_free=risk_free, **options)
    ratios = sharpe(returns, periods=year, risk_free=risk_free)
    above, rest = less_dated_rates(returns.to_numpy(dtype=np.float64), risk_free, year)
    excess = above - rest / year
    document = {
        "source": source,
        "start": f"{dates[0]:%Y-%m-%d}",
        "end": f"{dates[-1]:%Y-%m-%d}",
        "sessions": len(returns),
        "periods": year,
        **options,
        "splits": sum(1 for _ in combinatorial_splits(len(returns), **options)),
        "configurations": {
            name: {"sharpe": float(ratio), "chosen": share}
            for (name, share), ratio in zip(found.choices.items(), ratios, strict=True)
        },
        "paths": list(found.sharpes),
        "path_median": float(np.median(found.sharpes)),
        "overfitting": asdict(overfitting(excess, periods=year)),
    }
    return dict(json_value(document))
