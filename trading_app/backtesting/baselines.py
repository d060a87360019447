"""Baselines to compare a trained policy with: simple, causal and under the same costs.

Each baseline maps prices to target weights decided at the close of a date: date × symbol, fractions of the
portfolio, with a row of NaN on dates without a decision (holdings drift). Row t uses closes up to and
including t, also those before `start`. Decisions fall on the first session of the range and on the first
session of each later month; those dates do not depend on where the prices end. Where history is too short at
first, decisions begin later and the portfolio is cash until then; where it is too short throughout, that is
an error. The daily ones decide on every session, as an agent does.

A symbol takes part in a decision when it is available (it traded within the last `DELIST_AFTER` sessions) and, where a
baseline looks back, has enough history. In a session without a trade its price is the last one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from data import Prices
from data.errors import DataError
from data.fields import DateLike
from trading_app.market.trading_status import trading_status

Array = npt.NDArray[np.float64]
# Closes of the past [T, N] up to the decision, newest last, to weights [N] or None while history is too
# short.
Rule = Callable[[Array], Array | None]

WINDOW = 252
#: A quarter of daily returns: too few for a volatility or a covariance below that.
MINIMUM = 63


# Prices and the range of the decisions, both ends included, to target weights.
Baseline = Callable[[Prices, DateLike | None, DateLike | None], pd.DataFrame]


def equal_weight(
    prices: Prices, start: DateLike | None = None, end: DateLike | None = None, *, daily: bool = False
) -> pd.DataFrame:
    """Equal weights in all available symbols, restored each month or each session."""
    return _scheduled(prices, start, end, lookback=0, needed=0, rule=_equal, name="equal-weight", daily=daily)


def buy_and_hold(prices: Prices, start: DateLike | None = None, end: DateLike | None = None) -> pd.DataFrame:
    """Equal weights in the symbols listed on the first date, without later trades."""
    targets = _scheduled(prices, start, end, lookback=0, needed=0, rule=_equal, name="buy-and-hold")
    targets.iloc[int(targets.notna().any(axis=1).argmax()) + 1 :] = np.nan
    return targets


def inverse_volatility(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    window: int = WINDOW,
    minimum: int = MINIMUM,
    daily: bool = False,
) -> pd.DataFrame:
    """Weights proportional to one over trailing volatility, chosen each month or each session.

    The volatility is that of `window` sessions, in which a symbol needs `minimum` returns.
    """

    def rule(closes: Array) -> Array | None:
        spread = _deviation(_returns(closes))
        usable = _usable(closes, minimum) & (spread > 0)
        return _normalised(np.where(usable, 1.0 / np.where(usable, spread, 1.0), 0.0))

    name = "inverse-volatility-daily" if daily else "inverse-volatility"
    return _scheduled(prices, start, end, lookback=window, needed=minimum, rule=rule, name=name, daily=daily)


def minimum_variance(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    window: int = WINDOW,
    minimum: int = MINIMUM,
) -> pd.DataFrame:
    """Long-only, fully invested portfolio of minimum variance, re-estimated monthly.

    The covariance is shrunk as Ledoit & Wolf (2004), through ``skfolio``; the optimum is exact, see
    `least_variance_weights`. It uses the sessions of the window on which every symbol that takes part has a
    return, or, where gaps leave fewer than `minimum` of them, all sessions with missing returns as zero.
    """
    from skfolio.moments import LedoitWolf

    def rule(closes: Array) -> Array | None:
        usable = _usable(closes, minimum)
        if not usable.any():
            return None
        returns = _returns(closes)[:, usable]
        complete = returns[np.isfinite(returns).all(axis=1)]
        sample = complete if len(complete) >= minimum else np.nan_to_num(returns)
        weights = np.zeros(closes.shape[1])
        try:
            weights[usable] = least_variance_weights(LedoitWolf().fit(sample).covariance_)
        except Exception as error:  # each solver has errors of its own
            reason = "every price is constant" if not sample.any() else " ".join(str(error).split())
            raise DataError(
                f"min-variance: {prices.name} has no portfolio of minimum variance ({reason}); "
                "choose another baseline or leave out symbols without price changes"
            ) from None
        return weights

    return _scheduled(prices, start, end, lookback=window, needed=minimum, rule=rule, name="min-variance")


def momentum(
    prices: Prices,
    start: DateLike | None = None,
    end: DateLike | None = None,
    *,
    long_short: bool = False,
    window: int = WINDOW,
    skip: int = 21,
) -> pd.DataFrame:
    """Equal weights in the third of symbols with the highest return from 12 months to 1 month ago, monthly.

    Jegadeesh & Titman (1993) with the usual one month left out. `window` and `skip` count sessions from the start and
    from the end of the ranking period to the decision. With `long_short` half the portfolio is long the top third and
    half short the bottom third, so that gross exposure is 1 and net 0.
    """

    def rule(closes: Array) -> Array | None:
        if len(closes) <= window:
            return None
        growth = closes[-1 - skip] / closes[-1 - window]
        ranked = np.flatnonzero(np.isfinite(growth) & np.isfinite(closes[-1]))
        if len(ranked) < (2 if long_short else 1):
            return None
        ranked = ranked[np.argsort(growth[ranked], kind="stable")]
        count = max(len(ranked) // 3, 1)
        weights = np.zeros(closes.shape[1])
        weights[ranked[-count:]] = 1.0 / count
        if long_short:
            weights[ranked[:count]] -= 1.0 / count
            weights *= 0.5
        return weights

    return _scheduled(prices, start, end, lookback=window, needed=window, rule=rule, name="momentum")


BASELINES: dict[str, Baseline] = {
    "equal-weight": equal_weight,
    "equal-weight-daily": partial(equal_weight, daily=True),
    "buy-and-hold": buy_and_hold,
    "inverse-volatility": inverse_volatility,
    "inverse-volatility-daily": partial(inverse_volatility, daily=True),
    "min-variance": minimum_variance,
    "momentum": momentum,
}


def baseline(name: str) -> Baseline:
    """Return the baseline called `name`; DataError with the known names for another one."""
    import difflib

    if name not in BASELINES:
        near = difflib.get_close_matches(name, BASELINES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(f"baseline {name!r} not found; {hint}available: {', '.join(BASELINES)}")
    return BASELINES[name]


def least_variance_weights(covariance: npt.ArrayLike) -> Array:
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


def _scheduled(
    prices: Prices,
    start: DateLike | None,
    end: DateLike | None,
    *,
    lookback: int,
    needed: int,
    rule: Rule,
    name: str,
    daily: bool = False,
) -> pd.DataFrame:
    window = prices.between(start, end)  # DataError where the range is empty
    closes, available = _closes(prices)
    offset = int(prices.dates.searchsorted(window.dates[0]))
    targets = np.full((len(window.dates), len(prices.symbols)), np.nan)
    months = (window.dates.year * 12 + window.dates.month).to_numpy()
    waiting = True
    for row in range(len(window.dates)):
        # Until the first decision every session is tried; later monthly ones fall on the first session of a month.
        if not (waiting or daily or months[row] != months[row - 1]):
            continue
        t = offset + row
        # Closes up to the decision [≤ lookback + 1, N], all NaN for symbols that are not available to it.
        weights = rule(np.where(available[t], closes[max(t - lookback, 0) : t + 1], np.nan))
        if weights is not None:
            targets[row] = weights
            waiting = False
    if waiting:
        raise DataError(
            f"{name}: {prices.name} has too little history for any decision up to "
            f"{window.dates[-1]:%Y-%m-%d}: it begins {prices.dates[0]:%Y-%m-%d} and a symbol needs {needed} "
            "sessions of prices before one"
        )
    return pd.DataFrame(targets, index=window.dates, columns=list(prices.symbols))


def _closes(prices: Prices) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Closes with the last trade's price carried forward, NaN before the first, and what is available [T, N] each."""
    raw = prices.adjusted("close").to_numpy(dtype=np.float64)
    volume = prices.field("volume").to_numpy(dtype=np.float64) if "volume" in prices.fields else None
    status = trading_status(raw, volume)
    closes = pd.DataFrame(np.where(status.traded, raw, np.nan)).ffill().to_numpy()
    return closes, status.available


def _equal(closes: Array) -> Array | None:
    return _normalised(np.isfinite(closes[-1]).astype(np.float64))


def _usable(closes: Array, minimum: int) -> npt.NDArray[np.bool_]:
    """Symbols with a close now and enough returns in the window [N]."""
    counts = np.isfinite(_returns(closes)).sum(axis=0)
    return np.asarray(np.isfinite(closes[-1]) & (counts >= minimum))


def _returns(closes: Array) -> Array:
    return np.asarray(closes[1:] / closes[:-1] - 1.0)


def _deviation(returns: Array) -> Array:
    """Standard deviation of the known returns of each symbol [N]; zero with fewer than two."""
    known = np.isfinite(returns)
    count = known.sum(axis=0)
    mean = np.where(known, returns, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(known, (returns - mean) ** 2, 0.0).sum(axis=0)
    return np.asarray(np.sqrt(squares / np.maximum(count - 1, 1)))


def _normalised(weights: Array) -> Array | None:
    total = weights.sum()
    return weights / total if total > 0 else None
