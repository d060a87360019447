"""Search of prices with signals, and of trained runs, for look-ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from data.errors import DataError
from data.prices import Prices
from trading_app.backtesting.baselines import usable_baselines
from trading_app.backtesting.policies import AgentPolicy
from trading_app.backtesting.scheduled_rules import Baseline
from trading_app.experiments.config import RunConfig, stored_config
from trading_app.experiments.out_of_sample import unseen_period
from trading_app.experiments.own_signals import pin_signals
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import prices_of
from trading_app.lookahead.association import signal_leaks
from trading_app.lookahead.findings import LookaheadReport
from trading_app.lookahead.perturbation import Decide, future_leaks, sessions_to_change
from trading_app.runs.run import Run

__all__ = ["check_data", "check_run"]


def check_data(
    config: RunConfig, home: Path, *, days: int = 8, allowed: tuple[str, ...] = ()
) -> LookaheadReport:
    """Check the features of prices and signals, the environment on them, and the baselines.

    Parameters
    ----------
    config
        Prices, signals and market.
    home
        State directory.
    days
        Number of sessions after which the future is changed.
    allowed
        Signals, ``NAME:COLUMN``, that are known in advance.

    Raises
    ------
    DataError
        If prices or signals cannot be used, or are too short.
    """
    config = pin_signals(config, home)
    prices = prices_of(config, home)
    policies = {name: _baseline(rule) for name, rule in usable_baselines(prices).items()}
    return _check(prices.name, prices, config, policies, days, allowed)


def check_run(run: Run, home: Path, *, days: int = 8, allowed: tuple[str, ...] = ()) -> LookaheadReport:
    """Check the features that a run uses, its environment, its policy, and its signals; see `check_data`."""
    prices, _, _ = unseen_period(run, home=home)
    policies = {"agent": _agent(load_policy(run.path))}
    return _check(run.name, prices, stored_config(run.path), policies, days, allowed)


def _check(
    subject: str,
    prices: Prices,
    config: RunConfig,
    policies: dict[str, Decide],
    days: int,
    allowed: tuple[str, ...],
) -> LookaheadReport:
    columns = [name for signals in prices.signals for name in signals.source.features]
    unknown = [name for name in allowed if name not in columns]
    if unknown:
        raise DataError(f"--allow {unknown[0]}: no such signal (signals: {', '.join(columns) or 'none'})")
    changed = sessions_to_change(prices, config.market, days)
    leaks = future_leaks(prices, config.market, config.costs, policies, changed)
    more, table = signal_leaks(prices, allowed)
    checked: dict[str, Any] = {
        "data": prices.name,
        "features": list(config.market.feature_names),
        "policies": list(policies),
        "sessions": [str(prices.dates[day].date()) for day in changed],
    }
    return LookaheadReport(subject, (*leaks, *more), checked, table, allowed)


def _agent(policy: AgentPolicy) -> Decide:
    def decide(prices: Prices, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        path = policy.rollout(prices, start, end)
        if not policy.holds_base:
            return path.ensemble
        # A base hides what the seeds look at.
        mean = path.per_seed.mean(axis=0)
        return pd.DataFrame(mean, index=path.ensemble.index, columns=path.ensemble.columns)

    return decide


def _baseline(rule: Baseline) -> Decide:
    def decide(prices: Prices, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        try:
            return rule(prices, start, end, rebalance="daily")
        except DataError:  # too little history for this baseline so early
            return pd.DataFrame(index=prices.dates[:0], columns=list(prices.symbols), dtype=float)

    return decide
