"""Transitions of a market computed for any day, holdings and action, by the accounting that trades and backtests.

See `rl_core.experience.transitions`. Axes: S seeds, B batch, N assets, T sessions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from data.errors import DataError
from rl_core.experience.blocks import day_of
from rl_core.experience.replay import Batch
from rl_core.experience.transitions import HeldByDay
from rl_core.random import Noise
from trading_app.market.accounting import Array, total
from trading_app.market.accounts import Accounts
from trading_app.market.config import MarketConfig

if TYPE_CHECKING:
    from trading_app.market.env import Market

__all__ = ["MadeTransitions", "check_reward"]

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
        self._days = market.decisions[1] - self._first + 1
        self.held = HeldByDay(len(market.seeds), self._days + 1, market.action_size, market.device)
        self._accounts: dict[int, Accounts] = {}

    def make(self, act: Callable[[Tensor], Tensor], draw: int, size: int, discount: float) -> Batch:
        """Return the encoded transitions of an update; see `rl_core.experience.transitions.MakesTransitions`.

        Rewards are those of assets [S, B, N]: what each one earned less its trading cost and borrow fee. The rest
        (interest, and the difference between the reward and the sum of returns) is shared equally, so that they sum to
        the reward of a step.
        """
        market, noise = self._market, self._noise
        place = day_of(noise.uniform("made day", draw, (size,)), self._days)
        day = place + self._first
        anything = noise.uniform("made portfolio", draw, (size, market.action_size)) * 2 - 1
        share = MIXED * noise.uniform("made share", draw, (size, 1))
        weights = torch.lerp(self.held.at(place), self._portfolio(anything, day), share)
        accounts = self._of_size(size)
        accounts.place(market.to_array(day, whole=True), market.to_array(weights))
        observation = market.encode(market.to_tensor(accounts.observation()))
        action = act(observation)
        reward, terminated, _ = accounts.step(market.to_array(action))
        ended = market.to_tensor(terminated)
        following = market.to_tensor(accounts.observation())
        # A ruined account has no weights; the next one starts in cash.
        following[..., 1:] = following[..., 1:].masked_fill(ended[..., None], 0.0)
        self.held.store(place + 1, following[..., 1:].float())
        return Batch(
            observation,
            action,
            market.to_tensor(self._by_asset(accounts, reward)).float(),
            torch.where(ended, 0.0, discount),
            market.encode(following),
        )

    def _portfolio(self, action: Tensor, day: Tensor) -> Tensor:
        """Return the target weights of actions [S, B, N] on days [S, B]."""
        market = self._market
        if market.panel.always_traded:
            return market.targets(action)
        return market.targets(action, available=self._available[day])

    @cached_property
    def _available(self) -> Tensor:
        """Flags [T, N] of assets that a decision may give weight."""
        return torch.from_numpy(self._market.panel.status.available).to(self._market.device)

    def _of_size(self, size: int) -> Accounts:
        if size not in self._accounts:
            shape = (len(self._market.seeds), size)
            self._accounts[size] = self._market.new_accounts(shape, self._days + 1)
        return self._accounts[size]

    def _by_asset(self, accounts: Accounts, reward: Array) -> Array:
        """Rewards of assets [S, B, N] that sum to the rewards [S, B]."""
        earned = accounts.contributions() * self._market.config.reward_scale
        return earned + ((reward - total(earned)) / earned.shape[-1])[..., None]
