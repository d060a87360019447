"""Encoding of compact observations (day, holdings) as network input, windows of features gathered on demand, and its
symmetry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from data.features import compute_features, market_features
from rl_core.symmetry import Symmetry, cyclic, sign, trivial
from rl_core.symmetry.representations import signed_permutation
from trading_app.market.config import MarketConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.prices import Prices


class FeatureWindows:
    """Features of all days in one array; every window is a view of it.

    A row of an observation belongs to one asset and holds, in this order: the window's features, oldest
    session first [W · C]; the asset's own weight; the market-wide features of the day [M]; the net exposure
    Σ w, which is 1 less cash and, unlike cash, odd under the mirror. Features of a day use nothing later than its
    close. With the weights of a tilt's base (`base` [T, N]), weights are active ones, less those of the base.

    Attributes
    ----------
    features
        float32 [N, W − 1 + T, C]; the days before the first are zeros, so that a window which begins before
        the prices is padded, not refused.
    market
        Market-wide features, float32 [T, M].
    parity
        −1 or +1 for each entry of a row: its sign under the mirror [d].
    """

    def __init__(self, prices: Prices, config: MarketConfig, base: NDArray[np.float64] | None = None) -> None:
        self.base = base
        table, market = compute_features(prices, config.feature_names), market_features(prices)
        padding = np.zeros((config.window - 1, *table.values.shape[1:]), dtype=np.float32)
        self.features = np.ascontiguousarray(np.concatenate([padding, table.values]).transpose(1, 0, 2))
        self.market = market.values
        self.window = config.window
        odd = np.array([-1])
        parity = np.concatenate([np.tile(table.parity, config.window), odd, market.parity, odd])
        self.parity = tuple(int(value) for value in parity)
        # Asset i's window that ends on day t is contiguous in the array: all windows are a view [T, N, W ·
        # C].
        assets, rows, channels = self.features.shape
        step = self.features.itemsize
        self._windows = np.lib.stride_tricks.as_strided(
            self.features,
            (rows - config.window + 1, assets, config.window * channels),
            (step * channels, step * rows * channels, step),
            writeable=False,
        )

    @property
    def size(self) -> int:
        """Length d of one row."""
        return len(self.parity)

    def encode(self, day: int, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Observation of one account at the close of a day: weights [N] in, rows [N, d] out."""
        if self.base is not None:
            weights = weights - self.base[day]
        window = self._windows[day]
        width = window.shape[1]
        rows = np.empty((len(window), self.size), dtype=np.float32)
        rows[:, :width] = window
        rows[:, width] = weights
        rows[:, width + 1 : -1] = self.market[day]
        rows[:, -1] = np.add.reduce(weights)
        return rows


class Encoder:
    """`FeatureWindows` on tensors of a device, for batches."""

    def __init__(self, windows: FeatureWindows, device: torch.device) -> None:
        self.features = torch.from_numpy(windows.features).to(device)
        self.market = torch.from_numpy(windows.market).to(device)
        self.base = None if windows.base is None else torch.from_numpy(windows.base).to(self.features)
        self.parity, self.assets = windows.parity, len(windows.features)
        _, rows, channels = self.features.shape
        self._windows = self.features.as_strided(
            (rows - windows.window + 1, self.assets, windows.window * channels),
            (channels, rows * channels, 1),
        )

    @property
    def size(self) -> int:
        """Length d of one row."""
        return len(self.parity)

    def at(self, day: int) -> Callable[[Tensor], Tensor]:
        """Return an encoder of compact observations [..., 1 + N] of one day, with the same bits.

        Where many are asked for, what does not depend on the holdings is gathered once.
        """
        blank = self.features.new_zeros(1 + self.assets)
        blank[0] = day
        rows, own = self(blank), self._windows.shape[-1]

        def encode(observation: Tensor) -> Tensor:
            held = self._active(day, observation[..., 1:])
            found = rows.expand(*held.shape[:-1], -1, -1).clone()
            found[..., own] = held
            found[..., -1] = held.sum(-1)[..., None]
            return found

        return encode

    def __call__(self, observation: Tensor) -> Tensor:
        """Encode compact observations [..., 1 + N] into rows [..., N, d], float32."""
        day = observation[..., 0].long()
        held = self._active(day, observation[..., 1:])
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

    def _active(self, day: Tensor | int, weights: Tensor) -> Tensor:
        """Return weights [..., N] less those of the base, where there is one."""
        held = weights.to(self.features.dtype)
        return held if self.base is None else held - self.base[day]


def market_symmetry(
    parity: Sequence[int], assets: int, *, mirror: bool, sectors: tuple[int, ...] | None = None
) -> Symmetry:
    """S_N on the N assets (rows) and, with `mirror`, Z2: returns and positions change sign together.

    `parity` is −1 or +1 for each input of an asset's row: its sign under the mirror. An asset's action, its position,
    is odd. With `sectors`, the number of each asset's sector, only assets of a sector are exchanged.
    """
    group = cyclic(2 if mirror else 1)
    size = len(parity)
    if not mirror:
        return Symmetry(group, trivial(group, size), trivial(group, 1), rows=assets, sectors=sectors)
    signs = [int(value) for value in parity]
    observation = signed_permutation(group, {1: (list(range(size)), signs)}, name="parity of the inputs")
    return Symmetry(group, observation, sign(group), rows=assets, sectors=sectors)
