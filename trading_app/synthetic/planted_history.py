"""The planted market with a finite history: as few and as noisy data as real daily prices.

Each seed has one fixed path of T periods of signals and returns. The future does not depend on positions, so that the
transition of any position and action on any day of the path can be computed (`make_transitions`).

Axes: S seeds, B batch, N assets, T time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rl_core.env import Step
from rl_core.errors import ConfigError
from rl_core.experience.blocks import day_of
from rl_core.experience.replay import Batch
from rl_core.experience.transitions import HeldByDay, disturb
from rl_core.random import Noise
from trading_app.synthetic.planted import planted_symmetry
from trading_app.synthetic.planted_problem import PlantedConfig, asset_rewards, signal_path


class PlantedHistory:
    """The planted market on fixed paths, as a `BatchedEnv` that also makes transitions.

    Observations and actions are those of `trading_app.synthetic.planted.PlantedMarket`; an episode starts on a random
    day of the path.

    Parameters
    ----------
    config
        Parameters of the market.
    periods
        T.
    seeds
        The S seeds; the path of seed k depends on ``seeds[k]`` alone.
    n_envs
        Accounts of each seed.
    reward_scale
        Factor on rewards for the learner.
    device
        Device of the tensors.

    Attributes
    ----------
    signals : Tensor [S, T + 1, N]
    returns : Tensor [S, T, N]
        Return of the period after each signal, noise included.

    Raises
    ------
    ConfigError
        If the path is shorter than two periods.
    """

    def __init__(
        self,
        config: PlantedConfig | None = None,
        *,
        periods: int = 2500,
        seeds: Sequence[int] = (0,),
        n_envs: int = 8,
        reward_scale: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        if periods < 2:
            raise ConfigError(f"periods is {periods}; a history has at least 2")
        self.config = config if config is not None else PlantedConfig()
        self.seeds, self.n_envs = tuple(seeds), n_envs
        self.periods = periods
        self.reward_scale = reward_scale
        self.device = torch.device(device)
        self.observation_shape = (self.config.assets, 2)
        self.action_size = self.config.assets
        self.symmetry = planted_symmetry(self.config.assets)
        self._noise = Noise(self.seeds, self.device)
        self.signals, self.returns = self._paths()
        self._seed = torch.arange(len(self.seeds), device=self.device)[:, None]
        self._draws = 0
        self._held = HeldByDay(len(self.seeds), periods + 1, self.config.assets, self.device)
        self._length = min(self.config.episode_length, periods)
        shape = (len(self.seeds), n_envs)
        self._day = torch.zeros(shape, dtype=torch.int64, device=self.device)
        self._position = torch.zeros(*shape, self.config.assets, device=self.device)
        self._age = 0

    def _paths(self) -> tuple[Tensor, Tensor]:
        config, n = self.config, self.config.assets
        shocks = self._noise.normal("planted path", 0, (self.periods + 1, n))
        path = signal_path(shocks.transpose(0, 1), config.persistence).transpose(0, 1).contiguous()
        beta, cost, drift = (
            torch.as_tensor(c, dtype=torch.float32, device=self.device) for c in config.coefficients()
        )
        self._cost = cost
        before = path[:, :-1]
        noise = self._noise.normal("planted path returns", 0, (self.periods, n))
        returns = beta * before + drift * config.drift_applies(before) + config.return_noise * noise
        return path, returns

    def reset(self) -> Tensor:
        """Start an episode of every account on a random day, without positions."""
        span = self.periods - self._length + 1
        self._day = self._noise.integers("planted episode", self._draws, (self.n_envs,)).remainder(span)
        self._position = torch.zeros_like(self._position)
        self._draws += 1
        self._age = 0
        return self._observe(self._day, self._position)

    def step(self, action: Tensor, /) -> Step:
        """Take positions [S, n_envs, N] in units of `max_position` and earn a period's reward."""
        reward, self._position = self._earn(self._day, self._position, action)
        self._day = self._day + 1
        self._age += 1
        final = self._observe(self._day, self._position)
        over = self._age >= self._length
        observation = self.reset() if over else final
        ended = torch.full(reward.shape[:2], over, device=self.device)
        return Step(observation, reward.sum(dim=-1), torch.zeros_like(ended), ended, final)

    def make_transitions(
        self, act: Callable[[Tensor], Tensor], draw: int, size: int, *, discount: float
    ) -> Batch:
        """Make transitions of random days from what the policy would have held; see `rl_core.experience.transitions`.

        Returns
        -------
        Batch
            Rewards are those of each asset [S, B, N].
        """
        day = day_of(self._noise.uniform("made day", draw, (size,)), self.periods)
        position = self.config.max_position * disturb(self._noise, draw, self._held.at(day))
        observation = self._observe(day, position)
        action = act(observation)
        reward, following = self._earn(day, position, action)
        self._held.store(day + 1, action)
        discounts = torch.full(day.shape, discount, device=self.device)
        return Batch(observation, action, reward, discounts, self._observe(day + 1, following))

    def roll_out(self, act: Callable[[Tensor], Tensor], draw: int, size: int, steps: int) -> Tensor:
        """Return the mean reward of a step on paths of a policy [S]; see `rl_core.experience.rollouts.RollsOut`."""
        steps = min(steps, self.periods)
        day = day_of(self._noise.uniform("made day", draw, (size,)), self.periods - steps + 1)
        position = self.config.max_position * disturb(self._noise, draw, self._held.at(day))
        total = torch.zeros(day.shape, device=self.device)
        for _ in range(steps):
            reward, position = self._earn(day, position, act(self._observe(day, position)))
            total = total + reward.sum(dim=-1)
            day = day + 1
            self._held.store(day, (position / self.config.max_position).detach())
        return total.mean(1) / steps

    def encode(self, observation: Tensor, /) -> Tensor:
        """Return the observation: it is the network input."""
        return observation

    def state_dict(self) -> dict[str, Tensor]:
        """Return counters, days, positions and what the policy held on each day."""
        counters = torch.tensor([self._draws, self._age])
        return {
            "counters": counters,
            "day": self._day.clone(),
            "position": self._position.clone(),
            "held": self._held.values.clone(),
        }

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        """Continue from a `state_dict`."""
        self._draws, self._age = (int(v) for v in state["counters"])
        self._day = state["day"].to(self.device)
        self._position = state["position"].to(self.device)
        self._held.values = state["held"].to(self.device)

    def _earn(self, day: Tensor, before: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Reward of each asset and the positions [S, B, N] after an action on a day [S, B]."""
        config = self.config
        position = config.max_position * action.clamp(-1.0, 1.0)
        returns = self.returns[self._seed, day]
        reward = asset_rewards(position, before, returns, risk_aversion=config.risk_aversion, cost=self._cost)
        return self.reward_scale * reward, position

    def _observe(self, day: Tensor, position: Tensor) -> Tensor:
        return torch.stack([self.signals[self._seed, day], position], dim=-1)
