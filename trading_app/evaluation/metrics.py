"""Performance measures of return series, vectorised over strategies.

Each measure reduces the first axis, so it takes one series [T] or many [T, K]. Returns are simple returns per
period and fractions (0.01 is one percent); losses are negative, drawdowns and tail losses too. What is
undefined (the Sharpe ratio of a constant series) is NaN, never infinite.

Axes: T time, K strategies.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import DataError
from trading_app.evaluation.bootstrap import SHORTEST, percentile_interval, resample
from trading_app.evaluation.labels import MEASURES as MEASURES
from trading_app.evaluation.labels import Measure as Measure

Array = npt.NDArray[np.float64]
Returns = pd.Series | pd.DataFrame | npt.NDArray[np.float64]

TAIL = 0.05


def sharpe(returns: Returns, *, periods: int = 252, risk_free: float = 0.0) -> Array:
    """Annualised Sharpe ratio: mean excess over standard deviation (ddof 1) × √periods.

    Parameters
    ----------
    returns : Series, DataFrame or ndarray
        [T] or [T, K] simple returns.
    periods : int
        Periods a year.
    risk_free : float
        Annual rate, spread evenly over the periods.
    """
    values = returns_array(returns)
    mean, variance, tiny = _mean_and_variance(values)
    deviation = np.sqrt(variance * (len(values) / max(len(values) - 1, 1)))
    return _ratio((mean - risk_free / periods) * np.sqrt(periods), deviation, tiny)


def sortino(returns: Returns, *, periods: int = 252, risk_free: float = 0.0) -> Array:
    """Annualised mean excess over downside deviation, the latter over all periods (Sortino & Price 1994)."""
    values = returns_array(returns)
    return _sortino(values, periods, risk_free, _mean_and_variance(values)[2])


def volatility(returns: Returns, *, periods: int = 252) -> Array:
    """Annualised standard deviation (ddof 1)."""
    values = returns_array(returns)
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1) * np.sqrt(periods))


def nav(returns: Returns) -> Array:
    """Compounded value [T + 1, …] that starts at 1; a loss of everything stays at 0."""
    values = returns_array(returns)
    growth = np.maximum(1.0 + values, 0.0)
    return np.concatenate([np.ones((1, *values.shape[1:])), np.cumprod(growth, axis=0)])


def cagr(returns: Returns, *, periods: int = 252) -> Array:
    """Compound annual growth rate."""
    values = nav(returns)
    return np.asarray(values[-1] ** (periods / (len(values) - 1)) - 1.0)


def max_drawdown(returns: Returns) -> Array:
    """Largest fall from a running peak of the compounded value starting at 1, as a negative fraction."""
    return np.asarray(drawdowns(nav(returns)).min(axis=0))


def drawdowns(equity: npt.ArrayLike) -> Array:
    """Distance from the running peak [T, …], zero or negative."""
    values = np.asarray(equity, dtype=np.float64)
    return np.asarray(values / np.maximum.accumulate(values, axis=0) - 1.0)


def calmar(returns: Returns, *, periods: int = 252) -> Array:
    """Compound annual growth rate over the absolute maximum drawdown."""
    return _ratio(cagr(returns, periods=periods), -max_drawdown(returns))


def cvar(returns: Returns, *, tail: float = TAIL) -> Array:
    """Mean of the worst `tail` share of returns, historical (Rockafellar & Uryasev 2000).

    The period at the edge counts by the share of it that belongs to the tail, so that the value does not jump
    with T.
    """
    return _cvar(returns_array(returns), tail)


def hit_rate(returns: Returns) -> Array:
    """Share of periods with a positive return."""
    return np.asarray((returns_array(returns) > 0).mean(axis=0))


def skew(returns: Returns) -> Array:
    """Third standardised moment of the sample (no bias correction)."""
    return _moment(returns_array(returns), 3)


def kurtosis(returns: Returns) -> Array:
    """Fourth standardised moment of the sample minus 3 (no bias correction)."""
    return _moment(returns_array(returns), 4) - 3.0


def break_even_bps(returns: Returns, turnover: Returns, trading_costs: Returns | None = None) -> Array:
    """Cost per unit of traded value, in basis points, at which the mean return would be zero.

    First order: holdings are kept, only the price of trading changes. A turnover of ½ Σ|Δw| trades Σ|Δw|.

    Parameters
    ----------
    returns : Series, DataFrame or ndarray
        Net returns.
    turnover : Series, DataFrame or ndarray
        ½ Σ|w⁺ − w_drifted| per period.
    trading_costs : Series, DataFrame or ndarray, optional
        Commission, spread and impact per period as fractions of value; zero when the returns are before
        costs.
    """
    gross = returns_array(returns)
    if trading_costs is not None:
        gross = gross + returns_array(trading_costs)
    return _ratio(1e4 * gross.mean(axis=0), 2.0 * returns_array(turnover).mean(axis=0))


def metrics(
    returns: Returns,
    *,
    periods: int = 252,
    risk_free: float = 0.0,
    turnover: Returns | None = None,
    trading_costs: Returns | None = None,
) -> dict[str, float]:
    """Every measure of one return series.

    Parameters
    ----------
    returns : Series or ndarray
        [T] simple net returns.
    periods : int
        Periods a year.
    risk_free : float
        Annual rate for the Sharpe and Sortino ratios.
    turnover, trading_costs : Series or ndarray, optional
        As in `break_even_bps`; without them the two trading measures are left out.

    Returns
    -------
    dict
        Names as in `MEASURES`.

    Raises
    ------
    DataError
        For an empty series or a missing return, naming its date.
    """
    values = returns_array(returns)
    if values.ndim != 1:
        raise DataError(f"metrics() takes one series, not shape {values.shape}; use metrics_table for many")
    table = _measure(values[:, None], periods, risk_free)
    if turnover is not None:
        traded = returns_array(turnover)
        costs = None if trading_costs is None else returns_array(trading_costs)
        table["turnover"] = traded.mean(keepdims=True) * periods
        table["break_even_bps"] = np.atleast_1d(break_even_bps(values, traded, costs))
    return {name: float(value[0]) for name, value in table.items()}


def metrics_table(
    returns: pd.DataFrame,
    *,
    periods: int = 252,
    risk_free: float = 0.0,
    turnover: pd.DataFrame | None = None,
    trading_costs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """`metrics` for many strategies at once: date × strategy frames in, strategy × measure out."""
    table = _measure(returns_array(returns), periods, risk_free)
    if turnover is not None:
        traded = returns_array(turnover[returns.columns])
        costs = None if trading_costs is None else returns_array(trading_costs[returns.columns])
        table["turnover"] = traded.mean(axis=0) * periods
        table["break_even_bps"] = break_even_bps(returns_array(returns), traded, costs)
    return pd.DataFrame(table, index=pd.Index(returns.columns, name="strategy"))


def bootstrap_intervals(
    returns: pd.Series | Array,
    *,
    periods: int = 252,
    risk_free: float = 0.0,
    level: float = 0.95,
    reps: int = 1000,
    block: int | None = None,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Stationary-bootstrap percentile interval of each measure of one series.

    Parameters
    ----------
    returns : Series or ndarray
        [T] simple returns, at least 20.
    periods, risk_free
        As in `metrics`.
    level : float
        Coverage.
    reps, block, seed
        As in `trading_app.evaluation.bootstrap.resample`.
    """
    values = returns_array(returns)
    frame = pd.DataFrame({"strategy": values})
    table = bootstrap_table(
        frame, periods=periods, risk_free=risk_free, level=level, reps=reps, block=block, seed=seed
    )
    bounds = table.loc["strategy"].to_numpy().reshape(-1, 2)
    names = table.columns.unique(0)
    return {str(name): (float(low), float(high)) for name, (low, high) in zip(names, bounds, strict=True)}


def bootstrap_table(
    returns: pd.DataFrame,
    *,
    periods: int = 252,
    risk_free: float = 0.0,
    level: float = 0.95,
    reps: int = 1000,
    block: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """`bootstrap_intervals` for many strategies, resampled on the same dates.

    Returns
    -------
    DataFrame
        Strategy × (measure, "low" or "high").
    """
    values = returns_array(returns)
    names = list(_measure(values[:SHORTEST], periods, risk_free))

    def statistic(sample: Array) -> Array:
        return np.stack(list(_measure(sample, periods, risk_free).values()))

    low, high = percentile_interval(resample(statistic, values, block=block, reps=reps, seed=seed), level)
    columns = {(name, "low"): low[i] for i, name in enumerate(names)}
    columns |= {(name, "high"): high[i] for i, name in enumerate(names)}
    table = pd.DataFrame(columns, index=pd.Index(returns.columns, name="strategy"))
    return table[[(name, bound) for name in names for bound in ("low", "high")]]


def worst_drawdowns(equity: pd.Series, count: int = 5) -> pd.DataFrame:
    """The deepest falls that do not overlap, deepest first.

    Parameters
    ----------
    equity : Series
        Portfolio value by date.
    count : int
        At most so many.

    Returns
    -------
    DataFrame
        ``depth`` (negative fraction), ``peak``, ``trough`` and ``recovery`` dates (NaT while under water),
        ``periods`` from peak to recovery or the end.
    """
    falls = drawdowns(equity.to_numpy(dtype=np.float64))
    dates = pd.DatetimeIndex(equity.index)
    under = falls < 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], under, [False]]).astype(np.int8)))
    rows = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):  # under water on [begin, end)
        trough = begin + int(falls[begin:end].argmin())
        recovered = end < len(dates)
        rows.append(
            {
                "depth": falls[trough],
                "peak": dates[begin - 1],
                "trough": dates[trough],
                "recovery": dates[end] if recovered else pd.NaT,
                "periods": int(min(end, len(dates) - 1) - (begin - 1)),
            }
        )
    table = pd.DataFrame(rows, columns=["depth", "peak", "trough", "recovery", "periods"])
    return table.sort_values("depth", kind="stable").head(count).reset_index(drop=True)


def returns_array(returns: Returns) -> Array:
    """Float array of finite returns [T, …].

    Raises
    ------
    DataError
        For an empty series, or a missing or infinite value, naming its date and strategy.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim == 0 or len(values) == 0:
        raise DataError("no returns: the series is empty")
    if not np.isfinite(values).all():
        raise DataError(_where_not_finite(returns, values))
    return values


def _where_not_finite(returns: Returns, values: Array) -> str:
    row, *column = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
    place = f"row {row}"
    if isinstance(returns, (pd.Series, pd.DataFrame)):
        label = returns.index[row]
        place = f"{label:%Y-%m-%d}" if isinstance(label, pd.Timestamp) else str(label)
    if column and isinstance(returns, pd.DataFrame):
        place += f" of {returns.columns[column[0]]!r}"
    return f"return at {place} is {values[(row, *column)]}; fill or drop it before measuring"


def _measure(values: Array, periods: int, risk_free: float) -> dict[str, Array]:
    """Return every measure of returns [T, K]; intermediate results are shared, for the speed of the bootstrap."""
    # Time is contiguous in memory here, so that reductions over it run at full speed.
    values = np.asfortranarray(values)
    mean, variance, tiny = _mean_and_variance(values)
    deviation = np.sqrt(variance * (len(values) / max(len(values) - 1, 1)))
    growth = np.cumprod(np.maximum(1.0 + values, 0.0), axis=0)
    annual = growth[-1] ** (periods / len(values)) - 1.0
    deepest = (growth / np.maximum(np.maximum.accumulate(growth, axis=0), 1.0)).min(axis=0) - 1.0
    deepest = np.minimum(deepest, 0.0)
    centred = values - mean
    squares = centred * centred
    spread = np.sqrt(variance)
    return {
        "total_return": growth[-1] - 1.0,
        "cagr": annual,
        "volatility": deviation * np.sqrt(periods) if len(values) > 1 else np.full_like(mean, np.nan),
        "sharpe": _ratio((mean - risk_free / periods) * np.sqrt(periods), deviation, tiny),
        "sortino": _sortino(values, periods, risk_free, tiny),
        "max_drawdown": deepest,
        "calmar": _ratio(annual, -deepest),
        "cvar_5": _cvar(values, TAIL),
        "hit_rate": (values > 0).mean(axis=0),
        "skew": _ratio((squares * centred).mean(axis=0), spread**3, tiny**3),
        "kurtosis": _ratio((squares * squares).mean(axis=0), spread**4, tiny**4) - 3.0,
    }


def _moment(values: Array, order: int) -> Array:
    mean, variance, tiny = _mean_and_variance(values)
    return _ratio(((values - mean) ** order).mean(axis=0), np.sqrt(variance) ** order, tiny**order)


def _mean_and_variance(values: Array) -> tuple[Array, Array, Array]:
    """Mean, variance (ddof 0) and the deviation that rounding alone can make, each over the first axis."""
    mean = values.mean(axis=0)
    centred = values - mean
    tiny = 8 * np.finfo(np.float64).eps * np.maximum(values.max(axis=0), -values.min(axis=0))
    return mean, (centred * centred).mean(axis=0), tiny


def _sortino(values: Array, periods: int, risk_free: float, tiny: Array) -> Array:
    excess = values - risk_free / periods
    losses = np.minimum(excess, 0.0)
    downside = np.sqrt((losses * losses).mean(axis=0))
    return _ratio(excess.mean(axis=0) * np.sqrt(periods), downside, tiny)


def _cvar(values: Array, tail: float) -> Array:
    count = tail * len(values)
    whole = max(int(np.ceil(count)) - 1, 0)
    ordered = np.partition(values, whole, axis=0)
    return np.asarray((ordered[:whole].sum(axis=0) + ordered[whole] * (count - whole)) / count)


def _ratio(numerator: Array, denominator: Array, tiny: Array | float = 0.0) -> Array:
    """Quotient; NaN where the denominator is not above `tiny`."""
    defined = np.asarray(denominator) > tiny
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)
