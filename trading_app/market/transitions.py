"""Transitions and paths of a market computed for any day, holdings and actions, by the accounting that trades.

Made transitions are described in `rl_core.experience.transitions`. `Rollouts` are paths on torch tensors: prices are
known, so the reward of a path depends on the policy through actions, holdings and costs alone, and its gradient goes
back through all of them. Only the no-trade band has no useful gradient: an asset inside it does not move, however the
action changes. There the gradient is that of an order which fills (a straight-through estimator), while the values stay
those of the account.

Axes: S seeds, B batch, N assets, T sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from data.errors import DataError
from rl_core.experience.blocks import day_of
from rl_core.experience.replay import Batch
from rl_core.experience.transitions import HeldByDay
from rl_core.random import Noise
from trading_app.market.accounting import Array, at_least, total
from trading_app.market.accounts import AccountRules, Fill
from trading_app.market.actions import target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.decisions import Decision, order_flags, rows_of

if TYPE_CHECKING:
    from trading_app.market.env import Market

__all__ = ["MadeTransitions", "Rollouts", "check_reward"]

MIXED = 0.2
"""Largest share of a random portfolio that is mixed into holdings, so that they are not only the policy's."""


def check_reward(config: MarketConfig) -> None:
    """Refuse a reward that depends on earlier steps.

    Raises
    ------
    DataError
        For the differential Sharpe ratio, whose moments are those of an episode.
    """
    if config.reward == "differential-sharpe":
        raise DataError(
            "market.reward: differential-sharpe depends on the rewards before, so its transitions cannot be made; "
            "use log or mean-variance, or sac.transitions = 'stored' and sac.row_values = false"
        )


class MadeTransitions:
    """Makes the transitions of a market's decision range.

    Parameters
    ----------
    market
        Prices, costs, rewards and seeds.

    Attributes
    ----------
    days, own_days : int
        Days of decisions, and how many of them each seed learns from.
    held : HeldByDay
        Weights at each day's close under the policy, as far as transitions were made.

    Raises
    ------
    DataError
        If the reward has a memory of its own.
    """

    def __init__(self, market: Market) -> None:
        check_reward(market.config)
        self._market = market
        self._noise = Noise(market.seeds, market.device)
        self._first = max(market.decisions[0], 1)
        self.days = market.decisions[1] - self._first + 1
        learned = [market.learning_days(seed) for seed in market.seeds]
        self.own_days = learned[0][1] - learned[0][0] + 1
        self._offset = torch.tensor([[first - self._first] for first, _ in learned], device=market.device)
        self.held = HeldByDay(len(market.seeds), self.days + 1, market.action_size, market.device)
        self._rules = market.account_rules(self.days + 1)

    def draw_batch(self, act: Callable[[Tensor], Tensor], draw: int, size: int, discount: float) -> Batch:
        """Return the encoded transitions of an update; see `rl_core.experience.transitions.MakesTransitions`.

        Rewards are those of assets [S, B, N]: what each one earned less its trading cost and borrow fee. The rest
        (interest, and the difference between the reward and the sum of returns) is shared equally by the available
        assets, so that these sum to the reward of a step; that of the others is 0.
        """
        market = self._market
        place, day, weights = self.draw_holdings(draw, size)
        rules = self._rules
        state = rules.place(market.to_array(day, whole=True), market.to_array(weights))
        observation = market.encode(market.to_tensor(rules.observation(state)))
        action = act(observation)
        after, reward, terminated, _, fill = rules.step(state, market.to_array(action))
        ended = market.to_tensor(terminated)
        following = market.to_tensor(rules.observation(after))
        # A ruined account has no weights; the next one starts in cash.
        following[..., 1:] = following[..., 1:].masked_fill(ended[..., None], 0.0)
        self.held.store(place + 1, following[..., 1:].float())
        return Batch(
            observation,
            action,
            market.to_tensor(self._by_asset(fill, reward, day)).float(),
            torch.where(ended, 0.0, discount),
            market.encode(following),
        )

    def draw_holdings(self, draw: int, size: int, steps: int = 1) -> tuple[Tensor, Tensor, Tensor]:
        """Draw days after which so many steps fit, and holdings near those of the policy.

        Returns
        -------
        tuple
            Days as positions in `held` and in the prices [S, B], and weights [S, B, N].
        """
        market, noise = self._market, self._noise
        place = day_of(noise.uniform("made day", draw, (size,)), max(self.own_days - steps + 1, 1))
        place = place + self._offset
        day = place + self._first
        anything = noise.uniform("made portfolio", draw, (size, market.action_size)) * 2 - 1
        share = MIXED * noise.uniform("made share", draw, (size, 1))
        rows = market.day_rows(day, anything.dtype)
        portfolio = target_weights(anything, market.config, rows.available, rows.base)
        return place, day, torch.lerp(self.held.at(place), portfolio, share)

    def _by_asset(self, fill: Fill, reward: Array, day: Tensor) -> Array:
        """Rewards of assets [S, B, N] that sum to the rewards [S, B] of decisions on these days [S, B]."""
        earned = self._rules.asset_rewards(fill)
        available = rows_of(self._rules.tables, self._market.to_array(day, whole=True)).available
        if available is None:
            return earned + ((reward - total(earned)) / earned.shape[-1])[..., None]
        earned = earned * available
        rest = (reward - total(earned)) / at_least(total(available), 1.0)
        return earned + rest[..., None] * available


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
        steps = min(steps, made.own_days)
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
