"""Rewards of one step from the growth of the account, for NumPy numbers and torch tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trading_app.market.accounting import Array, at_least
from trading_app.market.config import MarketConfig

# The reward of a ruined account is that of losing all but a thousandth: finite, and worse than any other
# step.
_RUIN_GROWTH = 1e-3
# Where the moving moments of the differential Sharpe ratio start: no mean, 1 % volatility a session.
_FIRST_SQUARE = 1e-4
_SMALLEST_VARIANCE = 1e-10


class Rewards:
    """Rewards of growth factors; the differential Sharpe ratio has two moments for each account as state.

    ``constants`` are the moments that an episode starts with, by name.
    """

    def __init__(self, config: MarketConfig) -> None:
        self._config = config
        self.constants: dict[str, float] = {}
        if config.reward == "differential-sharpe":
            self.constants = {"mean": 0.0, "square": _FIRST_SQUARE}

    def __call__(
        self, growth: Array, alive: Array, state: Mapping[str, Array], benchmark: Array | float = 0.0
    ) -> tuple[Array, dict[str, Array]]:
        """Reward of growth factors [...], and the moments after them; `state` holds the moments before.

        `benchmark` are the returns of the benchmark [...], for the active reward.

        Growth is the value just before the next fill over the value just before this one. The reward of an account
        that did
        not survive (`alive`) is that of a growth of 0.001.
        """
        config = self._config
        survived = at_least(growth * alive, _RUIN_GROWTH)
        if config.reward == "log":
            logarithm = survived.log() if hasattr(survived, "log") else np.log(survived)
            return (logarithm if config.reward_scale == 1.0 else logarithm * config.reward_scale), {}
        gain = survived - 1.0 if config.reward != "active" else survived - 1.0 - benchmark
        if config.reward in ("mean-variance", "active"):
            return (gain - 0.5 * config.risk_aversion * gain * gain) * config.reward_scale, {}
        mean, square = state["mean"], state["square"]
        spread = at_least(square - mean * mean, _SMALLEST_VARIANCE)
        change, change_of_square = gain - mean, gain * gain - square
        reward = (square * change - 0.5 * mean * change_of_square) / spread**1.5
        moments = {
            "mean": mean + config.sharpe_rate * change,
            "square": square + config.sharpe_rate * change_of_square,
        }
        return reward * config.reward_scale, moments
