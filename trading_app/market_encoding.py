"""From a compact observation (day, holdings) to a network's input: windows of features gathered on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from data.features import compute, market_features
from trading_app.market_config import MarketConfig

if TYPE_CHECKING:
    from data.prices import Prices


class Encoder:
    """Features of all days in one tensor, and the gathering of windows from it.

    A row of the network's input belongs to one asset and holds, in this order: the window's features, oldest
    session first [W · C]; the asset's own weight; the market-wide features of the day [M]; the net exposure
    Σ w, which is 1 less cash and, unlike cash, odd under the mirror.

    Parameters
    ----------
    prices
        The prices; features of a day use nothing later than its close.
    config
        The market's settings.
    device
        Where the tensor lives.
    """

    def __init__(self, prices: Prices, config: MarketConfig, device: torch.device) -> None:
        table, market = compute(prices, config.feature_names), market_features(prices)
        self.window, self.assets = config.window, len(prices.symbols)
        # Days of zeros before the first: a window that begins before the prices is padded, not refused.
        padding = np.zeros((config.window - 1, *table.values.shape[1:]), dtype=np.float32)
        padded = np.concatenate([padding, table.values]).transpose(1, 0, 2)
        self.features = torch.from_numpy(np.ascontiguousarray(padded)).to(device)
        self.market = torch.from_numpy(market.values).to(device)
        # Windows as a view: asset i's window that ends on day t is contiguous in the tensor [N, T + W − 1,
        # C].
        assets, rows, channels = self.features.shape
        self._windows = self.features.as_strided(
            (rows - config.window + 1, assets, config.window * channels), (channels, rows * channels, 1)
        )
        own, net = np.array([-1]), np.array([-1])
        self.parity = tuple(
            int(value)
            for value in np.concatenate([np.tile(table.parity, config.window), own, market.parity, net])
        )

    @property
    def size(self) -> int:
        """Length d of one row."""
        return len(self.parity)

    def __call__(self, observation: Tensor) -> Tensor:
        """Encode compact observations [..., 1 + N] into rows [..., N, d], float32."""
        day = observation[..., 0].long()
        held = observation[..., 1:].to(self.features.dtype)
        extra = torch.cat(
            [
                held[..., None],
                self.market[day][..., None, :].expand(*held.shape, -1),
                held.sum(-1)[..., None, None].expand(*held.shape, 1),
            ],
            dim=-1,
        ).reshape(-1, self.assets, self.size - self._windows.shape[-1])
        if self.features.device.type == "cpu":
            rows = extra.new_empty((len(extra), self.assets, self.size))
            # Gathered in place: joining afterwards would copy every window once more.
            torch.index_select(self._windows, 0, day.reshape(-1), out=rows[..., : self._windows.shape[-1]])
            rows[..., self._windows.shape[-1] :] = extra
        else:
            rows = torch.cat([self._windows.index_select(0, day.reshape(-1)), extra], dim=-1)
        return rows.reshape(*held.shape, self.size)
