"""Rules of portfolios that a desk would hold: risk parity, mean–variance, trend.

A rule turns closes [T, N] into weights [N]; see `trading_app.market.base`. Covariances are shrunk as Ledoit and Wolf
(2004); the portfolios are those of ``skfolio``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import DataError
from trading_app.market.base import (
    MINIMUM,
    WINDOW,
    Floats,
    deviation,
    returns_of,
    usable_returns,
    usable_symbols,
)

if TYPE_CHECKING:
    from skfolio.prior import EmpiricalPrior

__all__ = [
    "hierarchical_risk_parity_weights",
    "mean_variance_weights",
    "risk_parity_weights",
    "trend_weights",
]

RISK_AVERSION = 5.0
"""Of the mean–variance portfolio: it maximises mean − ½ · aversion · variance."""


def risk_parity_weights(closes: Floats) -> Floats | None:
    """Return long-only weights with which every symbol adds the same share of the variance.

    Maillard, Roncalli and Teïletche, "The Properties of Equally Weighted Risk Contribution Portfolios" (2010).
    """
    from skfolio.optimization import RiskBudgeting

    return _fitted(closes, RiskBudgeting(prior_estimator=_prior()), "risk-parity")


def hierarchical_risk_parity_weights(closes: Floats) -> Floats | None:
    """Return the weights of hierarchical risk parity.

    López de Prado, "Building Diversified Portfolios that Outperform Out of Sample" (2016).
    """
    from skfolio.optimization import HierarchicalRiskParity

    return _fitted(closes, HierarchicalRiskParity(prior_estimator=_prior()), "hierarchical-risk-parity")


def mean_variance_weights(closes: Floats) -> Floats | None:
    """Return the long-only, fully invested portfolio of the highest mean less half `RISK_AVERSION` times its variance.

    Means are shrunk as James and Stein.
    """
    from skfolio.optimization import MeanRisk, ObjectiveFunction

    model = MeanRisk(
        objective_function=ObjectiveFunction.MAXIMIZE_UTILITY,
        risk_aversion=RISK_AVERSION / 2,
        prior_estimator=_prior(),
    )
    return _fitted(closes, model, "mean-variance")


def trend_weights(closes: Floats) -> Floats | None:
    """Return inverse-volatility weights of the symbols that rose over the last 252 sessions; the others are in cash.

    Moskowitz, Ooi and Pedersen, "Time Series Momentum", Journal of Financial Economics 2012, without short positions.
    """
    if len(closes) <= WINDOW:
        return None
    spread = deviation(returns_of(closes))
    usable = usable_symbols(closes, MINIMUM) & (spread > 0)
    if not usable.any():
        return None
    weights = np.where(usable, 1.0 / np.where(usable, spread, 1.0), 0.0)
    rose = np.where(usable & np.isfinite(closes[0]), closes[-1], 0.0) > closes[0]
    held: Floats = weights / weights.sum() * rose
    return held


def _prior() -> EmpiricalPrior:
    """Return moments with a covariance shrunk as Ledoit and Wolf, and means as James and Stein."""
    from skfolio.moments import LedoitWolf, ShrunkMu
    from skfolio.prior import EmpiricalPrior

    return EmpiricalPrior(
        covariance_estimator=LedoitWolf(), mu_estimator=ShrunkMu(covariance_estimator=LedoitWolf())
    )


def _fitted(closes: Floats, model: Any, name: str) -> Floats | None:
    """Return the weights of a model of skfolio on the returns of the symbols with enough history."""
    usable, sample = usable_returns(closes, MINIMUM)
    if not usable.any():
        return None
    weights: Floats = np.zeros(closes.shape[1])
    if usable.sum() == 1:
        return usable.astype(np.float64)
    try:
        weights[usable] = np.maximum(model.fit(sample).weights_, 0.0)
    except Exception as error:  # each solver has errors of its own
        reason = "every price is constant" if not sample.any() else " ".join(str(error).split())
        raise DataError(
            f"{name}: no such portfolio was found ({reason}); choose another baseline or leave out symbols without "
            "price changes"
        ) from None
    total: float = weights.sum()
    return weights / total
