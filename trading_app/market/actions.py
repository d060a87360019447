"""Actions: the maps from [−1, 1]^N to target weights, for NumPy arrays and torch tensors."""

from __future__ import annotations

import numpy as np

from trading_app.market.accounting import Array, at_least, at_most, largest, positive, total
from trading_app.market.config import MarketConfig

__all__ = ["active_weights", "paced_action", "target_weights"]


def target_weights(
    action: Array, config: MarketConfig, available: Array | None = None, base: Array | None = None
) -> Array:
    """Map actions in [−1, 1] (clipped to it) [..., N] to target weights [..., N]; the rest is cash.

    All maps commute with permutations of the assets (and of what is available), and the long–short one with the
    mirror. `available` is 1 where an asset is available to the decision and 0 elsewhere, where its weight is 0
    [..., N]; None where all are. `base` are the weights of a tilt's base [..., N].
    """
    bounded = at_least(at_most(action, 1.0), -1.0)
    if config.tilts:
        assert base is not None
        return _tilted(base, active_weights(bounded, config, available), config)
    limit = config.weight_limit(action.shape[-1])
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


def active_weights(action: Array, config: MarketConfig, available: Array | None = None) -> Array:
    """Map actions in [−1, 1] [..., N] to the active weights of a tilt [..., N], its target less its base.

    An action of 0 gives 0. The map is odd, and commutes with permutations of the assets. |weight| of each is at most
    `MarketConfig.max_active`, their sum at most `active_gross`; without `active_net` they sum to 0.
    """
    limit = config.active_limit(action.shape[-1])
    active = action * limit if available is None else action * limit * available
    if not config.active_net:
        if available is None:
            active = active - (total(active) / active.shape[-1])[..., None]
        else:
            active = active - available * (total(active) / at_least(total(available), 1.0))[..., None]
        active = active * (limit / at_least(largest(abs(active)), limit))[..., None]
    gross = at_least(total(abs(active)), config.active_gross)
    return active * (config.active_gross / gross)[..., None]


def paced_action(
    action: Array,
    held: Array,
    base: Array,
    config: MarketConfig,
    *,
    size: Array | float,
    speed: Array | float,
) -> Array:
    """Return the action of a tilt [..., N] that trades a share of the way to other active weights.

    The way begins at the active weights held and ends at `size` times those of the action; `speed` is the share. The
    base is held in full at once.

    Parameters
    ----------
    action
        Actions in [−1, 1] [..., N].
    held, base
        Weights held at the close, and those of the base [..., N].
    config
        Settings of the market.
    size, speed
        Numbers, or arrays that broadcast against the actions.
    """
    compared = base
    if not config.active_net:
        # An account that is not invested yet holds no active weights.
        compared = base * (total(held) / positive(total(base)))[..., None]
    start = at_least(at_most((held - compared) / config.active_limit(action.shape[-1]), 1.0), -1.0)
    end = at_least(at_most(action * size, 1.0), -1.0)
    return start + (end - start) * speed


def _tilted(base: Array, active: Array, config: MarketConfig) -> Array:
    """Return base + active [..., N], the active weights scaled down where the account may not hold them.

    Without short positions, sales end at a weight of 0, and purchases are scaled to what sales (and, with a free net
    exposure, cash) pay for. With them, all active weights are scaled down to the gross limit. On a day without base the
    target is cash.
    """
    invested = (total(abs(base)) > 0)[..., None]
    if config.short_positions:
        gross = total(abs(base))
        growth = positive(total(abs(base + active)) - gross)
        room = at_least(config.gross_limit - gross, 0.0)
        return base + active * at_most(room / growth, 1.0)[..., None] * invested
    sales = at_most(at_most(active, 0.0) * -1.0, base)
    purchases = at_least(active, 0.0)
    paid = total(sales)
    if config.active_net:
        paid = paid + at_least(config.gross_limit - total(base), 0.0)
    scale = at_most(paid / positive(total(purchases)), 1.0)
    return base + (purchases * scale[..., None] - sales) * invested
