"""The planted market (`trading_app.synthetic.planted_problem`) as an environment.

Axes: S seeds, N assets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rl_core.env import Step
from rl_core.random import Noise
from rl_core.symmetry import Symmetry, cyclic, sign
from trading_app.synthetic.planted_problem import PlantedConfig, asset_rewards

__all__ = ["PlantedMarket", "planted_symmetry"]


class PlantedMarket:
    """The planted market as a `BatchedEnv`.

    Observations are [S, n_envs, N, 2]: signal and previous position of each asset, both odd under the
    mirror. An action in [−1, 1] is a position in units of `max_position`. Episodes are truncated at
    `episode_length`; none terminates.

    Parameters
    ----------
    config
        Parameters of the market.
    seeds
        The S seeds; the market of seed k depends on ``seeds[k]`` alone.
    n_envs
        Markets of each seed.
    reward_scale
        Factor on rewards for the learner; shares of the optimum do not depend on it.
    device
        Device of the tensors.
    """

    def __init__(
        self,
        config: PlantedConfig | None = None,
        *,
        seeds: Sequence[int] = (0,),
        n_envs: int = 8,
        reward_scale: float = 1.0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config if config is not None else PlantedConfig()
        self.seeds = tuple(seeds)
        self.n_envs = n_envs
        self.reward_scale = reward_scale
        self.device = torch.device(device)
        self.observation_shape = (self.config.assets, 2)
        self.action_size = self.config.assets
        self.symmetry = planted_symmetry(self.config.assets)
        self._noise = Noise(self.seeds, self.device)
        self._shape = (n_envs, self.config.assets)
        self._beta, self._cost, self._drift = (
            torch.as_tensor(c, dtype=torch.float32, device=self.device) for c in self.config.coefficients()
        )
        self._time = 0
        self._age = 0
        self._signal = self._position = torch.zeros(len(self.seeds), *self._shape, device=self.device)

    def reset(self) -> Tensor:
        """Start every market at zero positions and signals drawn from their stationary law."""
        self._age = 0
        self._signal = self._noise.normal("planted start", self._time, self._shape)
        self._position = torch.zeros_like(self._signal)
        return self._observe()

    def step(self, action: Tensor, /) -> Step:
        """Take positions [S, n_envs, N] in units of `max_position` and earn a period's reward."""
        config, time = self.config, self._time
        position = config.max_position * action.clamp(-1.0, 1.0)
        returns = self._beta * self._signal + self._drift * config.drift_applies(self._signal)
        if config.return_noise:
            returns = returns + config.return_noise * self._noise.normal("planted return", time, self._shape)
        reward = asset_rewards(
            position, self._position, returns, risk_aversion=config.risk_aversion, cost=self._cost
        )
        innovation = self._noise.normal("planted signal", time, self._shape)
        self._signal = config.persistence * self._signal + (1 - config.persistence**2) ** 0.5 * innovation
        self._position = position
        self._time += 1
        self._age += 1
        final = self._observe()
        over = self._age >= config.episode_length
        observation = self.reset() if over else final
        ended = torch.full(reward.shape[:2], over, device=self.device)
        earned = self.reward_scale * reward.sum(dim=-1)
        return Step(observation, earned, torch.zeros_like(ended), ended, final)

    def encode(self, observation: Tensor, /) -> Tensor:
        """Return the observation: it is the network input."""
        return observation

    def state_dict(self) -> dict[str, Tensor]:
        """Return counters, signals and positions."""
        counters = torch.tensor([self._time, self._age])
        return {"counters": counters, "signal": self._signal.clone(), "position": self._position.clone()}

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> None:
        """Continue from a `state_dict`."""
        self._time, self._age = (int(v) for v in state["counters"])
        self._signal = state["signal"].to(self.device)
        self._position = state["position"].to(self.device)

    def _observe(self) -> Tensor:
        return torch.stack([self._signal, self._position], dim=-1)


def planted_symmetry(assets: int) -> Symmetry:
    """Return S_N × Z2: exchange of rows; the mirror negates signal, position and action."""
    mirror = cyclic(2)
    odd = sign(mirror)
    return Symmetry(mirror, odd + odd, odd, rows=assets)
