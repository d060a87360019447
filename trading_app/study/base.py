"""Accounts that hold the base portfolio of an agent: what it would do without having learned anything."""

from __future__ import annotations

import torch
from torch import Tensor

from data.fields import DateLike
from data.prices import Prices
from trading_app.backtesting.backtest import backtest
from trading_app.backtesting.baselines import Terms, equal_weight
from trading_app.backtesting.policies import AgentPolicy
from trading_app.backtesting.results import BacktestResult
from trading_app.market.env import Market

__all__ = ["base_result"]


class _Base(AgentPolicy):
    """Policy of an agent whose tilts are all zero."""

    def actions(self, market: Market, day: int, held: Tensor) -> Tensor:
        """Return zeros [S, B, N]."""
        return torch.zeros_like(held)


def base_result(policy: AgentPolicy, prices: Prices, start: DateLike, end: DateLike) -> BacktestResult:
    """Backtest the base of an agent's tilts, on its schedule and within its no-trade band and limits.

    Agents without a base are given equal weight, on their schedule.
    """
    config, costs = policy.config, policy.costs
    if config.tilts:
        same = _Base(policy.agent, config, costs, policy.symbols)
        targets = same.rollout(prices, start, end).ensemble
    else:
        schedule = "monthly" if config.rebalance == "daily" else config.rebalance
        known = config.universe(prices.between(None, end))
        targets = equal_weight(known, start, end, rebalance=schedule, terms=Terms(config, costs))
    return backtest(prices, targets, costs=costs, start=start, end=end, partial_orders=True, **config.account)
