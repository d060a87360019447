"""Shrinkage of estimates over assets by empirical Bayes.

Efron and Morris, "Data Analysis Using Stein's Estimator and its Generalizations", Journal of the American Statistical
Association 1975. Axes: N assets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["reliability_of_mean", "shrink"]

Array = npt.NDArray[np.float64]


def shrink(estimates: Array, variances: Array) -> Array:
    """Return estimates [N] shrunk towards their mean by the share of their spread that sampling explains."""
    if len(estimates) < 2:
        return estimates
    between = max(0.0, float(estimates.var(ddof=1) - variances.mean()))
    mean = estimates.mean()
    shrunk: Array = mean + (estimates - mean) * between / (between + variances)
    return shrunk


def reliability_of_mean(mean: float, variances: Array) -> float:
    """Return the share of a mean's square that its sampling variance does not explain."""
    sampling = float(variances.mean()) / len(variances)
    return max(0.0, 1.0 - sampling / max(mean**2, 1e-300))
