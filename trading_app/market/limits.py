"""Limits of a portfolio's weights and trades, for NumPy arrays and torch tensors.

The weights that a decision wants are projected onto the nearest ones within the limits of weights (each asset's bounds,
groups, net and gross exposure); then the trade is scaled towards what is held until its turnover is within its limit.
Both commute with permutations of assets that have equal limits. Limits hold for the weights decided at a close, against
the weights held there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from data.errors import DataError
from trading_app.market.accounting import Array, at_least, at_most, total

__all__ = ["LimitConflict", "LimitRows", "Limits", "check_limits", "excesses", "limited_weights"]

TOLERANCE = 1e-9
# In single and in double precision.
_BISECTIONS = (32, 60)
_FAR = 1e3


class LimitConflict(DataError):
    """Limits that no weights can meet; the message names two of them."""


@dataclass(frozen=True)
class Limits:
    """Limits of a portfolio; None or empty for no limit.

    Attributes
    ----------
    max_weight, min_weight
        Bounds of each asset's weight.
    groups
        Group of each symbol, such as its sector; `equitrade train` also reads it from `group_file`.
    group_weight
        Largest |Σ weight| of each group.
    group_file
        CSV file with the columns symbol and group.
    net_min, net_max
        Bounds of the net exposure Σ weight.
    beta_min, beta_max
        Bounds of the portfolio's beta Σ weight × beta. The betas of a day are those of the last 252 sessions to
        ``market.benchmark``, where it is a symbol, or else to the equally weighted symbols; 1 with less than 63
        returns.
    gross
        Largest gross exposure Σ |weight|.
    turnover
        Largest turnover ½ Σ |target − held| of a session.
    participation
        Largest trade in an asset as a share of the value traded in it in a session, the mean of the last 21 sessions
        with a known volume; the account is worth ``costs.capital``.
    no_buy, no_sell
        Symbols that may not be bought, and that may not be sold.

    Raises
    ------
    DataError
        If a value is out of range, or a bound is above another one.
    """

    max_weight: float | None = None
    min_weight: float | None = None
    groups: Mapping[str, str] | None = None
    group_weight: float | None = None
    group_file: str | None = None
    net_min: float | None = None
    net_max: float | None = None
    beta_min: float | None = None
    beta_max: float | None = None
    gross: float | None = None
    turnover: float | None = None
    participation: float | None = None
    no_buy: tuple[str, ...] = ()
    no_sell: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("no_buy", "no_sell"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("max_weight", "group_weight", "gross", "turnover", "participation"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < np.inf:
                raise DataError(f"market.limits.{name} is {value!r}: it must be a number of at least 0")
        for low, high in (("min_weight", "max_weight"), ("net_min", "net_max"), ("beta_min", "beta_max")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise LimitConflict(f"market.limits: {low} ({least:g}) is above {high} ({most:g})")
        if self.group_weight is not None and not (self.groups or self.group_file):
            raise DataError("market.limits.group_weight: name the groups in market.limits.group_file")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the limits that are set, in the order in which they are met."""
        apart = ("groups", "group_file")
        return tuple(
            f.name for f in fields(self) if f.name not in apart and getattr(self, f.name) not in (None, ())
        )

    def without(self, name: str) -> Limits:
        """Return the limits without one."""
        change: dict[str, Any] = {name: () if name in ("no_buy", "no_sell") else None}
        return replace(self, **change)


class LimitRows(NamedTuple):
    """What limits depend on besides the weights, [..., N] each; None where it makes no difference.

    ``no_buy`` and ``no_sell``: 1 for these symbols. ``group``: number of each symbol's group, −1 for none.
    ``largest_trade``: largest |target − held|. ``beta``: betas. ``available``: 1 where an asset may be given weight.
    """

    no_buy: Array | None = None
    no_sell: Array | None = None
    group: Array | None = None
    largest_trade: Array | None = None
    beta: Array | None = None
    available: Array | None = None


def limited_weights(wanted: Array, held: Array, rows: LimitRows, limits: Limits) -> Array:
    """Return the weights within the limits that are nearest to the wanted ones [..., N].

    Where limits conflict, the result breaks one of them: see `check_limits`.
    """
    low, high = _bounds(held, rows, limits)
    target = _projected(wanted, low, high, rows, limits)
    if limits.turnover is None:
        return target
    start = held
    slack = _rounding(held)
    if any(bool((excess > slack).any()) for excess in _weight_excesses(held, held, rows, limits).values()):
        start = _projected(held, low, high, rows, limits)
    turnover = limits.turnover

    def traded(share: Array) -> Array:
        return _turnover(start + (target - start) * share[..., None] - held, rows)

    whole = total(held) * 0.0 + 1.0
    if bool((traded(whole) <= turnover).all()):
        return target
    share = _largest(lambda at: traded(at) <= turnover, whole * 0.0, whole)
    return start + (target - start) * share[..., None]


def excesses(weights: Array, held: Array, rows: LimitRows, limits: Limits) -> dict[str, Array]:
    """Return how far weights [..., N] are outside each limit, by name [...]; 0 within it."""
    found = _weight_excesses(weights, held, rows, limits)
    if limits.turnover is not None:
        found["turnover"] = at_least(_turnover(weights - held, rows) - limits.turnover, 0.0)
    return found


def check_limits(
    weights: Array, held: Array, wanted: Array, rows: LimitRows, limits: Limits, where: str
) -> None:
    """Check the weights of one account [N] that `limited_weights` returned for the wanted ones; NumPy alone.

    Raises
    ------
    LimitConflict
        If they break a limit; the message names it and the first other one without which it could be met.
    """
    broken = [name for name, excess in excesses(weights, held, rows, limits).items() if excess > TOLERANCE]
    if not broken:
        return
    first = broken[-1]
    for other in limits.names:
        rest = limits.without(other)
        if other != first:
            again = limited_weights(wanted, held, rows, rest)
            if all(excess <= TOLERANCE for excess in excesses(again, held, rows, rest).values()):
                raise LimitConflict(
                    f"{where}: market.limits.{first} and market.limits.{other} cannot both be met"
                )
    others = ", ".join(name for name in limits.names if name != first) or "what can be traded"
    raise LimitConflict(f"{where}: market.limits.{first} cannot be met together with {others}")


def _weight_excesses(weights: Array, held: Array, rows: LimitRows, limits: Limits) -> dict[str, Array]:
    """Return the excesses over all limits but that of turnover."""
    change, found = _tradable(weights - held, rows), {}
    if limits.max_weight is not None:
        found["max_weight"] = total(at_least(weights - limits.max_weight, 0.0))
    if limits.min_weight is not None:
        short = limits.min_weight - weights
        found["min_weight"] = total(
            at_least(short if rows.available is None else short * rows.available, 0.0)
        )
    if limits.no_buy and rows.no_buy is not None:
        found["no_buy"] = total(at_least(change, 0.0) * rows.no_buy)
    if limits.no_sell and rows.no_sell is not None:
        found["no_sell"] = total(at_least(change * -1.0, 0.0) * rows.no_sell)
    if limits.participation is not None and rows.largest_trade is not None:
        found["participation"] = total(at_least(abs(change) - rows.largest_trade, 0.0))
    if limits.group_weight is not None and rows.group is not None:
        sizes = abs(weights @ _members(rows.group))
        found["group_weight"] = total(at_least(sizes - limits.group_weight, 0.0))
    net = total(weights)
    if limits.net_min is not None:
        found["net_min"] = at_least(limits.net_min - net, 0.0)
    if limits.net_max is not None:
        found["net_max"] = at_least(net - limits.net_max, 0.0)
    if rows.beta is not None:
        beta = total(weights * rows.beta)
        if limits.beta_min is not None:
            found["beta_min"] = at_least(limits.beta_min - beta, 0.0)
        if limits.beta_max is not None:
            found["beta_max"] = at_least(beta - limits.beta_max, 0.0)
    if limits.gross is not None:
        found["gross"] = at_least(total(abs(weights)) - limits.gross, 0.0)
    return found


def _tradable(change: Array, rows: LimitRows) -> Array:
    """Return the changes of available assets [..., N]: a position in one that has ended is closed without a trade."""
    return change if rows.available is None else change * rows.available


def _turnover(change: Array, rows: LimitRows) -> Array:
    return 0.5 * total(abs(_tradable(change, rows)))


def _bounds(held: Array, rows: LimitRows, limits: Limits) -> tuple[Array, Array]:
    """Return each asset's bounds [..., N] from its own limits; where they cross, both are the upper one."""
    high = held * 0.0 + (_FAR if limits.max_weight is None else limits.max_weight)
    low = held * 0.0 + (-_FAR if limits.min_weight is None else limits.min_weight)
    if rows.available is not None:
        high, low = high * rows.available, low * rows.available
    if limits.no_buy and rows.no_buy is not None:
        high = at_most(high, held + (1.0 - rows.no_buy) * 2 * _FAR)
    if limits.no_sell and rows.no_sell is not None:
        low = at_least(low, held - (1.0 - rows.no_sell) * 2 * _FAR)
    if limits.participation is not None and rows.largest_trade is not None:
        high = at_most(high, held + rows.largest_trade)
        low = at_least(low, held - rows.largest_trade)
    return at_most(low, high), high


def _projected(wanted: Array, low: Array, high: Array, rows: LimitRows, limits: Limits) -> Array:
    """Return the nearest weights within bounds, groups, net and gross exposure [..., N].

    The point of minimal ½|w − x|² has the form clip(soft(x + κβ + ν + μ, θ), low, high): κ ≠ 0 where the beta binds,
    ν ≠ 0 where the net exposure does, μ ≠ 0 where that of the asset's group does, and θ > 0 where the gross exposure
    does. Each is found by bisection: the sum that it steers is monotone in it.
    """

    slack, members, most = _rounding(wanted), None, limits.group_weight or 0.0
    if limits.group_weight is not None and rows.group is not None:
        members = _members(rows.group)

    def clipped(x: Array, threshold: Array | None) -> Array:
        if threshold is not None:
            size = threshold[..., None]
            x = at_least(x - size, 0.0) + at_most(x + size, 0.0)
        return at_most(at_least(x, low), high)

    def grouped(x: Array, threshold: Array | None) -> Array:
        weights = clipped(x, threshold)
        if members is None:
            return weights
        size = weights @ members
        bound = at_most(at_least(size, -most), most)
        within = abs(size - bound) <= slack
        if bool(within.all()):
            return weights
        shift = _solve(lambda by: clipped(x + by @ members.T, threshold) @ members, bound) * (within == 0)
        return clipped(x + shift @ members.T, threshold)

    def balanced(x: Array, threshold: Array | None) -> Array:
        weights = grouped(x, threshold)
        net = total(weights)
        bound = net if limits.net_max is None else at_most(net, limits.net_max)
        bound = bound if limits.net_min is None else at_least(bound, limits.net_min)
        within = abs(net - bound) <= slack
        if bool(within.all()):
            return weights
        shift = _solve(lambda by: total(grouped(x + by[..., None], threshold)), bound)
        return _select(within[..., None], weights, grouped(x + shift[..., None], threshold))

    def hedged(threshold: Array | None) -> Array:
        weights = balanced(wanted, threshold)
        if rows.beta is None:
            return weights
        beta = total(weights * rows.beta)
        bound = beta if limits.beta_max is None else at_most(beta, limits.beta_max)
        bound = bound if limits.beta_min is None else at_least(bound, limits.beta_min)
        within = abs(beta - bound) <= slack
        if bool(within.all()):
            return weights

        def moved(by: Array) -> Array:
            return balanced(wanted + by[..., None] * rows.beta, threshold)

        return _select(
            within[..., None], weights, moved(_solve(lambda by: total(moved(by) * rows.beta), bound))
        )

    weights = hedged(None)
    if limits.gross is None:
        return weights
    gross = limits.gross
    within = total(abs(weights)) <= gross + slack
    if bool(within.all()):
        return weights
    none = total(weights) * 0.0
    threshold = -_largest(lambda at: total(abs(hedged(-at))) <= gross, none - 2 * _FAR, none)
    return _select(within[..., None], weights, hedged(threshold))


def _solve(rising: Callable[[Array], Array], value: Array) -> Array:
    """Return arguments [...] at which a non-decreasing function is at most a value [...], as near as bisection gets."""
    far = value * 0.0 + 2 * _FAR
    return _largest(lambda at: rising(at) <= value, -far, far)


def _largest(holds: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Return the largest arguments from low to high [...] at which a condition holds that fails from somewhere on."""
    for _ in range(_BISECTIONS[str(low.dtype).endswith("64")]):
        middle = (low + high) / 2
        good = holds(middle)
        low, high = _select(good, middle, low), _select(good, high, middle)
    return low


def _rounding(weights: Array) -> float:
    """Return a distance from a bound that is rounding."""
    return 1e-12 if str(weights.dtype).endswith("64") else 2e-6


def _members(group: Array) -> Array:
    """Return 1 where an asset is a member of a group [N, G]; groups are the same on every day."""
    numbers = group.reshape(-1, group.shape[-1])[0]
    count = int(numbers.max()) + 1
    kinds = np.arange(count) if isinstance(numbers, np.ndarray) else numbers.new_tensor(range(count))
    return (numbers[:, None] == kinds) * (numbers[:, None] * 0.0 + 1.0)


def _select(mask: Array, yes: Array, no: Array) -> Array:
    if isinstance(mask, np.ndarray | np.generic):
        return np.where(mask, yes, no)
    return yes.where(mask, no)
