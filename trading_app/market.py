"""`Market`: the portfolio MDP for S seeds × n_envs accounts at once, on tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from data.errors import DataError
from rl_core.env import Step
from rl_core.random import Noise
from rl_core.symmetry import Symmetry
from trading_app.accounting import Rates, Session, advance
from trading_app.costs import CostModel
from trading_app.market_actions import target_weights
from trading_app.market_config import MarketConfig
from trading_app.market_encoding import Encoder
from trading_app.market_prices import TradingPanel, session_range, trading_panel
from trading_app.market_rewards import Rewards
from trading_app.symmetry import market_symmetry

if TYPE_CHECKING:
    from data.prices import Prices

__all__ = ["Market", "MarketConfig", "decision_range"]


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
    config
        Settings.
    costs
        The cost model.
    seeds
        The S seeds.
    n_envs
        Accounts of each seed.
    start, end
        First and last session that an episode touches, both included; no price after `end` enters a reward.
    device
        Where the tensors live.
    dtype
        float32 for training; float64 where accounts have to be exact.

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
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if n_envs < 1 or not seeds:
            raise DataError("a market needs at least one seed and one account")
        self.config = MarketConfig() if config is None else config
        self.costs = CostModel() if costs is None else costs
        self.prices = prices
        self.panel: TradingPanel = trading_panel(prices, self.config.fill)
        self._seeds, self._n_envs = tuple(int(seed) for seed in seeds), n_envs
        self._device, self.dtype = torch.device(device), dtype
        self._bounds = (start, end)
        self._rates = Rates.of(self.costs)
        self._tolerance = 1e-13 if dtype == torch.float64 else 1e-8
        self._noise = Noise(self._seeds, "cpu")
        self._rewards = Rewards(self.config)
        self._state: dict[str, Tensor] = {}
        self._draws = 0
        if start is not None or end is not None:
            _ = self.decisions

    @cached_property
    def decisions(self) -> tuple[int, int]:
        """First and last day (positions in the prices) on which an episode may decide."""
        return decision_range(self.prices, self.config, *self._bounds)

    @cached_property
    def episode_length(self) -> int:
        """Steps of an episode."""
        first, last = self.decisions
        available = last - first + 1
        return min(available, self.config.episode_length or available)

    @cached_property
    def encoder(self) -> Encoder:
        """What turns compact observations into network input."""
        return Encoder(self.prices, self.config, self._device)

    @cached_property
    def symmetry(self) -> Symmetry:
        """S_N × Z2, or S_N without the mirror."""
        return market_symmetry(self.encoder.parity, self.action_size, mirror=self.config.uses_mirror)

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
        """Where the tensors live."""
        return self._device

    @property
    def nav(self) -> Tensor:
        """Value of each account at its last close, 1 at the start of its episode [S, n_envs]."""
        return self._state["nav"]

    def encode(self, observation: Tensor) -> Tensor:
        """Turn compact observations [S, B, 1 + N] into network input [S, B, N, d], float32."""
        return self.encoder(observation)

    def targets(self, action: Tensor) -> Tensor:
        """Map actions [..., N] in [−1, 1] to target weights [..., N]."""
        weights: Tensor = target_weights(action, self.config)
        return weights

    def reset(self) -> Tensor:
        """Start new episodes everywhere, in cash; observations [S, n_envs, 1 + N].

        Raises
        ------
        DataError
            If the prices are too short for an episode.
        """
        shape = (len(self._seeds), self._n_envs)
        ones = torch.ones(shape, dtype=self.dtype, device=self._device)
        nothing = torch.zeros((*shape, self.action_size), dtype=self.dtype, device=self._device)
        self._state = {
            "day": self._start_days(),
            "age": torch.zeros(shape, dtype=torch.long, device=self._device),
            "weights": nothing,
            "held": nothing.clone(),
            "value": ones * (1.0 + self._rates.lending),
            "nav": ones,
            **self._rewards.initial(ones),
        }
        self._draws += 1
        return self._observation()

    @torch.no_grad()
    def step(self, action: Tensor) -> Step:
        """Step with actions [S, n_envs, N] in [−1, 1]; ended episodes restart by themselves."""
        state = self._state
        session = self._session(self.targets(action.to(self.dtype)), state["day"], state["held"])
        growth = session.kept * session.next_growth
        alive = torch.minimum(session.kept, session.next_growth) > 0
        if not self.panel.at_close:
            alive &= session.close_growth > 0
        reward, moments = self._rewards(growth, alive, state)
        value = state["value"] * session.kept
        self._state = {
            "day": state["day"] + 1,
            "age": state["age"] + 1,
            "weights": session.close_weights,
            "held": session.next_held,
            "value": value * session.next_growth,
            "nav": value * session.close_growth,
            **moments,
        }
        terminated = ~alive
        truncated = (self._state["age"] >= self.episode_length) & alive
        final = self._observation()
        done = truncated | terminated
        observation = self._restart(done) if bool(done.any()) else final
        self._draws += 1
        return Step(observation, reward.float(), terminated, truncated, final)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the future depends on."""
        state = {name: value.clone() for name, value in self._state.items()}
        return {**state, "draws": torch.tensor(self._draws)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continue from a `state_dict`."""
        held = {name: value.clone().to(self._device) for name, value in state.items() if name != "draws"}
        self._state, self._draws = held, int(state["draws"])

    def _observation(self) -> Tensor:
        day = self._state["day"].to(self.dtype)[..., None]
        return torch.cat([day, self._state["weights"]], dim=-1)

    def _start_days(self) -> Tensor:
        """Random first days [S, n_envs] of episodes that start now."""
        first, last = self.decisions
        span = last - first + 2 - self.episode_length
        return first + self._noise.integers("episode", self._draws, (self._n_envs,), span).to(self._device)

    def _restart(self, done: Tensor) -> Tensor:
        """Start new episodes where `done`; observations [S, n_envs, 1 + N]."""
        fresh = {
            "day": self._start_days(),
            "value": 1.0 + self._rates.lending,
            "nav": 1.0,
            **self._rewards.constants,
        }
        for name, value in self._state.items():
            mask = done if value.ndim == done.ndim else done[..., None]
            start = torch.as_tensor(fresh.get(name, 0), dtype=value.dtype, device=value.device)
            self._state[name] = torch.where(mask, start, value)
        return self._observation()

    def _session(self, target: Tensor, day: Tensor, held: Tensor) -> Session:
        """Fill targets decided at the close of `day`, and hold them to the fill after."""
        parts = {name: table[day] for name, table in self._tables.items()}
        if "tradable" in parts:
            target = target * parts["tradable"]
        return advance(
            target,
            held,
            self._rates,
            parts.get("intraday"),
            parts["overnight"],
            parts.get("impact"),
            gross=self.config.gross_bound,
            tolerance=self._tolerance,
        )

    @cached_property
    def _tables(self) -> dict[str, Tensor]:
        """What a decision of each day meets: ratios of prices, tradability, impact [T, N] each."""
        rows = self.panel.decision_rows(self.costs)
        return {name: torch.from_numpy(row).to(self._device, self.dtype) for name, row in rows.items()}


def decision_range(
    prices: Prices, config: MarketConfig, start: object = None, end: object = None
) -> tuple[int, int]:
    """First and last day (positions) on which an episode may decide.

    The first has the history that its window of features needs; the last still has its fill and the next one
    inside the range.

    Raises
    ------
    DataError
        If there is none.
    """
    low, stop = session_range(prices.dates, prices.name, start, end)
    first, last = max(low, config.history - 1), stop - 3
    if first > last:
        raise DataError(
            f"{prices.name}: no episode fits from {prices.dates[low].date()} to {prices.dates[stop - 1].date()}: "
            f"a decision needs {config.history} sessions of history and 2 after it; "
            "take more prices or a shorter window"
        )
    return first, last
