"""Attacks on a trained run, or on prices with signals, their features and the baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data.errors import DataError
from data.prices import Prices
from trading_app.attack.findings import Attack, AttackReport
from trading_app.attack.skill import placebo_attack, planted_attack
from trading_app.attack.symmetry import agent_attacks, feature_attacks
from trading_app.backtesting.baselines import Terms
from trading_app.experiments.config import RunConfig, stored_config
from trading_app.experiments.out_of_sample import baseline_weights, unseen_period
from trading_app.experiments.own_signals import pin_signals
from trading_app.experiments.policies import load_policy
from trading_app.experiments.training import prices_of, split_of
from trading_app.runs.run import Run

__all__ = ["attack_data", "attack_run"]

Period = tuple[pd.Timestamp, pd.Timestamp]
# Sessions before a period that baselines look back.
_HISTORY = 260


def attack_run(run: Run, home: Path, *, draws: int = 4) -> AttackReport:
    """Attack the stored policy of a finished run on its test dates; nothing is trained.

    Parameters
    ----------
    run, home
        The run, and the state directory.
    draws
        Draws of placebo and planted prices.

    Raises
    ------
    DataError
        If training is not finished, or data or checkpoints are missing.
    """
    prices, *period = unseen_period(run, home=home)
    config, policy = stored_config(run.path), load_policy(run.path)
    prices, dates = _cut(prices, (period[0], period[1]), config)

    def decide(fake: Prices, start: pd.Timestamp, end: pd.Timestamp) -> dict[str, NDArray[np.float64]]:
        return {"agent": policy.rollout(fake, start, end).per_seed}

    attacks = [
        placebo_attack(decide, prices, config.market, config.costs, dates, draws),
        planted_attack(prices, config.market, config.costs, dates, draws),
        *agent_attacks(policy, prices, dates),
    ]
    return _report(run.name, prices, dates, attacks)


def attack_data(config: RunConfig, home: Path, *, draws: int = 4) -> AttackReport:
    """Attack the features of prices and signals, the baselines and the backtest, by the settings of a configuration."""
    config = pin_signals(config, home)
    prices = prices_of(config, home)
    test = split_of(config, prices).test
    prices, dates = _cut(prices, (pd.Timestamp(test[0]), pd.Timestamp(test[1])), config)

    def decide(fake: Prices, start: pd.Timestamp, end: pd.Timestamp) -> dict[str, NDArray[np.float64]]:
        found, _ = baseline_weights(fake, start, end, Terms(config.market, config.costs))
        return {name: frame.to_numpy()[None] for name, frame in found.items()}

    attacks = [
        placebo_attack(decide, prices, config.market, config.costs, dates, draws),
        planted_attack(prices, config.market, config.costs, dates, draws),
        *feature_attacks(prices, config.market),
    ]
    return _report(prices.name, prices, dates, attacks)


def _cut(prices: Prices, period: Period, config: RunConfig) -> tuple[Prices, Period]:
    """Return prices up to the end of a period, with the history before it that decisions need, and its sessions."""
    first = int(prices.dates.searchsorted(period[0]))
    start = max(0, first - max(config.market.history, _HISTORY))
    cut = prices.between(prices.dates[start], period[1])
    begin = (
        cut.dates[max(first - start, config.market.history - 1)]
        if len(cut.dates) > config.market.history
        else None
    )
    if begin is None or len(cut.dates) - cut.dates.searchsorted(begin) < 20:
        raise DataError(
            f"{prices.name}: too few sessions to attack up to {period[1].date()}; {config.market.history} of history "
            "and 20 after it are needed"
        )
    return cut, (begin, cut.dates[-1])


def _report(subject: str, prices: Prices, period: Period, attacks: list[Attack]) -> AttackReport:
    start, end = (str(day.date()) for day in period)
    return AttackReport(subject, prices.name, start, end, tuple(attacks))
