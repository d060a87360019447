"""The planted problem: the linear–quadratic market of Gârleanu and Pedersen, whose best policy is known.

Each of N assets has a signal f that forecasts its next return and a quadratic cost of changing its position
x:

    f′ = φ f + √(1 − φ²) η,      r = β f + μ + σ u,      reward = Σ_i x r − (γ_r/2) x² − (λ/2) (x −
    x_previous)²

with η, u standard normal (Gârleanu and Pedersen, "Dynamic Trading with Predictable Returns and Transaction
Costs", Journal of Finance 2013). Where β and λ are equal over assets and μ = 0 the market has exactly the
symmetry S_N × Z2: assets can be exchanged, and negated signals and positions mirror the market. Spreads of
β and λ break the exchange of assets, a drift μ breaks the mirror, each by a known amount. An agent's score
is a share of the optimum.

`trading_app.synthetic.planted` has the market as an environment, `planted_history` the same with a finite history,
`planted_score` the score and `planted_plug_in` the reference that estimates the market from a history.

Axes: N assets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rl_core.errors import ConfigError
from trading_app.synthetic.planted_local import LocalFeedback, local_feedback

__all__ = [
    "Feedback",
    "PlantedConfig",
    "asset_rewards",
    "average_reward",
    "feedback_of",
    "optimum",
    "signal_path",
]

Array = npt.NDArray[np.float64]

# Effect of breaking of strength 1: relative spreads of β and λ over assets, and the largest drift.
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
    exchange_share: float = 1.0
    """Share of the assets whose β_i and λ_i deviate; the others stay exchangeable (local breaking below 1)."""
    mirror_threshold: float | None = None
    """Drift is earned only while the asset's signal is above this (local breaking); None: always."""
    episode_length: int = 200

    def __post_init__(self) -> None:
        """Check that the market exists and that its optimum never meets the position limit.

        Raises
        ------
        ConfigError
            Naming the parameter.
        """
        for name in ("exchange_breaking", "mirror_breaking", "exchange_share"):
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
                f"max_position is {self.max_position} but the positions of the best policy reach {reach:.2f} (four "
                "standard deviations), so the known optimum would not apply; raise max_position"
            )

    def coefficients(self) -> tuple[Array, Array, Array]:
        """Return β, λ and μ of the assets, each [N].

        The patterns over assets are fixed: evenly spaced, in a different order for each coefficient. With
        the mirror alone broken every asset drifts alike, so that assets remain exchangeable.
        """
        n = self.assets
        spaced = np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)
        deviating = np.zeros(n, dtype=bool)
        deviating[np.linspace(0, n - 1, round(self.exchange_share * n)).round().astype(int)] = True
        evens_first = np.concatenate([spaced[0::2], spaced[1::2]])
        odds_first = np.concatenate([spaced[1::2][::-1], spaced[0::2]])
        e = self.exchange_breaking * deviating
        beta = self.predictability * (1 + BETA_SPREAD * e * spaced)
        cost = self.trading_cost * (1 + COST_SPREAD * e * evens_first)
        drift = LARGEST_DRIFT * self.mirror_breaking * (1 + e * odds_first) / (1 + e)
        return beta, cost, drift

    def drift_applies(self, signal: Any) -> Any:
        """Return 1 where an asset with this signal earns its drift and 0 elsewhere, for arrays or tensors."""
        return 1.0 if self.mirror_threshold is None else signal > self.mirror_threshold

    def reward_gaps(self) -> dict[str, float]:
        """Return ε_R of the mirror and of an exchange of two assets: the largest |R(gs, ga) − R(s, a)|.

        The largest is over signals up to 3 and all positions. Transitions treat all assets and both signs
        alike, so ε_P is zero.
        """
        beta, cost, drift = self.coefficients()
        x = self.max_position
        spread_beta, spread_cost, spread_drift = (np.abs(c[:, None] - c) for c in (beta, cost, drift))
        # Attained by opposite positions with signals of the same sign.
        pairs = 2 * x * (3 * spread_beta + spread_drift + x * spread_cost)
        # With local breaking only one of a state and its mirror image earns the drift.
        sides = 2 if self.mirror_threshold is None else 1
        return {"mirror": float(sides * x * np.abs(drift).sum()), "exchange": float(pairs.max())}

    def broken(self, *, exchange: float = 0.0, mirror: float = 0.0) -> PlantedConfig:
        """Return the same market with its symmetries broken by these strengths."""
        return replace(self, exchange_breaking=exchange, mirror_breaking=mirror)


def signal_path(shocks: Tensor, persistence: float) -> Tensor:
    """Return signals [T, …] that start at the first shock and follow f′ = φ f + √(1 − φ²) η, η the later shocks."""
    signals = [shocks[0]]
    for shock in shocks[1:]:
        signals.append(persistence * signals[-1] + (1 - persistence**2) ** 0.5 * shock)
    return torch.stack(signals)


def asset_rewards(
    position: Tensor, before: Tensor, returns: Tensor, *, risk_aversion: float, cost: Tensor
) -> Tensor:
    """Return each asset's reward of a period [..., N] for positions after and before trading, and returns."""
    change = position - before
    return position * returns - 0.5 * (risk_aversion * position**2 + cost * change**2)


@dataclass(frozen=True)
class Feedback:
    """Linear feedback x = a f + b x_previous + c of each asset, and its average reward.

    Attributes
    ----------
    signal, position, constant
        a, b and c, each [N].
    curvature
        [N]: a position δ off the feedback costs ½ · curvature · δ² (see `PlantedScore`).
    reward
        Average reward a period over the stationary law, summed over assets.
    persistence
        φ of the signals that it was computed for.
    local
        With local breaking of the mirror, what the drift adds to the feedback as a function of the signal.
    """

    signal: Array
    position: Array
    constant: Array
    curvature: Array
    reward: float
    persistence: float
    local: LocalFeedback | None = None

    def __call__(self, observation: Tensor) -> Tensor:
        """Return positions [..., N] for observations [..., N, 2]."""
        a, b, c = (torch.as_tensor(v).to(observation) for v in (self.signal, self.position, self.constant))
        linear = a * observation[..., 0] + b * observation[..., 1] + c
        return linear if self.local is None else linear + self.local(observation[..., 0])

    def moments(self) -> tuple[Array, Array]:
        """Return the stationary mean and standard deviation of each asset's position [N]."""
        if self.local is not None:
            return self.local.mean, self.local.deviation
        a, b, phi = self.signal, self.position, self.persistence
        # x = a f + b x_previous with f an AR(1) of variance 1, so E[f x] = a / (1 − φ b).
        variance = a**2 * (1 + b * phi) / ((1 - b**2) * (1 - phi * b))
        return self.constant / (1 - b), np.sqrt(variance)

    def reach(self) -> float:
        """Return the largest |position| within four standard deviations, over assets."""
        mean, deviation = self.moments()
        return float(np.max(np.abs(mean) + 4 * deviation))


def optimum(config: PlantedConfig, discount: float = 1.0) -> Feedback:
    """Solve the market's Riccati equation.

    Assets do not interact, so the discrete algebraic Riccati equation separates into one quadratic equation for
    each asset, with the value −½ p x² + q f x + d x + ….

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
    if config.mirror_threshold is None:
        feedback = feedback_of(config, beta, cost, drift, discount)
        return replace(feedback, reward=average_reward(config, feedback))
    linear = feedback_of(config, beta, cost, np.zeros_like(drift), discount)
    found = local_feedback(
        beta,
        drift,
        cost,
        linear.curvature,
        config.drift_applies,
        risk=config.risk_aversion,
        persistence=config.persistence,
        discount=discount,
        signal=linear.signal,
    )
    return replace(linear, reward=found.reward, local=found)


def feedback_of(
    config: PlantedConfig, beta: Array, cost: Array, drift: Array, discount: float = 1.0
) -> Feedback:
    """Return the best feedback of a market with these coefficients [N]; its `reward` is left at 0."""
    risk, phi = config.risk_aversion, config.persistence
    # γ p² + (γ_r + λ − γ λ) p − λ γ_r = 0
    linear = risk + cost * (1 - discount)
    p = (np.sqrt(linear**2 + 4 * discount * cost * risk) - linear) / (2 * discount)
    curvature = risk + cost + discount * p
    q = cost * beta / (curvature - discount * cost * phi)
    d = cost * drift / (curvature - discount * cost)
    signal, constant = (beta + discount * phi * q) / curvature, (drift + discount * d) / curvature
    return Feedback(signal, cost / curvature, constant, curvature, 0.0, phi)


def average_reward(config: PlantedConfig, feedback: Feedback) -> float:
    """Return the exact stationary average reward of a linear feedback, for one period."""
    beta, cost, drift = config.coefficients()
    mean, deviation = feedback.moments()
    a, b, phi = feedback.signal, feedback.position, config.persistence
    signal_position = a / (1 - phi * b)  # E[f x]
    step = deviation**2 - (a * phi * signal_position + b * deviation**2)  # ½ E[(x − x_previous)²]
    gains = beta * signal_position + drift * mean
    return float(np.sum(gains - 0.5 * config.risk_aversion * (mean**2 + deviation**2) - cost * step))
