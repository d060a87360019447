"""Evidence on an agent's return above its reference: size, regimes, the asset it depends on, and capacity.

Keys of the document:

``sharpe``, ``probabilistic_sharpe``, ``deflated_sharpe``, ``break_even_bps`` of the active return, the agent's return
minus the reference's; ``estimates``: `trading_app.evaluation.active.active_estimates` as mappings, ``lags`` of their
errors; ``active_share``: mean over sessions of ½ Σ |w − w_reference|, weights held at the close; ``regimes``:
`trading_app.evaluation.active.regime_estimates`; ``drop_one``: `drop_one_asset`; ``capacity``: `capacity`.

Axes: T time, N assets.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd

from trading_app.backtesting.engine import net_asset_values
from trading_app.backtesting.results import BacktestResult, BatchResult, trading_costs
from trading_app.evaluation.active import YEARLY, active_estimates, regime_estimates
from trading_app.evaluation.hac import default_lags, mean_estimate
from trading_app.evaluation.metrics import returns_array, sharpe
from trading_app.evaluation.significance import deflated_sharpe, probabilistic_sharpe

#: Sizes of the account at which capacity is computed, as multiples of its own.
CAPITALS = (0.1, 1.0, 10.0, 100.0, 1000.0)


def above_reference(
    results: BatchResult, strategy: str, reference: str, *, trials: int = 1, level: float = 0.95
) -> dict[str, Any]:
    """Measure a strategy's return above a reference; see the module's docstring.

    `trials` is the number of settings tried, for the deflated Sharpe ratio. `level` is the coverage of the intervals.
    """
    own, other = results.strategy(strategy), results.strategy(reference)
    periods = results.cost_model.sessions_a_year
    active = returns_array(own.returns - other.returns)
    turnover = (own.turnover - other.turnover).iloc[1:]
    measured = _measured(own, other.returns, turnover, _paid(own) - _paid(other), level)
    distance = np.abs(own.weights.to_numpy() - other.weights.to_numpy())[1:]
    return {
        "sharpe": float(sharpe(active, periods=periods)),
        "probabilistic_sharpe": probabilistic_sharpe(active, periods=periods),
        "deflated_sharpe": deflated_sharpe(active, trials=trials, periods=periods),
        "break_even_bps": measured["estimates"]["break_even_bps"]["value"],
        **measured,
        "active_share": float(0.5 * distance.sum(axis=1).mean()),
        "drop_one": drop_one_asset(own, other, level=level),
        "capacity": capacity(results, strategy, reference, level=level),
    }


def above_series(
    results: BatchResult, strategy: str, series: pd.Series, *, level: float = 0.95
) -> dict[str, Any]:
    """Measure a strategy's return above a series of returns without costs, by date: an index.

    Returns ``name`` of the series, and ``lags``, ``estimates`` and ``regimes`` as `above_reference`.
    """
    own = results.strategy(strategy)
    other = series.reindex(own.returns.index)
    return {"name": str(series.name), **_measured(own, other, own.turnover.iloc[1:], _paid(own), level)}


def _paid(result: BacktestResult) -> pd.Series:
    return trading_costs(result.costs, result.equity).iloc[1:]


def _measured(
    own: BacktestResult, other: pd.Series, turnover: pd.Series, paid: pd.Series, level: float
) -> dict[str, Any]:
    """Return lags, estimates and regimes; turnover and trading costs are those above the other returns'."""
    periods = own.cost_model.sessions_a_year
    estimates = active_estimates(
        returns_array(own.returns),
        returns_array(other),
        turnover=returns_array(turnover),
        trading_costs=returns_array(paid),
        periods=periods,
        risk_free=own.cost_model.risk_free_of(own.panel.dates),
        level=level,
    )
    regimes = regime_estimates(own.returns, other, periods=periods, level=level)
    return {
        "lags": default_lags(len(other)),
        "estimates": {name: asdict(estimate) for name, estimate in estimates.items()},
        "regimes": {name: asdict(regime) for name, regime in regimes.items()},
    }


def drop_one_asset(own: BacktestResult, other: BacktestResult, *, level: float = 0.95) -> dict[str, Any]:
    """Return what the active return would be without the asset that it depends on most.

    The contribution of an asset is what its positions earned after their trading costs, minus the same of the
    reference. Of the active return, the largest contribution of the same sign is removed.

    Returns
    -------
    dict
        ``symbol``, the asset; ``without``, the mean active return a year without it (an estimate);
        ``contributions``: mean contribution of each symbol, a fraction a year.
    """
    periods = own.cost_model.sessions_a_year
    active = returns_array(own.returns - other.returns)
    parts = own.contributions - other.contributions
    means = parts.mean() * periods
    symbol = str(means.idxmax() if active.mean() >= 0 else means.idxmin())
    without = mean_estimate(active - parts[symbol].to_numpy(), level=level, unit=YEARLY, scale=periods)
    return {"symbol": symbol, "without": asdict(without), "contributions": means.to_dict()}


def capacity(results: BatchResult, strategy: str, reference: str, *, level: float = 0.95) -> dict[str, Any]:
    """Return how results change with the size of the account, under the model of market impact.

    Weights are kept; only the costs of trading them change.

    Returns
    -------
    dict
        ``reason``: why there are no results, else None; ``points``: for each size of the account, ``capital``
        (currency), ``net_return`` (mean of the strategy, a fraction a year) and ``active_return`` (an estimate);
        ``limit``: capital at which the mean active return would be zero, None where it is not among these sizes.
    """
    panel, costs = results.panel, results.cost_model
    reason = None
    if panel.volume is None:
        reason = "the prices have no volume"
    elif costs.impact_coefficient == 0:
        reason = "costs.impact_coefficient is 0, so that costs do not depend on the size of the account"
    points: list[dict[str, Any]] = []
    if reason is None:
        chosen = results.targets[[results.names.index(strategy), results.names.index(reference)]]
        for factor in CAPITALS:
            model = replace(costs, capital=min(costs.capital * factor, 1e15))
            sized = BatchResult(
                panel, model, chosen, (strategy, reference), net_asset_values(panel, chosen, model)
            )
            own, other = (returns_array(sized.returns[name]) for name in sized.names)
            scale = costs.sessions_a_year
            estimate = mean_estimate(own - other, level=level, unit=YEARLY, scale=scale)
            points.append(
                {
                    "capital": model.capital,
                    "net_return": float(own.mean()) * scale,
                    "active_return": asdict(estimate),
                }
            )
    return {"reason": reason, "points": points, "limit": _zero(points)}


def _zero(points: list[dict[str, Any]]) -> float | None:
    """Return the capital at which the mean active return falls to zero, between two points; None if there is none.

    Impact grows with the root of the capital, so that the mean is nearly linear in this root.
    """
    roots = [point["capital"] ** 0.5 for point in points]
    means = [point["active_return"]["value"] for point in points]
    for k in range(1, len(points)):
        if means[k - 1] > 0 >= means[k]:
            share = means[k - 1] / (means[k - 1] - means[k])
            return float((roots[k - 1] + share * (roots[k] - roots[k - 1])) ** 2)
    return None
