"""Fills of a session in which some assets do not trade.

An asset that does not trade keeps its units. The assets that do trade go to their targets; together they are scaled
down where the account would otherwise pass its gross limit, since what does not trade cannot make room for them.

A fill is returned as *executed* weights of the whole account, so that the rest of the accounting is that of an
ordinary fill: an asset that keeps its units has a trade of zero.
"""

from __future__ import annotations

from trading_app.market.accounting import Array, at_least, at_most, positive, total, trading_cost

__all__ = ["executed_weights"]

_STEPS = 100
_BISECTIONS = 60
# The fixed point gains a digit or more with each step below this contraction factor.
_FAST_FACTOR = 0.1


def executed_weights(
    target: Array,
    held: Array,
    trades: Array,
    rate: float,
    gross_limit: Array | float,
    impact: Array | None = None,
    *,
    tolerance: float = 1e-13,
) -> Array:
    """Return the weights right after a fill in which only some assets trade [..., N]; 0 for a ruined account.

    With pre-trade weights w′, the share μ of the account that costs leave, and F the assets that trade, an asset in F
    gets s·a_i (a fraction of the account after costs) and every other one keeps w′_i/μ. The common factor s ≤ 1 is the
    largest for which Σ_F s|a_i| + Σ_{not F} |w′_i|/μ ≤ gross limit (0 where even that is too much).
    `trading_app.market.accounting.solve_fill` with these targets returns μ.

    Parameters
    ----------
    target, held
        Target weights a and pre-trade weights w′ [..., N].
    trades
        1 where an asset trades and has a target, 0 elsewhere [..., N].
    gross_limit
        Largest Σ |weight| after the fill, a number or [...].
    rate, impact, tolerance
        As in `trading_app.market.accounting.solve_fill`.
    """
    wanted = target * trades
    fixed = held * (trades == 0)
    wanted_gross, fixed_gross = total(abs(wanted)), total(abs(fixed))

    def positions(kept: Array) -> Array:
        """Positions after the fill, in units of the account before it [..., N]."""
        room = at_least(kept * gross_limit - fixed_gross, 0.0)
        scaled = at_most(room / positive(wanted_gross * kept), 1.0)
        return wanted * (kept * scaled)[..., None] + fixed

    def share_left(kept: Array) -> Array:
        return 1.0 - trading_cost((positions(kept) - held) * trades, rate, impact)

    kept = total(held) * 0.0 + 1.0
    largest = (at_least(wanted_gross, 0.0) + gross_limit).max().item() * rate
    if impact is None and largest < _FAST_FACTOR:
        # Each row stops by itself, so that it does not depend on other rows.
        moving = kept
        for _ in range(_STEPS):
            new = share_left(kept)
            unsure = abs(new - kept) > tolerance
            kept = new * moving + kept * (moving == 0)
            moving = moving * unsure
            if not bool(moving.any()):
                break
    else:
        low, high = kept * 0.0, kept
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            above = share_left(middle) < middle
            high = middle * above + high * (above == 0)
            low = middle * (above == 0) + low * above
        kept = (low + high) / 2
    weights = positions(kept) / positive(kept)[..., None]
    # An account that cannot pay for trading its positions is ruined: `solve_fill` has no solution for its weights. With
    # targets of 0 it leaves nothing.
    return weights * (rate * total(abs(weights)) < 1.0)[..., None]
