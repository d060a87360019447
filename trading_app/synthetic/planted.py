"""Planted markets: the linear–quadratic market of Gârleanu and Pedersen, whose best policy is known.

Each of N assets has a signal f that forecasts its next return and a quadratic cost of changing its position
x:

    f′ = φ f + √(1 − φ²) η,      r = β f + μ + σ u,      reward = Σ_i x r − (γ_r/2) x² − (λ/2) (x −
    x_previous)²

with η, u standard normal (Gârleanu and Pedersen, "Dynamic Trading with Predictable Returns and Transaction
Costs", Journal of Finance 2013). Where β and λ are equal over assets and μ = 0 the market has exactly the
symmetry S_N × Z2: assets can be exchanged, and negated signals and positions mirror the market. Spreads of
β and λ break the exchange of assets, a drift μ breaks the mirror, each by a known amount. An agent's score
is a share of the optimum.

Axes: S seeds, B batch, N assets, T time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rl_core.env import Step
from rl_core.errors import ConfigError
from rl_core.random import Noise
from rl_core.symmetry import Symmetry, cyclic, sign

__all__ = ["Feedback", "PlantedConfig", "PlantedMarket", "PlantedScore", "optimum"]

Array = npt.NDArray[np.float64]
Policy = Callable[[Tensor], Tensor]

# What breaking of strength 1 does: relative spreads of β and λ over assets, and the largest drift.
BETA_SPREAD, COST_SPREAD, LARGEST_DRIFT = 0.75, 0.45, 0.15


@dataclass(frozen=True)
class PlantedConfig:
    """The market's parameters and how strongly each symmetry is broken.

    Scores depend on every parameter, `return_noise` included: quote them together.
    """

    assets: int = 8
    persistence: float = 0.9
    """φ, autocorrelation of a signal."""
    predictability: float = 0.3
    """Mean of β_i."""
    risk_aversion: float = 1.0
    """γ_r."""
    trading_cost: float = 2.0
    """Mean of λ_i."""
    return_noise: float = 0.1
    """σ; it moves rewards but neither the best policy nor the expected score. At 1, learning takes far longer."""
    max_position: float = 3.0
    """Position of an action of 1."""
    exchange_breaking: float = 0.0
    """0 … 1; at 1, β_i spreads by ±75 % and λ_i by ±45 % over the assets."""
    mirror_breaking: float = 0.0
    """0 … 1; at 1, the largest drift μ_i is 0.15."""
    episode_length: int = 200

    def __post_init__(self) -> None:
        """Check that the market exists and that its optimum never meets the position limit.

        Raises
        ------
        ConfigError
            Naming the parameter.
        """
        for name in ("exchange_breaking", "mirror_breaking"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must lie between 0 and 1")
        if self.assets < 1 or self.episode_length < 1:
            raise ConfigError("a planted market needs at least one asset and episodes of at least one period")
        if not 0 <= self.persistence < 1:
            raise ConfigError(f"persistence is {self.persistence}; it must lie in [0, 1)")
        if self.risk_aversion <= 0 or self.trading_cost < 0 or self.return_noise < 0:
            raise ConfigError("risk_aversion must be above 0, trading_cost and return_noise not below 0")
        reach = optimum(self).reach()
        if reach > self.max_position:
            raise ConfigError(
                f"max_position is {self.max_position} but the best policy holds up to {reach:.2f} (four "
                "standard deviations), so the known optimum would not apply; raise max_position"
            )

    def coefficients(self) -> tuple[Array, Array, Array]:
        """Give β, λ and μ of the assets, each [N].

        The patterns over assets are fixed: evenly spaced, in a different order for each coefficient. With
        the mirror alone broken every asset drifts alike, so that assets remain exchangeable.
        """
        n = self.assets
        spaced = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
        evens_first = np.concatenate([spaced[0::2], spaced[1::2]])
        odds_first = np.concatenate([spaced[1::2][::-1], spaced[0::2]])
        e = self.exchange_breaking
        beta = self.predictability * (1 + BETA_SPREAD * e * spaced)
        cost = self.trading_cost * (1 + COST_SPREAD * e * evens_first)
        drift = LARGEST_DRIFT * self.mirror_breaking * (1 + e * odds_first) / (1 + e)
        return beta, cost, drift

    def reward_gaps(self) -> dict[str, float]:
        """Give ε_R of the mirror and of an exchange of two assets: the largest |R(gs, ga) − R(s, a)|.

        The largest is over signals up to 3 and all positions. Transitions treat all assets and both signs
        alike, so ε_P is zero.
        """
        beta, cost, drift = self.coefficients()
        x = self.max_position
        spread_beta, spread_cost, spread_drift = (np.abs(c[:, None] - c) for c in (beta, cost, drift))
        # Attained by opposite positions with signals of one sign, one asset turned over and the other kept.
        pairs = 2 * x * (3 * spread_beta + spread_drift + x * spread_cost)
        return {"mirror": float(2 * x * np.abs(drift).sum()), "exchange": float(pairs.max())}

    def broken(self, *, exchange: float = 0.0, mirror: float = 0.0) -> PlantedConfig:
        """Give the same market with its symmetries broken by these strengths."""
        return replace(self, exchange_breaking=exchange, mirror_breaking=mirror)


@dataclass(frozen=True)
class Feedback:
    """Linear feedback x = a f + b x_previous + c of each asset, and what it earns.

    Attributes
    ----------
    signal, position, constant
        a, b and c, each [N].
    curvature
        [N]: a position δ off the feedback costs ½ · curvature · δ² (see `PlantedScore`).
    reward
        Average reward a period over the stationary law, summed over assets.
    persistence
        φ of the signals that it was made for.
    """

    signal: Array
    position: Array
    constant: Array
    curvature: Array
    reward: float
    persistence: float

    def __call__(self, observation: Tensor) -> Tensor:
        """Positions [..., N] for observations [..., N, 2]."""
        a, b, c = (torch.as_tensor(v).to(observation) for v in (self.signal, self.position, self.constant))
        return a * observation[..., 0] + b * observation[..., 1] + c

    def moments(self) -> tuple[Array, Array]:
        """Stationary mean and standard deviation of each asset's position, [N]."""
        a, b, phi = self.signal, self.position, self.persistence
        # x = a f + b x_previous with f an AR(1) of variance 1, so E[f x] = a / (1 − φ b).
        variance = a**2 * (1 + b * phi) / ((1 - b**2) * (1 - phi * b))
        return self.constant / (1 - b), np.sqrt(variance)

    def reach(self) -> float:
        """Largest |position| within four standard deviations, over assets."""
        mean, deviation = self.moments()
        return float(np.max(np.abs(mean) + 4 * deviation))


def optimum(config: PlantedConfig, discount: float = 1.0) -> Feedback:
    """Solve the market's Riccati equation.

    Assets do not interact, so the discrete algebraic Riccati equation falls apart into one quadratic
    equation an asset, with the value −½ p x² + q f x + d x + ….

    Parameters
    ----------
    config
        The market.
    discount
        1 maximises the average reward, which is how agents are scored; below 1, the discounted sum.

    Returns
    -------
    Feedback
        `reward` is the average reward a period of this feedback, whatever the discount.
    """
    if not 0 < discount <= 1:
        raise ConfigError(f"discount is {discount}; it must lie in (0, 1]")
    beta, cost, drift = config.coefficients()
    risk, phi = config.risk_aversion, config.persistence
    # γ p² + (γ_r + λ − γ λ) p − λ γ_r = 0
    linear = risk + cost * (1 - discount)
    p = (np.sqrt(linear**2 + 4 * discount * cost * risk) - linear) / (2 * discount)
    curvature = risk + cost + discount * p
    q = cost * beta / (curvature - discount * cost * phi)
    d = cost * drift / (curvature - discount * cost)
    signal = (beta + discount * phi * q) / curvature
    position = cost / curvature
    constant = (drift + discount * d) / curvature
    feedback = Feedback(signal, position, constant, curvature, 0.0, phi)
    return replace(feedback, reward=average_reward(config, feedback))


def average_reward(config: PlantedConfig, feedback: Feedback) -> float:
    """Stationary average reward a period of a linear feedback, exactly."""
    beta, cost, drift = config.coefficients()
    mean, deviation = feedback.moments()
    a, b, phi = feedback.signal, feedback.position, config.persistence
    signal_position = a / (1 - phi * b)  # E[f x]
    step = deviation**2 - (a * phi * signal_position + b * deviation**2)  # ½ E[(x − x_previous)²]
    gains = beta * signal_position + drift * mean
    return float(np.sum(gains - 0.5 * config.risk_aversion * (mean**2 + deviation**2) - cost * step))


class PlantedMarket:
    """The planted market as a `BatchedEnv`.

    Observations are [S, n_envs, N, 2]: signal and previous position of each asset, both odd under the
    mirror. An action in [−1, 1] is a position in units of `max_position`. Episodes are cut at
    `episode_length`, never ended.

    Parameters
    ----------
    config
        Parameters of the market.
    seeds
        The S seeds; the market of seed k depends on ``seeds[k]`` alone.
    n_envs
        Markets of each seed.
    reward_scale
        What rewards are multiplied by for the learner; shares of the optimum do not depend on it.
    device
        Where the tensors live.
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
        returns = self._beta * self._signal + self._drift
        if config.return_noise:
            returns = returns + config.return_noise * self._noise.normal("planted return", time, self._shape)
        change = position - self._position
        reward = position * returns - 0.5 * (config.risk_aversion * position**2 + self._cost * change**2)
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
        """Observations are network input already."""
        return observation

    def state_dict(self) -> dict[str, Tensor]:
        """Give the counters, signals and positions."""
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
    """S_N × Z2: exchange of rows; the mirror negates signal, position and action."""
    mirror = cyclic(2)
    odd = sign(mirror)
    return Symmetry(mirror, odd + odd, odd, rows=assets)


class PlantedScore:
    """An agent's share of the optimum, (J(policy) − J(zero)) / (J* − J(zero)), on a fixed batch of signals.

    J is the average reward a period, and J(zero) is 0. Every policy, whatever its seed, meets the same
    signals (common random numbers), and return noise is replaced by its mean, 0. With the optimum's value
    function as the control variate, the shortfall of a policy is, exactly in expectation (the
    performance-difference identity),

        J* − J(policy) = E Σ_i ½ m_i (x_i − x*_i(s))²,

    m the curvature of the Riccati equation and s the states that the policy itself visits. The right-hand
    side is what is averaged: it has no noise of the rewards at all, so shares can be told apart to about
    0.001.

    Parameters
    ----------
    config
        The market.
    episodes, periods
        Size B × T of the batch; positions start at zero, and the first tenth of the periods is not counted.
    seed
        Of the signals and of the observation noise.
    device
        Where it runs.
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
        phi = self.config.persistence
        signals = [shocks[0]]
        for shock in shocks[1:]:
            signals.append(phi * signals[-1] + (1 - phi**2) ** 0.5 * shock)
        self.signals = torch.stack(signals).to(self.device)  # [T, B, N]
        self.noise = torch.randn((*shape, 2), generator=generator).to(self.device)  # [T, B, N, 2]

    def share(self, policy: Policy, seeds: int = 1, *, observation_noise: float = 0.0) -> Tensor:
        """Share of the optimum of each seed, [S]; 1 is the best, 0 is not to trade, below 0 loses.

        Parameters
        ----------
        policy
            Takes observations [S, B, N, 2] to actions [S, B, N] in [−1, 1].
        seeds
            S.
        observation_noise
            Standard deviation of what is added to observations, in units of each entry's deviation under the
            optimum. The market itself is not disturbed.
        """
        shortfall, _ = self.rollout(policy, seeds, observation_noise=observation_noise)
        return 1.0 - shortfall / self.best.reward

    @torch.no_grad()
    def rollout(
        self, policy: Policy, seeds: int = 1, *, observation_noise: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Shortfall J* − J by the identity, and the plain average reward J; each [S], a period.

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
                gain = position * (beta * self.signals[t] + drift) - 0.5 * config.risk_aversion * position**2
                gain = gain - 0.5 * cost * (position - previous) ** 2
                reward = reward + gain.sum(dim=-1).mean(dim=-1)
            previous = position
        counted = periods - self.warmup
        return shortfall / counted, reward / counted
