"""The plug-in policy of the planted market: estimate the market from a history, then solve it.

Each asset's returns are regressed on its signal; slopes and means are shrunk over the assets by empirical Bayes; the
Riccati equation of the estimated market gives the policy. It knows the form of the market, its costs and the
persistence of its signals, so it is a reference for what a history allows, not a competitor.

Axes: N assets, T time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trading_app.evaluation.shrinkage import reliability_of_mean, shrink
from trading_app.synthetic.planted_problem import Feedback, PlantedConfig, feedback_of

Array = npt.NDArray[np.float64]


def plug_in(config: PlantedConfig, signals: Array, returns: Array, *, shrunk: bool = True) -> Feedback:
    """Return the feedback of the market that a history [T, N] shows, by slopes and drifts shrunk over the assets.

    A return follows the signal of its row. Costs, risk aversion and persistence are those of the configuration.
    """
    slopes, drifts, slope_variances, drift_variances = regress(signals, returns)
    if shrunk:
        slopes, drifts = shrink(slopes, slope_variances), shrink(drifts, drift_variances)
        drifts = drifts - drifts.mean() * (1 - reliability_of_mean(drifts.mean(), drift_variances))
    return feedback_of(config, slopes, config.coefficients()[1], drifts)


def regress(signals: Array, returns: Array) -> tuple[Array, Array, Array, Array]:
    """Return slope and intercept of each asset's returns on its signal, and their sampling variances, each [N]."""
    periods = len(signals)
    centred = signals - signals.mean(axis=0)
    squares = (centred**2).sum(axis=0)
    slopes = (centred * returns).sum(axis=0) / squares
    intercepts = returns.mean(axis=0) - slopes * signals.mean(axis=0)
    residuals = returns - intercepts - slopes * signals
    variance = (residuals**2).sum(axis=0) / (periods - 2)
    intercept_variances = variance * (1 / periods + signals.mean(axis=0) ** 2 / squares)
    return slopes, intercepts, variance / squares, intercept_variances
