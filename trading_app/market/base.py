"""Base portfolios: rules that turn closes of the past into weights, shared by baselines and by tilts around a base.

A rule gets the closes up to a decision [T, N], newest last, all NaN for symbols that are not available to it, and
returns weights [N], or None while history is too short.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import DataError
from data.prices import Prices
from trading_app.market.config import BASE_MINIMUM, MarketConfig
from trading_app.market.trading_status import DELIST_AFTER, trading_status

Floats = npt.NDArray[np.float64]
Rule = Callable[[Floats], Floats | None]

WINDOW = 252
#: A quarter of daily returns: too few for a volatility or a covariance below that.
MINIMUM = BASE_MINIMUM


def equal_weights(closes: Floats) -> Floats | None:
    """Return equal weights of the available symbols."""
    return normalised(np.isfinite(closes[-1]).astype(np.float64))


def inverse_volatility_weights(closes: Floats, minimum: int = MINIMUM) -> Floats | None:
    """Return weights proportional to one over the volatility of all but the first close; it needs `minimum` returns."""
    spread = deviation(returns_of(closes))
    usable = usable_symbols(closes, minimum) & (spread > 0)
    return normalised(np.where(usable, 1.0 / np.where(usable, spread, 1.0), 0.0))


def minimum_variance_weights(
    closes: Floats, minimum: int = MINIMUM, *, name: str = "the data"
) -> Floats | None:
    """Return long-only, fully invested weights of minimum variance, see `trading_app.backtesting.baselines`."""
    from skfolio.moments import LedoitWolf

    usable, sample = usable_returns(closes, minimum)
    if not usable.any():
        return None
    weights = np.zeros(closes.shape[1])
    try:
        weights[usable] = least_variance_weights(LedoitWolf().fit(sample).covariance_)
    except Exception as error:  # each solver has errors of its own
        reason = "every price is constant" if not sample.any() else " ".join(str(error).split())
        raise DataError(
            f"min-variance: {name} has no portfolio of minimum variance ({reason}); "
            "choose another baseline or leave out symbols without price changes"
        ) from None
    return weights


def base_weights(prices: Prices, config: MarketConfig, first: int, last: int) -> Floats:
    """Return the weights of a tilt's base at each close [T, N].

    They use closes up to and including their own. Rows outside first … last, and of days on which the history is too
    short, are 0.

    Raises
    ------
    DataError
        If a given weight is of no symbol of the prices.
    """
    closes, available = known_closes(prices, config.delist_after)
    rule, lookback = _rule(prices, config)
    weights = np.zeros(closes.shape)
    for t in range(max(first, 0), min(last, len(closes) - 1) + 1):
        found = rule(np.where(available[t], closes[max(t - lookback, 0) : t + 1], np.nan))
        if found is not None:
            weights[t] = found
    return weights


def _rule(prices: Prices, config: MarketConfig) -> tuple[Rule, int]:
    """Return the rule of a base and the sessions that it looks back."""
    if config.base == "equal-weight":
        return equal_weights, 0
    if config.base == "inverse-volatility":
        return inverse_volatility_weights, WINDOW
    if config.base == "min-variance":
        return partial(minimum_variance_weights, name=prices.name), WINDOW
    named = dict(config.base_weights or {})
    unknown = [symbol for symbol in named if symbol not in prices.symbols]
    if unknown:
        raise DataError(f"market.base_weights: {unknown[0]} is not a symbol of {prices.name}")
    given = np.array([named.get(symbol, 0.0) for symbol in prices.symbols])
    return (lambda closes: np.where(np.isfinite(closes[-1]), given, 0.0)), 0


def known_closes(prices: Prices, delist_after: int = DELIST_AFTER) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Closes with the last trade's price carried forward, NaN before the first, and what is available [T, N] each."""
    raw = prices.adjusted("close").to_numpy(dtype=np.float64)
    volume = prices.field("volume").to_numpy(dtype=np.float64) if "volume" in prices.fields else None
    status = trading_status(raw, volume, delist_after, prices.members)
    closes = pd.DataFrame(np.where(status.traded, raw, np.nan)).ffill().to_numpy()
    return closes, status.available


def usable_symbols(closes: Floats, minimum: int) -> npt.NDArray[np.bool_]:
    """Return which symbols have a close now and enough returns in the window [N]."""
    counts = np.isfinite(returns_of(closes)).sum(axis=0)
    return np.asarray(np.isfinite(closes[-1]) & (counts >= minimum))


def usable_returns(closes: Floats, minimum: int) -> tuple[npt.NDArray[np.bool_], Floats]:
    """Return which symbols have enough history [N], and their returns for a covariance [≤ T − 1, usable].

    These are the sessions on which all of them have a return; where those are fewer than `minimum`, all sessions, with
    missing returns as zero.
    """
    usable = usable_symbols(closes, minimum)
    returns = returns_of(closes)[:, usable]
    complete = returns[np.isfinite(returns).all(axis=1)]
    return usable, complete if len(complete) >= minimum else np.nan_to_num(returns)


def returns_of(closes: Floats) -> Floats:
    """Return simple returns [T − 1, N]."""
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def deviation(returns: Floats) -> Floats:
    """Standard deviation of the known returns of each symbol [N]; zero with fewer than two."""
    known = np.isfinite(returns)
    count = known.sum(axis=0)
    mean = np.where(known, returns, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (returns - mean) ** 2, 0.0).sum(axis=0)
    return np.asarray(np.sqrt(squares / np.maximum(count - 1, 1)))


def normalised(weights: Floats) -> Floats | None:
    """Return weights over their sum; None where that is 0."""
    total = weights.sum()
    return weights / total if total > 0 else None


def least_variance_weights(covariance: npt.ArrayLike) -> Floats:
    """Return the weights w ≥ 0, Σw = 1 of minimum variance wᵀΣw [N] of a positive definite covariance [N, N].

    With Σ = LLᵀ, the non-negative least-squares solution x of Lᵀx ≈ L⁻¹1 satisfies the optimality conditions
    of the portfolio up to scale, so w = x / Σx: an active-set method gives the exact optimum without an
    iterative cone solver.
    """
    from scipy.linalg import cholesky, solve_triangular
    from scipy.optimize import nnls

    matrix = np.asarray(covariance, dtype=np.float64)
    scale = float(np.trace(matrix)) / len(matrix)
    factor = cholesky(matrix / scale, lower=True)
    solution, _ = nnls(factor.T, solve_triangular(factor, np.ones(len(matrix)), lower=True))
    return np.asarray(solution / solution.sum())
