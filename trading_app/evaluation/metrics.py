"""Performance measures of return series, vectorised over strategies.

`metrics` returns every measure of one series [T], `metrics_table` and `bootstrap_table` those of many [T, K]. Returns
are simple returns per period and fractions (0.01 is one percent); losses are negative, drawdowns and tail losses too.
What is undefined (the Sharpe ratio of a constant series) is NaN, never infinite.

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

Rate = float | Array
"""A yearly rate, or the yearly rate of each return [T]."""

TAIL = 0.05


def sharpe(returns: Returns, *, periods: int = 252, risk_free: Rate = 0.0) -> Array:
    """Annualised Sharpe ratio: mean excess over standard deviation (ddof 1) × √periods.

    Parameters
    ----------
    returns : Series, DataFrame or ndarray
        [T] or [T, K] simple returns.
    periods : int
        Periods a year.
    risk_free : float or ndarray
        Annual rate, spread evenly over the periods, or that of each return [T].
    """
    values, risk_free = less_dated_rates(returns_array(returns), risk_free, periods)
    mean, variance, tiny = _mean_and_variance(values)
    deviation = np.sqrt(variance * (len(values) / max(len(values) - 1, 1)))
    return _ratio((mean - risk_free / periods) * np.sqrt(periods), deviation, tiny)


def less_dated_rates(values: Array, risk_free: Rate, periods: int) -> tuple[Array, float]:
    """Return returns [T] or [T, K] less the dated rates, if rates are dated, and the rate that is left to subtract."""
    if isinstance(risk_free, int | float):
        return values, risk_free
    rates = np.asarray(risk_free) / periods
    return values - (rates if values.ndim == 1 else rates[:, None]), 0.0


def drawdowns(equity: npt.ArrayLike) -> Array:
    """Distance from the running peak [T, …], zero or negative."""
    values = np.asarray(equity, dtype=np.float64)
    return np.asarray(values / np.maximum.accumulate(values, axis=0) - 1.0)


def cvar(returns: Returns, *, tail: float = TAIL) -> Array:
    """Mean of the worst `tail` share of returns, historical (Rockafellar & Uryasev 2000).

    The period at the edge counts by the share of it that belongs to the tail, so that the value does not jump
    with T.
    """
    values = returns_array(returns)
    count = tail * len(values)
    whole = max(int(np.ceil(count)) - 1, 0)
    ordered = np.partition(values, whole, axis=0)
    return np.asarray((ordered[:whole].sum(axis=0) + ordered[whole] * (count - whole)) / count)


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
    returns
        Net returns.
    turnover
        ½ Σ|w⁺ − w_drifted| per period.
    trading_costs
        Commission, spread and impact per period as fractions of value; zero when the returns are before costs.
    """
    gross = returns_array(returns)
    if trading_costs is not None:
        gross = gross + returns_array(trading_costs)
    return _ratio(1e4 * gross.mean(axis=0), 2.0 * returns_array(turnover).mean(axis=0))


def metrics(
    returns: Returns,
    *,
    periods: int = 252,
    risk_free: Rate = 0.0,
    turnover: Returns | None = None,
    trading_costs: Returns | None = None,
) -> dict[str, float]:
    """Every measure of one return series, by the names of `MEASURES`.

    Parameters
    ----------
    returns
        [T] simple net returns.
    periods
        Periods a year.
    risk_free
        Annual rate for the Sharpe and Sortino ratios, or that of each return [T].
    turnover, trading_costs
        As in `break_even_bps`; without them the two trading measures are left out.

    Raises
    ------
    DataError
        For an empty series or a missing return, naming its date.
    """
    values = returns_array(returns)
    if values.ndim != 1:
        raise DataError(f"metrics() takes one series, not shape {values.shape}; use metrics_table for many")
    table = _measure(values[:, None], periods, risk_free, _column(turnover), _column(trading_costs))
    return {name: float(value[0]) for name, value in table.items()}


def metrics_table(
    returns: pd.DataFrame,
    *,
    periods: int = 252,
    risk_free: Rate = 0.0,
    turnover: pd.DataFrame | None = None,
    trading_costs: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """`metrics` for many strategies at once: date × strategy frames in, strategy × measure out."""
    traded = None if turnover is None else returns_array(turnover[returns.columns])
    costs = None if trading_costs is None else returns_array(trading_costs[returns.columns])
    table = _measure(returns_array(returns), periods, risk_free, traded, costs)
    return pd.DataFrame(table, index=pd.Index(returns.columns, name="strategy"))


def bootstrap_table(
    returns: pd.DataFrame,
    *,
    periods: int = 252,
    risk_free: Rate = 0.0,
    level: float = 0.95,
    reps: int = 1000,
    block: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Stationary-bootstrap percentile intervals of `metrics` for many strategies, resampled on the same dates.

    Parameters
    ----------
    returns
        Date × strategy, at least 20 dates.
    periods, risk_free
        As in `metrics`.
    level
        Coverage.
    reps, block, seed
        As in `trading_app.evaluation.bootstrap.resample`.

    Returns
    -------
    DataFrame
        Strategy × (measure, "low" or "high").
    """
    values = returns_array(returns)
    names = list(_measure(values[:SHORTEST], periods, 0.0))
    count = values.shape[1]
    if not isinstance(risk_free, int | float):
        # Dated rates are resampled with the returns.
        values = np.column_stack([values, risk_free])

    def statistic(sample: Array) -> Array:
        rate = risk_free if isinstance(risk_free, int | float) else sample[:, count]
        return np.stack(list(_measure(sample[:, :count], periods, rate).values()))

    low, high = percentile_interval(resample(statistic, values, block=block, reps=reps, seed=seed), level)
    columns = {(name, "low"): low[i] for i, name in enumerate(names)}
    columns |= {(name, "high"): high[i] for i, name in enumerate(names)}
    table = pd.DataFrame(columns, index=pd.Index(returns.columns, name="strategy"))
    return table[[(name, bound) for name in names for bound in ("low", "high")]]


def worst_drawdowns(equity: pd.Series, count: int = 5) -> pd.DataFrame:
    """The deepest falls that do not overlap, deepest first, at most `count`; equity is by date.

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


def _measure(
    values: Array, periods: int, risk_free: Rate, turnover: Array | None = None, costs: Array | None = None
) -> dict[str, Array]:
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
    above, rest = less_dated_rates(values, risk_free, periods)
    excess = above - rest / periods
    losses = np.minimum(excess, 0.0)
    downside = np.sqrt((losses * losses).mean(axis=0))
    table = {
        "total_return": growth[-1] - 1.0,
        "cagr": annual,
        "volatility": deviation * np.sqrt(periods) if len(values) > 1 else np.full_like(mean, np.nan),
        "sharpe": _ratio((mean - rest / periods) * np.sqrt(periods), deviation, tiny)
        if above is values
        else sharpe(above, periods=periods),
        "sortino": _ratio(excess.mean(axis=0) * np.sqrt(periods), downside, tiny),
        "max_drawdown": deepest,
        "calmar": _ratio(annual, -deepest),
        "cvar_5": cvar(values),
        "hit_rate": (values > 0).mean(axis=0),
        "skew": _ratio((squares * centred).mean(axis=0), spread**3, tiny**3),
        "kurtosis": _ratio((squares * squares).mean(axis=0), spread**4, tiny**4) - 3.0,
    }
    if turnover is not None:
        table["turnover"] = turnover.mean(axis=0) * periods
        table["break_even_bps"] = break_even_bps(values, turnover, costs)
    return table


def _column(series: Returns | None) -> Array | None:
    return None if series is None else returns_array(series)[:, None]


def _moment(values: Array, order: int) -> Array:
    mean, variance, tiny = _mean_and_variance(values)
    return _ratio(((values - mean) ** order).mean(axis=0), np.sqrt(variance) ** order, tiny**order)


def _mean_and_variance(values: Array) -> tuple[Array, Array, Array]:
    """Mean, variance (ddof 0) and the deviation that rounding alone can make, each over the first axis."""
    mean = values.mean(axis=0)
    centred = values - mean
    tiny = 8 * np.finfo(np.float64).eps * np.maximum(values.max(axis=0), -values.min(axis=0))
    return mean, (centred * centred).mean(axis=0), tiny


def _ratio(numerator: Array, denominator: Array, tiny: Array | float = 0.0) -> Array:
    """Quotient; NaN where the denominator is not above `tiny`."""
    defined = np.asarray(denominator) > tiny
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)
