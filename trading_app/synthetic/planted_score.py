"""Score of a policy in the planted market: its share of the optimum.

Axes: S seeds, B batch, N assets, T time.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from trading_app.synthetic.planted_problem import PlantedConfig, optimum, signal_path

__all__ = ["PlantedScore"]

Policy = Callable[[Tensor], Tensor]


class PlantedScore:
    """An agent's share of the optimum, (J(policy) − J(zero)) / (J* − J(zero)), on a fixed batch of signals.

    J is the average reward a period, and J(zero) is 0. All policies and seeds get the same signals
    (common random numbers), and return noise is replaced by its mean, 0. With the optimum's value
    function as the control variate, the shortfall of a policy is, exactly in expectation (the
    performance-difference identity),

        J* − J(policy) = E Σ_i ½ m_i (x_i − x*_i(s))²,

    m the curvature of the Riccati equation and s the states that the policy itself visits. The right-hand
    side is averaged: it has no noise of rewards, so shares are precise to about 0.001.

    Parameters
    ----------
    config
        The market.
    episodes, periods
        Size B × T of the batch; positions start at zero, and the first tenth of the periods is not counted.
    seed
        Seed of the signals and of the observation noise.
    device
        Device of the computation.
    """

    def __init__(
        self,
        config: PlantedConfig | None = None,
        *,
        episodes: int = 64,
        periods: int = 100,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config if config is not None else PlantedConfig()
        self.best = optimum(self.config)
        self.device = torch.device(device)
        self.warmup = periods // 10
        generator = torch.Generator().manual_seed(seed)
        shape = (periods, episodes, self.config.assets)
        shocks = torch.randn(shape, generator=generator)
        self.signals = signal_path(shocks, self.config.persistence).to(self.device)  # [T, B, N]
        self.noise = torch.randn((*shape, 2), generator=generator).to(self.device)  # [T, B, N, 2]

    def share(self, policy: Policy, seeds: int = 1, *, observation_noise: float = 0.0) -> Tensor:
        """Return the share of the optimum of each seed [S]: 1 is the best, 0 that of no trade.

        Parameters
        ----------
        policy
            Maps observations [S, B, N, 2] to actions [S, B, N] in [−1, 1].
        seeds
            S.
        observation_noise
            Standard deviation of the noise on observations, in units of each entry's standard deviation under the
            optimum. The market itself has no such noise.
        """
        shortfall, _ = self.rollout(policy, seeds, observation_noise=observation_noise)
        return 1.0 - shortfall / self.best.reward

    @torch.no_grad()
    def rollout(
        self, policy: Policy, seeds: int = 1, *, observation_noise: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the shortfall J* − J by the identity, and the average reward J; each [S], for one period.

        Parameters
        ----------
        policy, seeds, observation_noise
            As for `share`.
        """
        config = self.config
        beta, cost, drift, curvature = (
            torch.as_tensor(c, dtype=torch.float32, device=self.device)
            for c in (*config.coefficients(), self.best.curvature)
        )
        deviation = torch.as_tensor(self.best.moments()[1], dtype=torch.float32, device=self.device)
        scale = observation_noise * torch.stack([torch.ones_like(deviation), deviation], dim=-1)  # [N, 2]
        periods, episodes, assets = self.signals.shape
        previous = torch.zeros(seeds, episodes, assets, device=self.device)
        shortfall = reward = torch.zeros(seeds, device=self.device)
        for t in range(periods):
            state = torch.stack([self.signals[t].expand(seeds, -1, -1), previous], dim=-1)
            seen = state + scale * self.noise[t] if observation_noise else state
            position = config.max_position * policy(seen).clamp(-1.0, 1.0)
            if t >= self.warmup:
                off = position - self.best(state)
                shortfall = shortfall + (0.5 * curvature * off**2).sum(dim=-1).mean(dim=-1)
                expected = beta * self.signals[t] + drift * config.drift_applies(self.signals[t])
                gain = position * expected - 0.5 * config.risk_aversion * position**2
                gain = gain - 0.5 * cost * (position - previous) ** 2
                reward = reward + gain.sum(dim=-1).mean(dim=-1)
            previous = position
        counted = periods - self.warmup
        return shortfall / counted, reward / counted
