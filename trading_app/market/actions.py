"""What an action means: from [−1, 1]^N to target weights, for NumPy arrays and torch tensors alike."""

from __future__ import annotations

import numpy as np

from trading_app.market.accounting import Array, at_least, at_most, total
from trading_app.market.config import MarketConfig


def target_weights(action: Array, config: MarketConfig) -> Array:
    """Map actions to target weights.

    Both maps commute with permutations of the assets, and the long–short one with the mirror.

    Parameters
    ----------
    action
        In [−1, 1]; clipped to it [..., N].
    config
        The market's settings.

    Returns
    -------
    Array
        Target weights [..., N]; the rest is cash.
    """
    limit = config.weight_limit(action.shape[-1])
    bounded = at_least(at_most(action, 1.0), -1.0)
    if config.actions == "long-only":
        exponent = bounded / config.temperature
        odds = np.exp(exponent) if isinstance(exponent, np.ndarray) else exponent.exp()
        weights = odds / (total(odds) + 1.0)[..., None]
        return weights if limit >= 1.0 else at_most(weights, limit)
    weights = bounded * limit
    gross = at_least(total(abs(weights)), config.gross_limit)
    return weights * (config.gross_limit / gross)[..., None]
