"""`PortfolioVectorEnv`: many accounts stepped at once, behind Gymnasium's vector interface."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from data.prices import Prices
from trading_app.envs.portfolio import changed_config, prices_of
from trading_app.market.config import MarketConfig
from trading_app.market.costs import CostModel


class PortfolioVectorEnv(gymnasium.vector.VectorEnv["NDArray[np.float32]", "NDArray[np.float32]", Any]):
    """`Market` as a Gymnasium vector environment: one step for all accounts.

    Ended episodes restart within the step; ``infos["final_obs"]`` holds the last observation of the episode.

    Parameters
    ----------
    num_envs
        Number of accounts.
    data, config, costs, start, end, symbols, home, settings
        As of `PortfolioEnv`.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        num_envs: int = 1,
        data: str | Path | Prices = "sp500-20",
        *,
        config: MarketConfig | None = None,
        costs: CostModel | None = None,
        start: object = None,
        end: object = None,
        symbols: Sequence[str] | None = None,
        home: Path | None = None,
        **settings: Any,
    ) -> None:
        self.num_envs = num_envs
        self._prices = prices_of(data, symbols, home)
        self._options: dict[str, Any] = {
            "config": changed_config(config, settings),
            "costs": costs,
            "n_envs": num_envs,
            "start": start,
            "end": end,
        }
        self._market = self._seeded(0)
        shape = (self._market.action_size, self._market.encoder.size)
        self.single_observation_space = spaces.Box(-np.inf, np.inf, shape, np.float32)
        self.single_action_space = spaces.Box(-1.0, 1.0, shape[:1], np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _seeded(self, seed: int) -> Any:
        from trading_app.market.env import Market

        return Market(self._prices, seeds=(seed,), **self._options)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode in every account.

        Parameters
        ----------
        seed
            Seeds the random days; of a list only the first is used.
        options
            Not used.
        """
        first = seed[0] if isinstance(seed, list) else seed
        if first is not None:
            encoder = self._market.encoder
            self._market = self._seeded(int(first))
            self._market.encoder = encoder
        return self._encoded(self._market.reset()), {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[
        NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Choose target weights [num_envs, N] in every account."""
        action = torch.from_numpy(np.ascontiguousarray(actions, dtype=np.float32))[None]
        observation, reward, terminated, truncated, final = self._market.step(action)
        ended = (terminated | truncated)[0].numpy()
        infos: dict[str, Any] = {}
        if ended.any():
            last = np.full(self.num_envs, None, dtype=object)
            rows = self._encoded(final[:, torch.from_numpy(ended)])
            for account, row in zip(np.flatnonzero(ended), rows, strict=True):
                last[account] = row
            infos = {"final_obs": last, "_final_obs": ended}
        return (
            self._encoded(observation),
            reward[0].double().numpy(),
            terminated[0].numpy(),
            truncated[0].numpy(),
            infos,
        )

    def _encoded(self, observation: Any) -> NDArray[np.float32]:
        encoded: NDArray[np.float32] = self._market.encode(observation)[0].numpy()
        return encoded
