"""Comparison of backtested runs and baselines on their common dates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from data.errors import DataError
from equitrade.json_values import json_value
from trading_app.backtesting.summary import AGENT, kind_of
from trading_app.evaluation.metrics import bootstrap_table, metrics_table
from trading_app.evaluation.significance import compare, spa
from trading_app.market.costs import CostModel
from trading_app.runs.backtests import SavedBacktest, load_backtest
from trading_app.runs.run import Run

__all__ = ["compare_runs"]

MEASURES = ("cagr", "volatility", "sharpe", "max_drawdown")
FEWEST = 20


def compare_runs(
    runs: Sequence[Run], *, level: float = 0.95, reps: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Measure backtested runs on their common dates, and test the others against the first.

    Returns
    -------
    dict
        ``start``, ``end``, ``sessions``; ``strategies``: name → ``metrics`` and ``intervals``, the runs first, then
        the baselines that all of them have; ``comparisons`` of the first with each other strategy
        (a `Comparison`); ``spa``: test whether any run has a higher mean return than the first, None for one run alone;
        ``notes`` on differences between the runs.

    Raises
    ------
    DataError
        For a run given twice, one without a backtest, or too few common dates.
    """
    names = [run.name for run in runs]
    if len(set(names)) < len(names) or not names:
        raise DataError(f"compare: each run must be named once, not {', '.join(names) or 'none'}")
    saved = {run.name: load_backtest(run) for run in runs}
    sessions, returns = _returns(saved)
    first = next(iter(saved.values())).document
    costs = CostModel(**first["costs"])
    rates = {"periods": first["periods"], "risk_free": costs.risk_free_of(sessions)}
    table = metrics_table(returns, **rates)
    bounds = bootstrap_table(returns, level=level, reps=reps, seed=seed, **rates)
    others = [name for name in returns.columns if name != names[0]]
    document = {
        "start": f"{returns.index[0]:%Y-%m-%d}",
        "end": f"{returns.index[-1]:%Y-%m-%d}",
        "sessions": len(returns),
        "level": level,
        "strategies": {
            name: {
                "kind": "run" if name in saved else "baseline",
                "metrics": {m: table.loc[name, m] for m in MEASURES},
                "intervals": {m: [bounds.loc[name, (m, side)] for side in ("low", "high")] for m in MEASURES},
            }
            for name in returns.columns
        },
        "comparisons": [
            c.to_dict()
            for c in compare(returns, names[0], others, level=level, reps=reps, seed=seed, **rates)
        ],
        "spa": spa(returns, names[0], names[1:], reps=reps, seed=seed).to_dict() if names[1:] else None,
        "notes": _notes(saved),
    }
    return dict(json_value(document))


def _returns(saved: dict[str, SavedBacktest]) -> tuple[pd.DatetimeIndex, pd.DataFrame]:
    """Common sessions, and returns of each run's agent and of the shared baselines between them, date × strategy."""
    equity = {name: backtest.equity[AGENT] for name, backtest in saved.items()}
    first = next(iter(saved.values()))
    for name in first.strategies:
        if kind_of(name) == "baseline" and all(name in s.strategies for s in saved.values()):
            equity.setdefault(name, first.equity[name])
    table = pd.concat(equity, axis=1, join="inner").dropna()
    if len(table) < FEWEST:
        raise DataError(
            f"compare: {', '.join(saved)} have {len(table)} common dates, at least {FEWEST} are needed"
        )
    returns = table.pct_change().iloc[1:].replace([np.inf, -np.inf], np.nan).fillna(0.0)
    return pd.DatetimeIndex(table.index), returns


def _notes(saved: dict[str, SavedBacktest]) -> list[str]:
    """Return warnings: differences in prices, costs or fills make a comparison unfair."""
    documents = [backtest.document for backtest in saved.values()]
    facts: dict[str, list[Any]] = {
        "prices": [document["data"].get("hash") for document in documents],
        "costs": [document["costs"] for document in documents],
        "fills": [document["fill"] for document in documents],
    }
    return [
        f"the runs were backtested on different {what}; baselines are those of the first run"
        for what, values in facts.items()
        if any(value != values[0] for value in values)
    ]
