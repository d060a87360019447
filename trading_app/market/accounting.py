"""Equations of fills, drift and financing, shared by the market and the backtest.

They use only operators that NumPy arrays and torch tensors share, over any leading axes and a last axis of N assets,
so that a single account, a batch on a GPU and a whole backtest run the same lines.

Values are relative: a fill starts from pre-trade weights w′ (fractions of the account's value V′ just
before it), turns them into target weights a of the value V = μV′ left after costs, and everything until the
next fill is counted in units of V. So what happens between two fills depends on a alone.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.errors import DataError
from trading_app.market.costs import CostModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# numpy.ndarray or torch.Tensor; both in one call must be of one kind.
Array = Any

TOLERANCE = 1e-13
# Below this contraction factor every step gains a digit or more.
_SLOW_FACTOR = 0.1
_FIXED_POINT_STEPS = 40
_NEWTON_STEPS = 60
_SMALLEST_GROWTH = 1e-12
# A tuple, since building a union of types on each call costs more than the arithmetic of a small batch.
_NUMPY = (np.ndarray, np.generic)


class Session(NamedTuple):
    """Result of `advance`; V is the account's value right after the fill.

    Attributes
    ----------
    kept
        μ [...]: V over the value just before the fill.
    close_growth
        Value at the close over V [...].
    close_weights
        Weights at the close [..., N].
    next_growth
        Value just before the next fill over V [...].
    next_held
        Weights just before the next fill [..., N].
    """

    kept: Array
    close_growth: Array
    close_weights: Array
    next_growth: Array
    next_held: Array


def trading_cost(change: Array, rate: float, impact: Array | None = None) -> Array:
    """Cost of weight changes [..., N], a fraction of the account: Σ_i rate |x_i| + impact_i |x_i|^{3/2} [...].

    `rate` is commission + half-spread; `impact` is coefficient × √(capital / value traded in the market), 0 where
    unknown [..., N].
    """
    size = abs(change)
    if impact is None:
        return total(size) * rate
    return total(size * (rate + impact * size**0.5))


def solve_fill(
    target: Array,
    held: Array,
    rate: float,
    impact: Array | None = None,
    *,
    gross: Array | float | None = None,
    tolerance: float = TOLERANCE,
) -> Array:
    """Solve μ = 1 − Σ_i c_i |a_i μ − w′_i| for the share μ of the account that a fill leaves.

    The right side is a contraction with factor q = Σ c_i |a_i|, so its distance from the solution is known
    after each step; at the usual costs two or three steps suffice. For a large q, and with impact, Newton's
    method starts from the right of the root instead: μ − 1 + Σ c_i |a_i μ − w′_i| is convex in μ, so that it
    descends to the root.

    Parameters
    ----------
    target
        Target weights a [..., N].
    held
        Pre-trade weights w′ [..., N].
    rate
        Commission + half-spread.
    impact
        As in `trading_cost`.
    gross
        Σ |a_i| [...], or an upper bound of it; computed by default.
    tolerance
        Largest error of μ.

    Returns
    -------
    Array
        μ [...]; not positive where the trade costs more than the account has.

    Raises
    ------
    DataError
        If Σ c_i |a_i| reaches 1, where no unique solution is guaranteed.
    """
    if rate == 0.0 and impact is None:
        return total(held) * 0.0 + 1.0
    # Each row stops by itself, so that its result does not depend on other rows: later days and other accounts leave
    # no trace in it.
    factor = rate * (total(abs(target)) if gross is None else gross)
    largest = factor if isinstance(factor, float) else factor.max().item()
    if not largest < 1.0:
        raise DataError(
            f"costs of {rate:.4g} a unit traded on targets of gross {largest / rate:.4g} leave no solution: "
            "cost rate × gross weight must stay below 1"
        )
    if impact is None and largest < _SLOW_FACTOR:
        return _fixed_point(target, held, rate, factor, tolerance)
    return _newton(target, held, rate, impact, tolerance)


def _fixed_point(target: Array, held: Array, rate: float, factor: Array, tolerance: float) -> Array:
    kept = 1.0 - total(abs(target - held)) * rate
    if target.ndim == 1 and isinstance(target, np.ndarray):
        return _fixed_point_of_one(target, held, rate, float(factor), tolerance, float(kept))
    slack = factor / (1.0 - factor)
    moving = None
    for _ in range(_FIXED_POINT_STEPS):
        new = 1.0 - total(abs(target * kept[..., None] - held)) * rate
        # |μ₁ − μ*| ≤ q/(1−q) · |μ₁ − μ₀| after a step from μ₀ to μ₁.
        unsure = abs(new - kept) * slack > tolerance
        kept = new if moving is None else new * moving + kept * (moving == 0)
        moving = unsure if moving is None else moving & unsure
        if not moving.any():
            break
    return kept


def _fixed_point_of_one(
    target: Floats, held: Floats, rate: float, factor: float, tolerance: float, kept: float
) -> np.float64:
    """Fixed point of a single account, for which Python's own floats are faster than arrays."""
    slack = factor / (1.0 - factor)
    for _ in range(_FIXED_POINT_STEPS):
        change = target * kept
        change -= held
        before, kept = kept, 1.0 - float(np.add.reduce(np.abs(change, out=change))) * rate
        if abs(kept - before) * slack <= tolerance:
            break
    return np.float64(kept)


def _newton(target: Array, held: Array, rate: float, impact: Array | None, tolerance: float) -> Array:
    # An account that liquidation alone would ruin has no root above 0; it is set to 0 rather than iterated.
    ruined = trading_cost(held, rate, impact) >= 1.0
    kept = total(held) * 0.0 + 1.0
    for _ in range(_NEWTON_STEPS):
        change = target * kept[..., None] - held
        marginal = rate if impact is None else rate + 1.5 * impact * abs(change) ** 0.5
        signed = target * (change > 0) - target * (change < 0)
        # The slope is positive right of a root; rows without one are set aside by `ruined`.
        slope = at_least(1.0 + total(signed * marginal), 1e-3)
        move = (kept - 1.0 + trading_cost(change, rate, impact)) / slope
        move = move * ((abs(move) > tolerance) & (ruined == 0))
        kept = kept - move
        if not move.any():
            return kept * (ruined == 0)
    raise DataError(
        "the cost of a fill has no stable solution: lower the costs, the impact or the gross weight"
    )


def financing(
    cash: Array, values: Array, costs: CostModel, lending: Array | None = None
) -> tuple[Array, Array]:
    """Interest on cash and borrow fee on shorts for one night.

    Cash [...] and values of the positions [..., N] are those at the close, in any unit; `lending` is the interest on
    positive cash of that night [...] where rates are dated. Returns the interest (negative where cash is) and the
    borrow fee (not negative), each [...].
    """
    interest = at_most(cash, 0.0) * (costs.financing_rate - costs.lending_rate)
    if lending is not None or costs.lending_rate:
        interest = interest + cash * (costs.lending_rate if lending is None else lending)
    return interest, (total(abs(values)) - total(values)) * (0.5 * costs.borrow_rate)


def hold(
    target: Array, costs: CostModel, intraday: Array | None, overnight: Array, lending: Array | None = None
) -> tuple[Array, Array, Array, Array]:
    """Hold a filled target to the close, pay for the night, and hold on to the next fill.

    Parameters
    ----------
    target
        Weights right after the fill a [..., N]; the rest is cash.
    costs
        The cost model.
    intraday
        Close / fill price of the session [..., N]; None where fills are at the close.
    overnight
        Next fill price / close [..., N].
    lending
        Interest on positive cash of the night [...], where rates are dated.

    Returns
    -------
    tuple
        Value at the close [...], values of the positions there [..., N], value just before the next fill
        [...] and of the positions there [..., N]; all in units of the account's value right after the fill.
    """
    values, net = target, total(target)
    cash = 1.0 - net
    if intraday is not None:
        values = target * intraday
        net = total(values)
    close_growth = net + cash
    next_values = values * overnight
    next_growth = total(next_values) + cash
    if costs.borrow_rate or costs.lending_rate or costs.financing_rate or lending is not None:
        interest, borrow = financing(cash, values, costs, lending)
        next_growth = next_growth + (interest - borrow)
    return close_growth, values, next_growth, next_values


def advance(
    target: Array,
    held: Array,
    costs: CostModel,
    intraday: Array | None,
    overnight: Array,
    impact: Array | None = None,
    lending: Array | None = None,
    *,
    gross: float | None = None,
    tolerance: float = TOLERANCE,
) -> Session:
    """Fill a target, hold it to the close, pay for the night, and hold on to the next fill.

    `held` are the weights just before the fill w′ [..., N]; the other arguments are those of `solve_fill` and `hold`.
    """
    kept = solve_fill(target, held, costs.rate, impact, gross=gross, tolerance=tolerance)
    close, values, following, next_values = hold(target, costs, intraday, overnight, lending)
    weights = values if intraday is None else values / positive(close)[..., None]
    return Session(kept, close, weights, following, next_values / positive(following)[..., None])


def total(values: Array) -> Array:
    """Return the sum over the last axis; for row-major NumPy arrays through a faster matrix product."""
    if not isinstance(values, np.ndarray):
        return values.sum(-1)
    if values.ndim == 1 or values.strides[-1] > values.strides[0]:
        return np.add.reduce(values, axis=-1)
    return values @ _ones(values.shape[-1], values.dtype)


@lru_cache(maxsize=64)
def _ones(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ones(size, dtype)


def largest(values: Array) -> Array:
    """Return the maximum over the last axis."""
    return values.max(-1) if isinstance(values, np.ndarray) else values.amax(-1)


def at_least(values: Array, bound: float) -> Array:
    """Return the larger of values and bound."""
    if isinstance(values, np.floating):
        return type(values)(bound) if values < bound else values
    return np.maximum(values, bound) if isinstance(values, _NUMPY) else values.clip(bound, None)


def at_most(values: Array, bound: Array | float) -> Array:
    """Return the smaller of values and bound."""
    if isinstance(values, np.floating):
        return type(values)(bound) if values > bound else values
    return np.minimum(values, bound) if isinstance(values, _NUMPY) else values.clip(None, bound)


def positive(growth: Array) -> Array:
    """Return growth factors of at least 1e-12, so that weights of ruined accounts, never used, stay finite."""
    return at_least(growth, _SMALLEST_GROWTH)


def impact_coefficients(dollar_volume: Floats, costs: CostModel) -> Floats:
    """Return impact coefficient × √(capital / dollar volume), 0 where the volume is unknown or zero [T, N]."""
    known = np.isfinite(dollar_volume) & (dollar_volume > 0)
    safe = np.where(known, dollar_volume, 1.0)
    return np.where(known, costs.impact_coefficient * math.sqrt(costs.capital) / np.sqrt(safe), 0.0)
