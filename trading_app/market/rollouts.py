"""Paths of a market whose rewards can be differentiated in the actions on them.

The accounting is that which trades and backtests, on torch tensors. Prices are known, so the reward of a path depends
on the policy through actions, holdings and costs alone, and its gradient goes back through all of them. Only the
no-trade band has no useful gradient: an asset inside it does not move, however the action changes. There the gradient
is that of an order which fills (a straight-through estimator), while the values stay those of the account.

Axes: S seeds, B batch, N assets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trading_app.market.accounting import Array
from trading_app.market.accounts import AccountRules
from trading_app.market.decisions import Decision, order_flags, rows_of
from trading_app.market.transitions import check_reward

if TYPE_CHECKING:
    from trading_app.market.env import Market

__all__ = ["Rollouts"]


class Rollouts:
    """Rewards of a policy on paths that begin on any day of a market's decision range.

    Parameters
    ----------
    market
        Prices, costs, rewards and seeds.

    Raises
    ------
    DataError
        If the reward has a memory of its own.
    """

    def __init__(self, market: Market) -> None:
        check_reward(market.config)
        self._market = market
        benchmark = None if market.benchmark is None else market.benchmark[:2]
        self._rules = _PathRules(
            market.panel,
            market.config,
            market.costs,
            length=market.transitions.days + 1,
            base=market.base,
            benchmark=benchmark,
            backend=torch,
            dtype=market.dtype,
            device=market.device,
        )

    def mean_reward(self, act: Callable[[Tensor], Tensor], draw: int, size: int, steps: int) -> Tensor:
        """Return the mean reward of a step [S]; see `rl_core.experience.rollouts.RollsOut`.

        Paths begin from holdings near those of the policy, as made transitions do, and store what it held.
        """
        market, rules, made = self._market, self._rules, self._market.transitions
        steps = min(steps, made.days)
        place, day, weights = made.draw_holdings(draw, size, steps)
        state = rules.place(day, weights.to(market.dtype))
        total = torch.zeros(place.shape, device=market.device)
        for step in range(1, steps + 1):
            outcome = rules.step(state, act(market.encode(rules.observation(state))))
            state = outcome.state
            total = total + outcome.reward
            made.held.store(place + step, state["weights"].detach().float())
        return total.mean(1) / steps


class _PathRules(AccountRules):
    """Rules of accounts with a gradient through the no-trade band."""

    def _executed(self, decision: Decision, held: Array, day: Array, impact: Array | None) -> Array:
        executed = super()._executed(decision, held, day, impact)
        if self.config.no_trade_band == 0.0:
            return executed
        rows = rows_of(self.tables, day)
        flags = order_flags(decision.target, held, rows, replace(self.config, no_trade_band=0.0))
        smooth = decision.target if flags is None else torch.where(flags > 0, decision.target, executed)
        return smooth + (executed - smooth).detach()
