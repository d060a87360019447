"""Attacks on what decisions depend on: names and order of the assets, the sign of returns, and units of prices."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from data.features import compute_features, market_features
from data.prices import Prices
from trading_app.attack.findings import Attack
from trading_app.attack.prices import mirrored_prices, permuted_prices, rescaled_prices
from trading_app.backtesting.policies import AgentPolicy
from trading_app.market.actions import active_weights, target_weights
from trading_app.market.config import MarketConfig
from trading_app.market.env import Market

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

__all__ = ["agent_attacks", "feature_attacks"]

#: Rounding of allocations as shares of the account, and of features, which are up to 10, in single precision.
TOLERANCE, FEATURE_TOLERANCE = 1e-5, 1e-4
DAYS = 16


def agent_attacks(
    policy: AgentPolicy, prices: Prices, period: tuple[pd.Timestamp, pd.Timestamp]
) -> list[Attack]:
    """Attack the decisions of an agent's seeds on days of a period, each for an account with random holdings.

    Decisions are target weights before schedule, no-trade band and limits, which commute with all of these changes.
    """
    generator = np.random.default_rng(0)
    first, last = (int(prices.dates.searchsorted(day)) for day in period)
    days = np.unique(np.linspace(first, last, DAYS).astype(int))
    shares = generator.dirichlet(np.ones(len(prices.symbols) + 1), len(days))[:, :-1]
    signs = generator.choice([-1.0, 1.0], shares.shape) if policy.config.actions == "long-short" else 1.0
    held = torch.from_numpy(shares * signs)
    market = policy.market(prices, first)
    targets = _targets(policy, market, days, held)
    size = _size(targets, market, days)
    return [
        _permuted(policy, prices, days, held, targets, size, generator),
        _mirrored(policy, market, prices, days, held),
        _rescaled(policy, prices, days, held, targets, generator),
    ]


def _targets(policy: AgentPolicy, market: Market, days: Floats, held: Tensor) -> Tensor:
    """Target weights of each seed for an account on each day, [S, D, N]."""
    seeds = len(policy.seeds)
    each = [
        policy.targets(market, int(day), own.expand(seeds, 1, -1)).double()
        for day, own in zip(days, held, strict=True)
    ]
    return torch.cat(each, dim=1)


def _size(targets: Tensor, market: Market, days: Floats) -> float:
    """Mean size of active weights, or without a base of weights."""
    base = 0.0 if market.base is None else torch.from_numpy(market.base[days])
    return float((targets - base).abs().mean())


def _permuted(
    policy: AgentPolicy,
    prices: Prices,
    days: Floats,
    held: Tensor,
    targets: Tensor,
    size: float,
    generator: np.random.Generator,
) -> Attack:
    symmetry, settings = policy.agent.symmetry, policy.agent.config
    order = symmetry.permutation(torch.from_numpy(generator.random(len(prices.symbols)))).numpy()
    other = copy.copy(policy)
    weights = policy.config.base_weights
    if weights is not None:
        names = dict(zip(prices.symbols, (prices.symbols[place] for place in order), strict=True))
        moved = {symbol: weights[names[symbol]] for symbol in prices.symbols if names[symbol] in weights}
        other.config = replace(policy.config, base_weights=moved)
    market = other.market(permuted_prices(prices, [int(place) for place in order]), int(days[0]))
    found = _targets(other, market, days, held[:, order])
    within = " of a sector" if symmetry.sectors is not None else ""
    tied = policy.agent.kind.relaxes and symmetry.sectors is not None and settings.relax_over == "sectors"
    return _difference(
        "permuted",
        f"allocations move with the prices of the assets{within}",
        found - targets[..., order],
        size,
        exact=policy.agent.kind.exact or tied,
        kind=policy.agent.kind.name,
    )


def _mirrored(policy: AgentPolicy, market: Market, prices: Prices, days: Floats, held: Tensor) -> Attack:
    expected = "positions, of a tilt active weights, change sign with the returns"
    if policy.config.actions == "long-only":
        return Attack("mirrored", expected, "long-only portfolios have no mirror image", None)
    other = policy.market(mirrored_prices(prices), int(days[0]))
    # Where a base is held, its active weights change sign.
    opposite = -held
    if market.base is not None and other.base is not None:
        opposite = torch.from_numpy(market.base[days] + other.base[days]) - held
    here, there = (_asked(policy, place, days, own) for place, own in ((market, held), (other, opposite)))
    exact = policy.agent.kind.exact and policy.config.uses_mirror
    return _difference(
        "mirrored",
        expected,
        here + there,
        float(here.abs().mean()),
        exact=exact,
        kind=policy.agent.kind.name if policy.config.uses_mirror else "mirror = false",
    )


def _asked(policy: AgentPolicy, market: Market, days: Floats, held: Tensor) -> Tensor:
    """Weights that each seed asks for, of a tilt active ones before the account bounds them, [S, D, N]."""
    config, found = policy.config, []
    for day, own in zip(days, held, strict=True):
        action = policy.actions(market, int(day), own.expand(len(policy.seeds), 1, -1)).double()
        available = market.day_rows(int(day), action.dtype).available
        weigh = active_weights if config.tilts else target_weights
        found.append(weigh(action, config, available))
    return torch.cat(found, dim=1)


def _rescaled(
    policy: AgentPolicy,
    prices: Prices,
    days: Floats,
    held: Tensor,
    targets: Tensor,
    generator: np.random.Generator,
) -> Attack:
    market = policy.market(rescaled_prices(prices, _factors(prices, generator)), int(days[0]))
    return _difference(
        "rescaled",
        "allocations do not depend on the unit of each asset's price",
        _targets(policy, market, days, held) - targets,
        0.0,
        exact=True,
        kind=policy.agent.kind.name,
    )


def _factors(prices: Prices, generator: np.random.Generator) -> Floats:
    return np.exp(generator.uniform(np.log(0.01), np.log(100.0), len(prices.symbols)))


def _difference(
    name: str, expected: str, difference: Tensor, size: float, *, exact: bool, kind: str
) -> Attack:
    """Return the attack for differences between what came and what an exact agent does."""
    largest, mean = float(difference.abs().max()), float(difference.abs().mean())
    figures = {"largest": largest, "mean": mean}
    if exact:
        found = f"largest difference {largest:.1e} of the account"
        return Attack(
            name,
            f"{expected} (to {TOLERANCE:g})",
            found,
            largest <= TOLERANCE,
            {**figures, "tolerance": TOLERANCE},
        )
    share = mean / size if size > 0 else 0.0
    found = f"asymmetry ({kind}): largest difference {largest:.2%} of the account, mean {share:.0%} of the weights"
    return Attack(
        name, f"{expected}, as far as the agent is symmetric", found, None, {**figures, "share": share}
    )


def feature_attacks(prices: Prices, config: MarketConfig) -> list[Attack]:
    """Attack the features of prices and signals: they move with the assets, change sign by parity, have no unit."""
    generator = np.random.default_rng(0)
    order = generator.permutation(len(prices.symbols))
    table = compute_features(prices, config.feature_names)
    market = market_features(prices)
    cases = [
        ("permuted", "features move with the prices of the assets", permuted_prices(prices, order.tolist())),
        ("mirrored", "odd features change sign with the returns, even ones stay", mirrored_prices(prices)),
        (
            "rescaled",
            "features do not depend on the unit of each asset's price",
            rescaled_prices(prices, _factors(prices, generator)),
        ),
    ]
    attacks = []
    for name, expected, other in cases:
        own, whole = table.values, market.values
        if name == "permuted":
            own = own[:, order]
        if name == "mirrored":
            own, whole = own * table.parity, whole * market.parity
        gaps = np.abs(compute_features(other, config.feature_names).values - own).max(axis=(0, 1))
        gap = max(float(gaps.max()), float(np.abs(market_features(other).values - whole).max()))
        where = table.names[int(gaps.argmax())] if gaps.max() >= gap else "a feature of the market"
        attacks.append(
            Attack(
                name,
                f"{expected} (to {FEATURE_TOLERANCE:g})",
                f"largest difference {gap:.1e}, in {where}",
                gap <= FEATURE_TOLERANCE,
                {"largest": gap, "tolerance": FEATURE_TOLERANCE},
            )
        )
    return attacks
