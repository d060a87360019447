"""Learning curves of a walk-forward run: Sharpe ratios by update, on training and on validation dates.

Axes: S seeds, T evaluations.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from data.prices import Prices
from data.splits import Period
from rl_core.statistics import bootstrap_band
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import Terms, equal_weight
from trading_app.evaluation.metrics import sharpe
from trading_app.experiments.config import RunConfig, stored_config
from trading_app.experiments.training import late_training, prices_of, recorded_dates
from trading_app.runs.run import Run, fold_path, open_run

__all__ = ["PARTS", "learning_curves", "learning_summary"]

PARTS = {"training": "eval_train_sharpe", "validation": "eval_sharpe"}
"""Parts of the dates on which agents are evaluated while they learn, and the columns of ``progress.jsonl``."""

REACHED = 0.9


def learning_curves(run: Run, home: Path) -> list[dict[str, Any]]:
    """Return the learning curves of each fold of a walk-forward run.

    Returns
    -------
    list of dict
        ``updates`` [T]; for ``training``, the last training dates, and ``validation``: ``dates``, ``sharpe`` [T, S],
        and ``equal_weight``, the Sharpe ratio of this baseline on the same dates.
    """
    config = stored_config(run.path)
    prices, curves = prices_of(config, home), []
    for number, dates in enumerate(run.manifest["folds"], start=1):
        split = recorded_dates(dates)
        periods = {"training": late_training(prices, split), "validation": split.validation or split.train}
        fold = open_run(fold_path(run.path, number), home=home)
        progress = fold.progress(containing='"eval_sharpe"')
        updates = progress.groupby("step")["updates"].first()
        curve: dict[str, Any] = {"updates": updates.tolist()}
        for part, column in PARTS.items():
            if column not in progress.columns:
                continue
            table = progress.pivot(index="step", columns="seed", values=column)
            curve[part] = {
                "dates": [str(day.date()) for day in periods[part]],
                "sharpe": table.to_numpy(dtype=np.float64).tolist(),
                "equal_weight": _equal_weight(prices, config, periods[part]),
            }
        curves.append(curve)
    return curves


def _equal_weight(prices: Prices, config: RunConfig, period: Period) -> float:
    """Return the net Sharpe ratio of equal weight, on the schedule of the agent."""
    market, (start, end) = config.market, period
    known = market.universe(prices.between(None, end))
    schedule = "monthly" if market.rebalance == "daily" else market.rebalance
    targets = equal_weight(known, start, end, rebalance=schedule, terms=Terms(market, config.costs))
    result = backtest(
        known, targets, costs=config.costs, start=start, end=end, partial_orders=True, **market.account
    )
    costs = result.cost_model
    return float(sharpe(result.returns, periods=costs.sessions_a_year, risk_free=costs.risk_free))


def learning_summary(curves: list[dict[str, Any]], *, level: float = 0.95) -> dict[str, Any]:
    """Return the Sharpe ratio above equal weight by update: interquartile mean over seeds and folds, with intervals.

    Returns
    -------
    dict
        ``updates`` [T]; for ``training`` and ``validation``: ``estimate``, ``low`` and ``high`` [T], and ``reached``,
        the updates after which the estimate first is 90 % of its last value, None where that is not above 0. A part
        is left out where it was not evaluated, and evaluations at which a seed's Sharpe ratio is not known.
    """
    updates = curves[0]["updates"]
    summary: dict[str, Any] = {"updates": updates}
    for part in PARTS:
        if not all(part in curve and curve["updates"] == updates for curve in curves):
            continue
        gains = np.stack([_gain(curve[part]) for curve in curves], axis=1)
        known = np.isfinite(gains).all(axis=(0, 1))
        if not known.all():
            continue
        band = bootstrap_band(gains, generator=np.random.default_rng(0), confidence=level)
        last = band.estimate[-1]
        reached = np.flatnonzero((band.estimate >= REACHED * last) & (last > 0))
        summary[part] = {
            "estimate": band.estimate.tolist(),
            "low": band.low.tolist(),
            "high": band.high.tolist(),
            "reached": int(updates[reached[0]]) if len(reached) else None,
        }
    return summary


def _gain(part: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Return the Sharpe ratios above equal weight [S, T]."""
    values = np.array(part["sharpe"], dtype=np.float64).T
    return values - float("nan" if part["equal_weight"] is None else part["equal_weight"])
