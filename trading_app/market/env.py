"""`Market`: the portfolio MDP for S seeds × n_envs accounts at once, on tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from data.errors import DataError
from rl_core.env import Step
from rl_core.experience.replay import Batch
from rl_core.random import Noise
from rl_core.symmetry import Symmetry
from trading_app.market.accounting import Array
from trading_app.market.accounts import AccountRules, State
from trading_app.market.actions import paced_action
from trading_app.market.base import base_weights
from trading_app.market.benchmark import Benchmark, benchmark_returns
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel
from trading_app.market.decisions import DayRows, day_tables, rows_of, target_of
from trading_app.market.encoding import Encoder, FeatureWindows, market_symmetry
from trading_app.market.panel import TradingPanel, decision_range, session_range, trading_panel
from trading_app.market.transitions import MadeTransitions, Rollouts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices

__all__ = ["Market", "MarketConfig"]

_HELD = "held_by_day"


class Market:
    """A batch of portfolio accounts that trade the same prices; a `rl_core.env.BatchedEnv`.

    At the close of day t an agent sees prices up to t and its holdings, and chooses target weights. They
    fill at the next open or close (`MarketConfig.fill`), holdings drift, and the next decision is taken at
    the close of t + 1. The reward of a step covers the account from its fill to the next one: costs of the
    fill, and what the target earns until it can be changed. An episode starts in cash on a random day and
    is truncated after `episode_length` steps; one that loses everything terminates.

    The compact observation is (day, weights at its close) [1 + N]; `encode` gathers what a network sees.
    State is held in tensors alone, and random days come from `rl_core.random.Noise`, so that a run resumes
    bit for bit and seed k of a batch sees what seed k alone sees.

    Parameters
    ----------
    prices
        Prices, history before `start` included: it fills the first windows.
    config, costs
        Settings and the cost model.
    seeds, n_envs
        The S seeds, and the accounts of each.
    start, end
        First and last session that an episode touches, both included; no price after `end` enters a reward.
    days
        First and last day (positions in the prices) for which the base of a tilt is computed; by default those of
        episodes.
    cross_fit
        Made transitions of even seeds come from the first half of the decision days, those of odd seeds from the
        second, so that each half is unseen by half of the seeds.
    device, dtype
        Of the tensors: float32 for training; float64 where accounts have to be exact.

    Raises
    ------
    DataError
        If the fill rule cannot be had, a feature is unknown, or `start` and `end` leave no episode. Without
        `start` and `end` too short a history is found out by `reset`, since `encode` may do without.
    """

    def __init__(
        self,
        prices: Prices,
        *,
        config: MarketConfig | None = None,
        costs: CostModel | None = None,
        seeds: Sequence[int] = (0,),
        n_envs: int = 1,
        start: object = None,
        end: object = None,
        days: tuple[int, int] | None = None,
        cross_fit: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if n_envs < 1 or not seeds:
            raise DataError("a market needs at least one seed and one account")
        self.config = MarketConfig() if config is None else config
        self.costs = (CostModel() if costs is None else costs).for_dates(prices.dates)
        self.prices = prices = self.config.universe(prices)
        self.panel: TradingPanel = trading_panel(
            prices,
            self.config.fill,
            delist_after=self.config.delist_after,
            delisting_return=self.config.delisting_return,
        )
        self._seeds, self._n_envs = tuple(int(seed) for seed in seeds), n_envs
        self._device, self.dtype = torch.device(device), dtype
        self._bounds, self._days, self.cross_fit = (start, end), days, cross_fit
        self._state: State = {}
        self._in_numpy = self._device.type == "cpu"
        self._pinned: Callable[[Tensor], Tensor] | None = None
        self._noise, self._draws = Noise(self._seeds, "cpu"), 0
        if start is not None or end is not None:
            _ = self.decisions

    @cached_property
    def decisions(self) -> tuple[int, int]:
        """First and last day (positions in the prices) on which an episode may decide."""
        return decision_range(self.prices, self.config, *self._bounds)

    def learning_days(self, seed: int) -> tuple[int, int]:
        """First and last decision day that the made transitions of a seed come from: all of them, or its half."""
        first, last = max(self.decisions[0], 1), self.decisions[1]
        if not self.cross_fit:
            return first, last
        half = (last - first + 1) // 2
        return (last - half + 1, last) if seed % 2 else (first, first + half - 1)

    @cached_property
    def episode_length(self) -> int:
        """Steps of an episode."""
        first, last = self.decisions
        available = last - first + 1
        return min(available, self.config.episode_length or available)

    @cached_property
    def encoder(self) -> Encoder:
        """Encoder of compact observations as network input."""
        days = self._days
        if days is None:
            low, stop = session_range(self.prices.dates, self.prices.name, *self._bounds)
            # The observation after the last decision is that of the next day.
            days = max(low, self.config.history - 1), stop - 2
        windows = FeatureWindows(self.prices, self.config, self.base, self.panel.status.available, days)
        return Encoder(windows, self._device)

    @cached_property
    def base(self) -> NDArray[np.float64] | None:
        """Weights of a tilt's base at each close [T, N]; None for other actions."""
        if not self.config.tilts:
            return None
        first, last = self._days or self.decisions
        # The observation after the last decision is that of the next day.
        return base_weights(self.prices, self.config, first, last + 1)

    @cached_property
    def benchmark(self) -> Benchmark | None:
        """Returns of the benchmark, where the reward has one."""
        if self.config.reward != "active":
            return None
        return benchmark_returns(
            self.prices, self.panel, self.config, self.costs, *(self._days or self.decisions)
        )

    @cached_property
    def _day_tables(self) -> dict[str, Tensor]:
        tables = day_tables(self.panel, self.config, self.base, self.costs.capital)
        return {name: torch.from_numpy(table).to(self._device) for name, table in tables.items()}

    @cached_property
    def symmetry(self) -> Symmetry:
        """S_N × Z2, or S_N without the mirror; with sectors, the product of their permutations takes S_N's place."""
        return market_symmetry(
            self.encoder.parity,
            self.action_size,
            mirror=self.config.uses_mirror,
            sectors=self.config.sector_numbers(self.panel.symbols),
        )

    @property
    def seeds(self) -> tuple[int, ...]:
        """The S seeds."""
        return self._seeds

    @property
    def n_envs(self) -> int:
        """Accounts of each seed."""
        return self._n_envs

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one compact observation: day and weights."""
        return (1 + self.action_size,)

    @property
    def action_size(self) -> int:
        """N."""
        return len(self.panel.symbols)

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return self._device

    @property
    def nav(self) -> Tensor:
        """Value of each account at its last close, 1 at the start of its episode [S, n_envs]."""
        return self.to_tensor(self._state["nav"])

    def encode(self, observation: Tensor) -> Tensor:
        """Turn compact observations [S, B, 1 + N] into network input [S, B, N, d], float32."""
        return (self._pinned or self.encoder)(observation)

    def pin(self, day: int) -> None:
        """Encode only observations of one day from now on; see `Encoder.at`."""
        self._pinned = self.encoder.at(day)

    def day_rows(self, day: int | Tensor, dtype: torch.dtype) -> DayRows:
        """Return what decisions of days [...] depend on, [..., N] each."""
        rows = rows_of(self._day_tables, day)
        return DayRows(*(None if row is None else row.to(dtype) for row in rows))

    def targets(self, action: Tensor, day: int | Tensor, held: Tensor | None = None) -> Tensor:
        """Map actions [..., N] in [−1, 1] on days [...] to target weights [..., N], from weights held [..., N].

        Without `held` they are those of an account in cash. Around a base they are in double precision, as it is.
        """
        config = self.config
        if config.tilts or config.trading_speed < 1.0:
            action = action.double()
        held = torch.zeros_like(action) if held is None else held.to(action)
        weights: Tensor = target_of(action, held, self.day_rows(day, action.dtype), config)
        return weights

    def paced(
        self, action: Tensor, day: int | Tensor, held: Tensor, size: Tensor | float, speed: Tensor | float
    ) -> Tensor:
        """Return the action of a tilt [..., N] that trades a share of the way; see `actions.paced_action`."""
        held = held.double()
        base = self.day_rows(day, held.dtype).base
        assert base is not None, "only a tilt has active weights"
        paced: Tensor = paced_action(action.double(), held, base, self.config, size=size, speed=speed)
        return paced

    def fill_returns(self) -> NDArray[np.float64]:
        """Return of each asset from the fill after a close to the next one [T, N]; NaN where it is not available.

        Those of the last two sessions are not known yet.
        """
        rows = self.panel.decision_rows(self.costs)
        growth = rows["overnight"] if self.panel.at_close else rows["intraday"] * rows["overnight"]
        return np.where(self.panel.status.available, growth - 1.0, np.nan)

    def reset(self) -> Tensor:
        """Start new episodes everywhere, in cash; observations [S, n_envs, 1 + N]. DataError for short prices."""
        self._state = self._rules.start(self._start_days())
        self._draws += 1
        return self.to_tensor(self._rules.observation(self._state))

    def step(self, action: Tensor) -> Step:
        """Step with actions [S, n_envs, N] in [−1, 1]; finished episodes restart automatically."""
        rules = self._rules
        self._state, reward, terminated, truncated, _ = rules.step(self._state, self.to_array(action))
        final = observation = self.to_tensor(rules.observation(self._state))
        done = terminated | truncated
        if bool(done.any()):
            self._state = rules.restart(self._state, done, self._start_days())
            observation = self.to_tensor(rules.observation(self._state))
        self._draws += 1
        tensors = (self.to_tensor(reward).float(), self.to_tensor(terminated), self.to_tensor(truncated))
        return Step(observation, *tensors, final)

    @cached_property
    def transitions(self) -> MadeTransitions:
        """Maker of transitions of this market."""
        return MadeTransitions(self)

    def make_transitions(
        self, act: Callable[[Tensor], Tensor], draw: int, size: int, *, discount: float
    ) -> Batch:
        """Make the transitions of an update, see `trading_app.market.transitions`."""
        return self.transitions.draw_batch(act, draw, size, discount)

    @cached_property
    def rollouts(self) -> Rollouts:
        """Paths of this market with rewards that can be differentiated."""
        return Rollouts(self)

    def roll_out(self, act: Callable[[Tensor], Tensor], draw: int, size: int, steps: int) -> Tensor:
        """Return the mean reward of a step on paths of a policy [S], see `trading_app.market.transitions.Rollouts`."""
        return self.rollouts.mean_reward(act, draw, size, steps)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the complete state: with it the future is the same to the bit."""
        state = {name: self.to_tensor(value).clone() for name, value in self._state.items()}
        if "transitions" in self.__dict__:
            state[_HELD] = self.transitions.held.values.clone()
        return {**state, "draws": torch.tensor(self._draws)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        self._draws = int(state["draws"])
        if _HELD in state:
            self.transitions.held.values = state[_HELD].to(self._device, copy=True)
        kept = {name: value.clone() for name, value in state.items() if name not in ("draws", _HELD)}
        self._state = {
            name: value.numpy() if self._in_numpy else value.to(self._device) for name, value in kept.items()
        }

    def _start_days(self) -> Array:
        """Random first days [S, n_envs] of episodes that start now."""
        first, last = self.decisions
        span = last - first + 2 - self.episode_length
        days = first + self._noise.integers("episode", self._draws, (self._n_envs,), span)
        return days.numpy() if self._in_numpy else days.to(self._device)

    def to_array(self, values: Tensor, *, whole: bool = False) -> Array:
        """Return numbers (whole ones for days) as the accounts compute with them."""
        values = values.detach().to(self._device, values.dtype if whole else self.dtype)
        return values.numpy() if self._in_numpy else values

    def to_tensor(self, array: Array) -> Tensor:
        """Return what the accounts computed as a tensor."""
        tensor: Tensor = torch.from_numpy(array) if self._in_numpy else array
        return tensor

    @cached_property
    def _rules(self) -> AccountRules:
        return self.account_rules(self.episode_length)

    def account_rules(self, length: int) -> AccountRules:
        """Return the rules of accounts that trade these prices in episodes of this length."""
        options: dict[str, Any] = {"backend": torch, "dtype": self.dtype, "device": self._device}
        if self._in_numpy:
            options = {"dtype": np.float64 if self.dtype == torch.float64 else np.float32}
        benchmark = None if self.benchmark is None else self.benchmark[:2]
        options |= {"base": self.base, "benchmark": benchmark}
        return AccountRules(self.panel, self.config, self.costs, length=length, **options)
