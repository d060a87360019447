"""Evidence document of a backtest: metrics, intervals and tests; the content of a run's ``metrics.json``.

Keys of the document:

``schema``, ``start``, ``end``, ``sessions`` (returns), ``periods``, ``risk_free``, ``fill``, ``costs`` (the cost
model), ``notes`` (sentences), ``level`` and ``reps`` (of every interval); ``strategies``: name → ``kind`` (agent, seed
or baseline), ``metrics``, ``intervals`` (measure → [low, high]) and ``totals`` (cost components in units of the
start); ``reference``: the baseline that headlines compare with; ``comparisons``: a list of `Comparison` as mappings;
``spa``: tests of the agent and its seeds against each baseline; ``spa_reverse``: of all baselines against the agent;
``probabilistic_sharpe``, ``deflated_sharpe`` with ``trials``, ``overfitting``: probability that the choice among the
trials is overfitted; ``above_reference``: evidence on the return above the reference
(`trading_app.backtesting.above_reference`), and ``above_benchmark`` on that above a series; ``departure``: distance of
the seeds from their base, and what they share of it (`trading_app.evaluation.departure`); ``seeds``: spread of each
measure over seeds.

What is undefined is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import DataError
from equitrade.json_values import json_value
from rl_core.statistics import bootstrap_interval
from trading_app.backtesting.above_reference import above_reference, above_series
from trading_app.backtesting.results import BatchResult, trading_costs
from trading_app.evaluation.departure import departure
from trading_app.evaluation.metrics import bootstrap_table, metrics_table
from trading_app.evaluation.significance import compare, deflated_sharpe, probabilistic_sharpe, spa

SCHEMA = 1
AGENT = "agent"
SEED_PREFIX = "seed-"


def kind_of(strategy: str) -> str:
    """``"agent"`` (the ensemble), ``"seed"`` or ``"baseline"``, by the names that runs use."""
    if strategy == AGENT:
        return "agent"
    return "seed" if strategy.startswith(SEED_PREFIX) else "baseline"


def evidence(
    results: BatchResult,
    *,
    reference: str = "equal-weight",
    trials: int = 1,
    trial_sharpes: Sequence[float] | None = None,
    overfitting: float | None = None,
    level: float = 0.95,
    reps: int = 1000,
    seed: int = 0,
    active: npt.NDArray[np.float64] | None = None,
    subject: str = AGENT,
    benchmark: pd.Series | None = None,
) -> dict[str, Any]:
    """Measure strategies, compare the agent with the baselines and test for data snooping.

    Parameters
    ----------
    results : BatchResult
        Backtests of ``agent`` (the ensemble of the seeds), ``seed-0`` … and baselines, under the same costs.
        Without an agent there are measures and intervals only.
    reference : str
        Baseline that headlines compare with; the first baseline where it is not there.
    trials, trial_sharpes
        Number of settings tried, the chosen one included, and their annualised Sharpe ratios, if logged.
    overfitting
        Probability that the choice among the trials is overfitted (`trading_app.evaluation.overfitting`), if known.
    level, reps, seed
        Coverage of the intervals, number and seed of the resamples.
    active
        Active weights of the seeds [S, T, N], see `trading_app.backtesting.policies.Rollout`.
    subject
        Strategy whose return above the reference is measured.
    benchmark
        Returns of a benchmark that is no portfolio, from close to close by date, with its name.

    Returns
    -------
    dict
        See the module's docstring; plain values only, ready for JSON.

    Raises
    ------
    DataError
        For fewer than 20 sessions or a count of trials below 1.
    """
    returns = results.returns
    if trials < 1:
        raise DataError(f"trials is {trials}; it must be at least 1, for the strategy itself")
    rates: dict[str, Any] = {
        "periods": results.cost_model.sessions_a_year,
        "risk_free": results.cost_model.risk_free_of(results.panel.dates),
    }
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "start": f"{results.equity.index[0]:%Y-%m-%d}",
        "end": f"{results.equity.index[-1]:%Y-%m-%d}",
        "sessions": len(returns),
        "periods": rates["periods"],
        "risk_free": float(np.mean(rates["risk_free"])),
        "data": {"name": results.panel.name, "symbols": list(results.panel.symbols)},
        "fill": results.panel.fill,
        "costs": {name: value for name, value in asdict(results.cost_model).items() if value is not None},
        "notes": _notes(results),
        "level": level,
        "reps": reps,
        "strategies": _strategies(results, rates, level, reps, seed),
    }
    baselines = [name for name in results.names if kind_of(name) == "baseline"]
    seeds = [name for name in results.names if kind_of(name) == "seed"]
    document["reference"] = reference if reference in baselines else next(iter(baselines), None)
    if AGENT in results.names:
        document |= _tests(returns, baselines, seeds, rates, level, reps, seed)
        agent = returns[AGENT]
        document["probabilistic_sharpe"] = probabilistic_sharpe(agent, **rates)
        document["deflated_sharpe"] = deflated_sharpe(
            agent, trials=trials, trial_sharpes=trial_sharpes, **rates
        )
        document["trials"], document["overfitting"] = trials, overfitting
    if subject in results.names and document["reference"] not in (None, subject):
        document["above_reference"] = above_reference(
            results, subject, document["reference"], trials=trials, level=level
        )
    if benchmark is not None:
        document["above_benchmark"] = above_series(results, subject, benchmark, level=level)
    if active is not None:
        document["departure"] = departure(active, level=level, reps=reps, seed=seed)
    document["seeds"] = seed_spread(document["strategies"], level=level)
    return dict(json_value(document))


def seed_spread(
    strategies: Mapping[str, Mapping[str, Any]], *, level: float = 0.95
) -> dict[str, dict[str, float]]:
    """Interquartile mean of each measure over seeds, its bootstrap interval and the extremes."""
    seeds = [entry["metrics"] for name, entry in strategies.items() if kind_of(name) == "seed"]
    spread = {}
    for measure in seeds[0] if seeds else ():
        values = np.array([metrics[measure] for metrics in seeds], dtype=np.float64)
        if not np.isfinite(values).all():
            continue
        interval = bootstrap_interval(values, generator=np.random.default_rng(0), confidence=level)
        spread[measure] = {
            "mean": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "lowest": float(values.min()),
            "highest": float(values.max()),
        }
    return spread


def _strategies(
    results: BatchResult, rates: Mapping[str, Any], level: float, reps: int, seed: int
) -> dict[str, Any]:
    each = {name: results.strategy(name) for name in results.names}
    # Nothing can trade on the first session, which has no return either.
    turnover = pd.DataFrame({name: result.turnover.iloc[1:] for name, result in each.items()})
    paid = pd.DataFrame(
        {name: trading_costs(result.costs, result.equity).iloc[1:] for name, result in each.items()}
    )
    table = metrics_table(results.returns, turnover=turnover, trading_costs=paid, **rates)
    bounds = bootstrap_table(results.returns, level=level, reps=reps, seed=seed, **rates)
    measures = [str(name) for name in bounds.columns.unique(0)]
    intervals = bounds.to_numpy(dtype=np.float64).reshape(len(each), len(measures), 2)
    return {
        name: {
            "kind": kind_of(name),
            "metrics": table.loc[name].to_dict(),
            "intervals": dict(zip(measures, intervals[k].tolist(), strict=True)),
            "totals": result.costs.sum().to_dict(),
        }
        for k, (name, result) in enumerate(each.items())
    }


def _tests(
    returns: pd.DataFrame,
    baselines: list[str],
    seeds: list[str],
    rates: Mapping[str, Any],
    level: float,
    reps: int,
    seed: int,
) -> dict[str, Any]:
    candidates = [AGENT, *seeds]
    comparisons = compare(returns, AGENT, baselines, level=level, reps=reps, seed=seed, **rates)
    return {
        "comparisons": [comparison.to_dict() for comparison in comparisons],
        "spa": [spa(returns, name, candidates, reps=reps, seed=seed).to_dict() for name in baselines],
        "spa_reverse": spa(returns, AGENT, baselines, reps=reps, seed=seed).to_dict() if baselines else None,
    }


def _notes(results: BatchResult) -> list[str]:
    """Return notes of prices and agent, each once; those of baselines only without an agent."""
    own = [results.strategy(AGENT)] if AGENT in results.names else map(results.strategy, results.names)
    notes = dict.fromkeys(results.panel.notes)
    for result in own:
        notes |= dict.fromkeys(result.notes)
    return list(notes)
