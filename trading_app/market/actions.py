"""Actions: the map from [−1, 1]^N to target weights, for NumPy arrays and torch tensors."""

from __future__ import annotations

import numpy as np

from trading_app.market.accounting import Array, at_least, at_most, total
from trading_app.market.config import MarketConfig


def target_weights(action: Array, config: MarketConfig, available: Array | None = None) -> Array:
    """Map actions in [−1, 1] (clipped to it) [..., N] to target weights [..., N]; the rest is cash.

    Both maps commute with permutations of the assets (and of what is available), and the long–short one with the
    mirror. `available` is 1 where an asset is available to the decision and 0 elsewhere, where its weight is 0
    [..., N];
    None where all are.
    """
    limit = config.weight_limit(action.shape[-1])
    bounded = at_least(at_most(action, 1.0), -1.0)
    if config.actions == "long-only":
        exponent = bounded / config.temperature
        odds = np.exp(exponent) if isinstance(exponent, np.ndarray) else exponent.exp()
        if available is not None:
            odds = odds * available
        weights = odds / (total(odds) + 1.0)[..., None]
        return weights if limit >= 1.0 else at_most(weights, limit)
    weights = bounded * limit if available is None else bounded * limit * available
    gross = at_least(total(abs(weights)), config.gross_limit)
    return weights * (config.gross_limit / gross)[..., None]
