"""Performance measures of return series, vectorised over strategies.

Each measure reduces the first axis, so it takes one series [T] or many [T, K]. Returns are simple returns per
period and fractions (0.01 is one percent); losses are negative, drawdowns and tail losses too. What is
undefined (the Sharpe ratio of a constant series) is NaN, never infinite.

Axes: T time, K strategies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from data.errors import DataError
from trading_app.resampling import SHORTEST, percentile_interval, resample

Array = npt.NDArray[np.float64]
Returns = pd.Series | pd.DataFrame | npt.NDArray[np.float64]

TAIL = 0.05


@dataclass(frozen=True)
class Measure:
    """How a measure is named and written, so that reports, dashboards and the command line agree."""

    label: str
    unit: Literal["percent", "ratio", "bps"]
    digits: int
    meaning: str
    higher_is_better: bool | None = True


MEASURES: dict[str, Measure] = {
    "total_return": Measure("Total return", "percent", 1, "growth of the portfolio over the whole period"),
    "cagr": Measure("Annual growth", "percent", 1, "compound annual growth rate"),
    "volatility": Measure(
        "Volatility", "percent", 1, "annualised standard deviation of returns", higher_is_better=None
    ),
    "sharpe": Measure("Sharpe ratio", "ratio", 2, "annualised mean excess return over standard deviation"),
    "sortino": Measure("Sortino ratio", "ratio", 2, "annualised mean excess return over downside deviation"),
    "max_drawdown": Measure(
        "Maximum drawdown", "percent", 1, "largest fall from a peak of the compounded value"
    ),
    "calmar": Measure("Calmar ratio", "ratio", 2, "annual growth over maximum drawdown"),
    "cvar_5": Measure("CVaR 5 %", "percent", 2, "mean return of the worst 5 % of periods (historical)"),
    "hit_rate": Measure("Hit rate", "percent", 1, "share of periods with a positive return"),
    "skew": Measure("Skewness", "ratio", 2, "asymmetry of returns; negative is a heavier loss tail"),
    "kurtosis": Measure(
        "Excess kurtosis", "ratio", 1, "weight of the tails; 0 for a normal law", higher_is_better=None
    ),
    "turnover": Measure(
        "Turnover", "percent", 0, "half the traded value per year, as a share of the portfolio", None
    ),
    "break_even_bps": Measure(
        "Break-even cost", "bps", 1, "cost per unit traded at which the mean net return is zero"
    ),
}


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
    return _ratio(
        (values.mean(axis=0) - risk_free / periods) * np.sqrt(periods), _deviation(values), scale=values
    )


def sortino(returns: Returns, *, periods: int = 252, risk_free: float = 0.0) -> Array:
    """Annualised mean excess over downside deviation, the latter over all periods (Sortino & Price 1994)."""
    excess = returns_array(returns) - risk_free / periods
    downside = np.sqrt(np.mean(np.minimum(excess, 0.0) ** 2, axis=0))
    return _ratio(excess.mean(axis=0) * np.sqrt(periods), downside, scale=excess)


def volatility(returns: Returns, *, periods: int = 252) -> Array:
    """Annualised standard deviation (ddof 1)."""
    return np.asarray(_deviation(returns_array(returns)) * np.sqrt(periods))


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
    values = returns_array(returns)
    count = tail * len(values)
    whole = max(int(np.ceil(count)) - 1, 0)
    ordered = np.partition(values, whole, axis=0)
    return np.asarray((ordered[:whole].sum(axis=0) + ordered[whole] * (count - whole)) / count)


def hit_rate(returns: Returns) -> Array:
    """Share of periods with a positive return."""
    return np.asarray((returns_array(returns) > 0).mean(axis=0))


def skew(returns: Returns) -> Array:
    """Third standardised moment of the sample (no bias correction)."""
    return _moment(returns, 3)


def kurtosis(returns: Returns) -> Array:
    """Fourth standardised moment of the sample less 3 (no bias correction)."""
    return _moment(returns, 4) - 3.0


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
        As in `trading_app.resampling.resample`.
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
    growth = nav(values)
    annual = np.asarray(growth[-1] ** (periods / len(values)) - 1.0)
    deepest = np.asarray(drawdowns(growth).min(axis=0))
    return {
        "total_return": np.asarray(growth[-1] - 1.0),
        "cagr": annual,
        "volatility": volatility(values, periods=periods),
        "sharpe": sharpe(values, periods=periods, risk_free=risk_free),
        "sortino": sortino(values, periods=periods, risk_free=risk_free),
        "max_drawdown": deepest,
        "calmar": _ratio(annual, -deepest),
        "cvar_5": cvar(values),
        "hit_rate": hit_rate(values),
        "skew": skew(values),
        "kurtosis": kurtosis(values),
    }


def _deviation(values: Array) -> Array:
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def _moment(returns: Returns, order: int) -> Array:
    values = returns_array(returns)
    centred = values - values.mean(axis=0)
    spread = np.sqrt(np.mean(centred**2, axis=0))
    return _ratio(np.mean(centred**order, axis=0), spread**order, scale=values, order=order)


def _ratio(numerator: Array, denominator: Array, scale: Array | None = None, order: int = 1) -> Array:
    """Quotient; NaN where the denominator is zero up to the rounding of values of size `scale`."""
    tiny = 0.0 if scale is None else (8 * np.finfo(np.float64).eps * np.abs(scale).max(axis=0)) ** order
    defined = np.asarray(denominator) > tiny
    return np.where(defined, numerator / np.where(defined, denominator, 1.0), np.nan)
