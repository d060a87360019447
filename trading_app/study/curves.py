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
from trading_app.backtesting.policies import AgentPolicy
from trading_app.evaluation.metrics import sharpe
from trading_app.experiments.config import stored_config
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import late_training, prices_of, recorded_dates
from trading_app.runs.run import Run, fold_path, open_run
from trading_app.study.base import base_result

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
        and ``base``, the Sharpe ratio of an agent that has not learned (`trading_app.study.base`) on the same dates.
    """
    prices, policy, curves = prices_of(stored_config(run.path), home), load_policy(run.path), []
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
                "base": _base_sharpe(policy, prices, periods[part]),
            }
        curves.append(curve)
    return curves


def _base_sharpe(policy: AgentPolicy, prices: Prices, period: Period) -> float:
    """Return the net Sharpe ratio of an agent's base."""
    result = base_result(policy, prices, *period)
    costs = result.cost_model
    return float(sharpe(result.returns, periods=costs.sessions_a_year, risk_free=costs.risk_free))


def learning_summary(curves: list[dict[str, Any]], *, level: float = 0.95) -> dict[str, Any]:
    """Return the Sharpe ratio above the base by update: interquartile mean over seeds and folds, with intervals.

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
    """Return the Sharpe ratios above the base [S, T]."""
    values = np.array(part["sharpe"], dtype=np.float64).T
    return values - float("nan" if part["base"] is None else part["base"])
