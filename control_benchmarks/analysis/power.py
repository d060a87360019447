"""Number of seeds with which a comparison would probably be decided."""

from __future__ import annotations

import numpy as np
from scipy.stats import t

__all__ = ["MOST", "POWER", "seeds_needed"]

POWER = 0.8
MOST = 10_000
"""The largest number that is returned; it means that many or more."""


def seeds_needed(
    difference: float, variance: float, tasks: int, *, error: float, within: float | None = None
) -> int:
    """Return the number of seeds of each task with which an interval decides a comparison in 80 % of studies.

    It is assumed that the true difference is the given one. With m seeds the standard error is √(variance / m), and the
    interval excludes the border with the wanted probability if the distance to it is at least
    (t(1 − error / 2) + t(power)) standard errors, with tasks · (m − 1) degrees of freedom (Julious 2004, "Sample sizes
    for clinical trials with Normal data", Statistics in Medicine 23, for superiority and equivalence).

    Parameters
    ----------
    difference
        Difference of the two sides.
    variance
        Of the estimated difference, times the number of seeds of each task.
    tasks
        Number of tasks.
    error
        Probability that the interval misses.
    within
        Where the claim is that the difference is nearly 0: the largest difference that is still considered equal.

    Returns
    -------
    int
        At least 2, at most `MOST`.
    """
    distance, power = abs(difference), POWER
    if within is not None:
        distance = abs(within - abs(difference))
        if abs(difference) < within:
            # The interval can cross either border, so that each may be crossed half as often.
            power = (1 + POWER) / 2
    seeds = np.arange(2, MOST + 1)
    freedom = tasks * (seeds - 1)
    wanted = t.ppf(1 - error / 2, freedom) + t.ppf(power, freedom)
    enough = distance * np.sqrt(seeds) >= wanted * np.sqrt(variance)
    return int(seeds[enough.argmax()]) if enough.any() else MOST
