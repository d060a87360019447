"""What an action means: from [−1, 1]^N to target weights, for NumPy arrays and torch tensors alike."""

from __future__ import annotations

import numpy as np

from trading_app.accounting import Array, total
from trading_app.market_config import MarketConfig


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
    bounded = action.clip(-1.0, 1.0)
    if config.actions == "long-only":
        exponent = bounded / config.temperature
        odds = np.exp(exponent) if isinstance(exponent, np.ndarray) else exponent.exp()
        weights = odds / (total(odds) + 1.0)[..., None]
        return weights if limit >= 1.0 else weights.clip(0.0, limit)
    weights = bounded * limit
    gross = total(abs(weights)).clip(config.gross_limit, None)
    return weights * (config.gross_limit / gross)[..., None]
