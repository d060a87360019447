"""Fills, drift and financing of a portfolio: the one set of equations behind market and backtest.

Everything is written with the operators that NumPy arrays and torch tensors share, over any leading axes
and a last axis of N assets, so that a single account, a batch on a GPU and a whole backtest run the same
lines.

Values are relative: a fill starts from pre-trade weights w′ (fractions of the account's value V′ just
before it), turns them into target weights a of the value V = μV′ left after costs, and everything until the
next fill is counted in units of V. So what happens between two fills depends on a alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from data.errors import DataError
from trading_app.costs import CostModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# numpy.ndarray or torch.Tensor; both in one call must be of one kind.
Array = Any

TOLERANCE = 1e-13
_FIXED_POINT_STEPS = 6
_NEWTON_STEPS = 60
_SMALLEST_GROWTH = 1e-12


@dataclass(frozen=True)
class Rates:
    """Cost rates of one session as plain numbers, ready for the inner loop.

    Attributes
    ----------
    trade
        Commission + half-spread, a fraction of the value traded.
    borrow
        A fraction of the value sold short.
    lending
        Earned by positive cash.
    financing
        Paid by negative cash.
    """

    trade: float
    borrow: float
    lending: float
    financing: float

    @classmethod
    def of(cls, costs: CostModel) -> Rates:
        """Read them off a cost model."""
        return cls(costs.rate, costs.borrow_rate, costs.lending_rate, costs.financing_rate)


class Session(NamedTuple):
    """What `advance` answers; V is the account's value right after the fill.

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
    """Cost of weight changes, a fraction of the account: Σ_i rate |x_i| + impact_i |x_i|^{3/2} [...].

    Parameters
    ----------
    change
        Weight changes [..., N].
    rate
        Commission + half-spread.
    impact
        Impact coefficient × √(capital / value traded in the market), 0 where unknown [..., N].
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
    gross: float | None = None,
    tolerance: float = TOLERANCE,
) -> Array:
    """Solve μ = 1 − Σ_i c_i |a_i μ − w′_i| for the share μ of the account that a fill leaves.

    The right side is a contraction with factor q = Σ c_i |a_i|, so its distance from the solution is known
    after each step; at the usual costs two or three steps suffice. Otherwise, and with impact, Newton's
    method goes on from the right of the root: μ − 1 + Σ c_i |a_i μ − w′_i| is convex in μ, so that it
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
        An upper bound of Σ |a_i|, where the caller knows one; computed otherwise.
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
    if gross is None:
        gross = float(total(abs(target)).max())
    factor = rate * gross
    if not factor < 1.0:
        raise DataError(
            f"costs of {rate:.4g} a unit traded on targets of gross {gross:.4g} leave no solution: "
            "cost rate × gross weight must stay below 1"
        )
    kept = 1.0 - trading_cost(target - held, rate, impact)
    if impact is not None:
        return _newton(kept * 0.0 + 1.0, target, held, rate, impact, tolerance)
    # |μ₁ − μ*| ≤ q/(1−q) · |μ₁ − μ₀|, and every further step multiplies that by q: the first steps need no
    # look at the data, since |μ₁ − μ₀| is the cost of the whole trade, at most rate × (gross + |w′|).
    for _ in range(_FIXED_POINT_STEPS):
        before = kept
        kept = 1.0 - trading_cost(target * kept[..., None] - held, rate)
        if float(abs(kept - before).max()) * factor <= tolerance * (1.0 - factor):
            return kept
    return _newton(kept * 0.0 + 1.0, target, held, rate, None, tolerance)


def _newton(
    kept: Array, target: Array, held: Array, rate: float, impact: Array | None, tolerance: float
) -> Array:
    # An account that liquidation alone would ruin has no root above 0; it is marked by 0 rather than
    # iterated.
    ruined = trading_cost(held, rate, impact) >= 1.0
    for _ in range(_NEWTON_STEPS):
        change = target * kept[..., None] - held
        size = abs(change)
        marginal = rate if impact is None else rate + 1.5 * impact * size**0.5
        signed = target * (change > 0) - target * (change < 0)
        slope = 1.0 + total(signed * marginal)
        # The slope is positive right of a root; rows without one are set aside by `ruined`.
        slope = at_least(slope, 1e-3)
        excess = (kept - 1.0 + trading_cost(change, rate, impact)) * (ruined == 0)
        kept = kept - excess / slope
        if float(abs(excess / slope).max()) <= tolerance:
            return kept * (ruined == 0)
    raise DataError(
        "the cost of a fill has no stable solution: lower the costs, the impact or the gross weight"
    )


def financing(cash: Array, values: Array, rates: Rates, net: Array | None = None) -> tuple[Array, Array]:
    """Interest on cash and borrow fee on shorts for one night.

    Parameters
    ----------
    cash
        Cash at the close [...], any unit.
    values
        Values of the positions at the close [..., N], same unit.
    rates
        The rates.
    net
        Their sum [...], where the caller has it already.

    Returns
    -------
    tuple
        Interest (negative where cash is) and borrow fee (not negative), each [...].
    """
    interest = at_most(cash, 0.0) * (rates.financing - rates.lending)
    if rates.lending:
        interest = interest + cash * rates.lending
    short = (total(abs(values)) - (total(values) if net is None else net)) * (0.5 * rates.borrow)
    return interest, short


def hold(
    target: Array, rates: Rates, intraday: Array | None, overnight: Array
) -> tuple[Array, Array, Array, Array]:
    """Hold a filled target to the close, pay for the night, and hold on to the next fill.

    Parameters
    ----------
    target
        Weights right after the fill a [..., N]; the rest is cash.
    rates
        Cost rates.
    intraday
        Close / fill price of the session [..., N]; None where fills are at the close.
    overnight
        Next fill price / close [..., N].

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
    if rates.borrow or rates.lending or rates.financing:
        interest, borrow = financing(cash, values, rates, net)
        next_growth = next_growth + (interest - borrow)
    return close_growth, values, next_growth, next_values


def advance(
    target: Array,
    held: Array,
    rates: Rates,
    intraday: Array | None,
    overnight: Array,
    impact: Array | None = None,
    *,
    gross: float | None = None,
    tolerance: float = TOLERANCE,
) -> Session:
    """Fill a target, hold it to the close, pay for the night, and hold on to the next fill.

    Parameters
    ----------
    target
        Target weights a [..., N].
    held
        Weights just before the fill w′ [..., N].
    rates
        Cost rates.
    intraday, overnight
        As in `hold`.
    impact, gross, tolerance
        As in `solve_fill`.
    """
    kept = solve_fill(target, held, rates.trade, impact, gross=gross, tolerance=tolerance)
    close, values, following, next_values = hold(target, rates, intraday, overnight)
    weights = values if intraday is None else values / positive(close)[..., None]
    return Session(kept, close, weights, following, next_values / positive(following)[..., None])


def total(values: Array) -> Array:
    """Sum over the last axis; for NumPy matrices by a matrix product, which is several times faster."""
    if not isinstance(values, np.ndarray):
        return values.sum(-1)
    if values.ndim == 1:
        return np.add.reduce(values)
    return values @ np.ones(values.shape[-1], values.dtype)


def at_least(values: Array, bound: float) -> Array:
    """Larger of values and bound."""
    return (
        np.maximum(values, bound) if isinstance(values, np.ndarray | np.generic) else values.clip(bound, None)
    )


def at_most(values: Array, bound: float) -> Array:
    """Smaller of values and bound."""
    return (
        np.minimum(values, bound) if isinstance(values, np.ndarray | np.generic) else values.clip(None, bound)
    )


def positive(growth: Array) -> Array:
    """Keep a growth factor away from 0, so that a ruined account's weights, never used, stay finite."""
    return at_least(growth, _SMALLEST_GROWTH)


def impact_coefficients(dollar_volume: Floats, costs: CostModel) -> Floats:
    """Give impact coefficient × √(capital / dollar volume), 0 where volume is unknown or nil [T, N]."""
    known = np.isfinite(dollar_volume) & (dollar_volume > 0)
    safe = np.where(known, dollar_volume, 1.0)
    return np.where(known, costs.impact_coefficient * math.sqrt(costs.capital) / np.sqrt(safe), 0.0)
