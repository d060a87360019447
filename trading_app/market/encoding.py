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

    Where an asset is not available on some day of a range, rows have their presence [1] at the end (see
    `rl_core.symmetry.Symmetry`): 1, or 0 for an asset that is not available on the day, whose row is zero. Net exposure
    and market-wide features are those of the available assets.

    Parameters
    ----------
    prices, config
        Prices, and the settings of the features.
    base
        Weights of a tilt's base [T, N].
    available
        Whether an asset is available to the decision of each day (bool [T, N]); None for all.
    days
        First and last day of the range; all by default.

    Attributes
    ----------
    features
        float32 [N, W − 1 + T, C]; the days before the first are zeros, so that a window which begins before
        the prices is padded, not refused.
    market
        Market-wide features, float32 [T, M].
    parity
        −1 or +1 for each entry of a row but its presence: its sign under the mirror [d].
    presence
        1 where an asset is available and 0 elsewhere, float32 [T, N]; None where rows have no presence.
    """

    def __init__(
        self,
        prices: Prices,
        config: MarketConfig,
        base: NDArray[np.float64] | None = None,
        available: NDArray[np.bool_] | None = None,
        days: tuple[int, int] = (0, -1),
    ) -> None:
        self.base = base
        in_range = slice(days[0], days[1] + 1 or None)
        whole = available is None or bool(available[in_range].all())
        self.presence = None if available is None or whole else available.astype(np.float32)
        table = compute_features(prices, config.feature_names)
        market = market_features(prices, available)
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
        """Length of one row: d, and 1 for its presence."""
        return len(self.parity) + (self.presence is not None)

    def encode(self, day: int, weights: NDArray[np.float64]) -> NDArray[np.float32]:
        """Observation of one account at the close of a day: weights [N] in, rows [N, `size`] out."""
        presence = None if self.presence is None else self.presence[day]
        if self.base is not None:
            weights = weights - self.base[day]
        if presence is not None:
            weights = weights * presence
        window = self._windows[day]
        width = window.shape[1]
        rows = np.empty((len(window), self.size), dtype=np.float32)
        rows[:, :width] = window
        rows[:, width] = weights
        last = len(self.parity) - 1
        rows[:, width + 1 : last] = self.market[day]
        rows[:, last] = np.add.reduce(weights)
        if presence is not None:
            rows[:, :-1] *= presence[:, None]
            rows[:, -1] = presence
        return rows


class Encoder:
    """`FeatureWindows` on tensors of a device, for batches."""

    def __init__(self, windows: FeatureWindows, device: torch.device) -> None:
        self.features = torch.from_numpy(windows.features).to(device)
        self.market = torch.from_numpy(windows.market).to(device)
        self.base, self.presence = (
            None if table is None else torch.from_numpy(table).to(self.features)
            for table in (windows.base, windows.presence)
        )
        self.parity, self.size, self.assets = windows.parity, windows.size, len(windows.features)
        _, rows, channels = self.features.shape
        self._windows = self.features.as_strided(
            (rows - windows.window + 1, self.assets, windows.window * channels),
            (channels, rows * channels, 1),
        )

    def at(self, day: int) -> Callable[[Tensor], Tensor]:
        """Return an encoder of compact observations [..., 1 + N] of one day, with the same bits.

        Where many are asked for, what does not depend on the holdings is gathered once.
        """
        blank = self.features.new_zeros(1 + self.assets)
        blank[0] = day
        rows, own, last = self(blank), self._windows.shape[-1], len(self.parity) - 1

        def encode(observation: Tensor) -> Tensor:
            held = self._active(day, observation[..., 1:])
            found = rows.expand(*held.shape[:-1], -1, -1).clone()
            found[..., own] = held
            net = held.sum(-1)[..., None]
            found[..., last] = net if self.presence is None else net * self.presence[day]
            return found

        return encode

    def __call__(self, observation: Tensor) -> Tensor:
        """Encode compact observations [..., 1 + N] into rows [..., N, `size`], float32."""
        day = observation[..., 0].long()
        held = self._active(day, observation[..., 1:])
        parts = [
            held[..., None],
            self.market[day][..., None, :].expand(*held.shape, -1),
            held.sum(-1)[..., None, None].expand(*held.shape, 1),
        ]
        presence = None if self.presence is None else self.presence[day][..., None]
        if presence is not None:
            parts.append(presence)
        extra = torch.cat(parts, dim=-1).reshape(-1, self.assets, self.size - self._windows.shape[-1])
        if self.features.device.type == "cpu":
            rows = extra.new_empty((len(extra), self.assets, self.size))
            # Gathered in place: joining afterwards would copy every window once more.
            torch.index_select(self._windows, 0, day.reshape(-1), out=rows[..., : self._windows.shape[-1]])
            rows[..., self._windows.shape[-1] :] = extra
        else:
            rows = torch.cat([self._windows.index_select(0, day.reshape(-1)), extra], dim=-1)
        rows = rows.reshape(*held.shape, self.size)
        return rows if presence is None else rows * presence

    def _active(self, day: Tensor | int, weights: Tensor) -> Tensor:
        """Return weights [..., N] less those of the base, where there is one, of the available assets."""
        held = weights.to(self.features.dtype)
        active = held if self.base is None else held - self.base[day]
        return active if self.presence is None else active * self.presence[day]


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
