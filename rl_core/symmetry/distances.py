"""Distances between two laws from samples of them: plug-in values and cross-fitted ones.

Axes: K draws, D numbers a draw, P pairs of samples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
TestFunction = Callable[[Array], Array]

FOLDS = 5
"""Parts of the draws in cross-fitting: test functions are fitted on the other parts."""


def energy_distance(x: Array, y: Array) -> float:
    """Unbiased estimate of 2 E|X − Y| − E|X − X′| − E|Y − Y′| from samples [K, D] and [M, D].

    It is 0 on average, and so negative half of the time, where the laws agree (Székely and Rizzo 2013).
    """
    between = _distances(x, y).mean()
    within = [_distances(z, z).sum() / (len(z) * (len(z) - 1)) for z in (x, y)]
    return float(2 * between - within[0] - within[1])


def wasserstein_of_samples(x: Array, y: Array) -> float:
    """Wasserstein-1 distance between two samples of the same size, [K, D]: sorted in one dimension, else by assignment.

    As an estimate of the distance between the laws it is too large on average, by up to the distance between
    two samples of one law; see `sampled_gaps`.
    """
    if x.shape[1] == 1:
        return float(np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0])).mean())
    cost = _distances(x, y)
    return float(cost[_assignment(cost)].mean())


def cross_fitted(x: Array, y: Array, fit: Callable[[Array, Array], TestFunction]) -> float:
    """E f(X) − E f(Y), with f fitted on the folds that it is not evaluated on; unbiased for that f."""
    folds = min(FOLDS, len(x), len(y))
    values = []
    for fold in range(folds):
        here, there = (np.arange(len(z)) % folds == fold for z in (x, y))
        f = fit(x[~here], y[~there])
        values.append(f(x[here]).mean() - f(y[there]).mean())
    return float(np.mean(values))


def sign_function(x: Array, y: Array) -> TestFunction:
    """Identity or its negative, whichever makes the difference of means positive."""
    sign = np.sign(x.mean() - y.mean())
    return lambda values: sign * values


def lipschitz_function(x: Array, y: Array) -> TestFunction:
    """The 1-Lipschitz function that separates two samples [K, D] best, an optimal Kantorovich potential."""
    cost = _distances(x, y)
    rows, columns = _assignment(cost)
    y, cost = y[columns], cost[:, columns]
    # The dual programme: u_i + v_j ≤ c_ij, equal where i = j. Shortest paths over c_ij − c_ii solve it.
    step = cost - np.diag(cost)[:, None]
    v = np.zeros(len(y))
    for _ in rows:
        shorter = (v[:, None] + step).min(axis=0)
        if np.array_equal(shorter, v):
            break
        v = shorter
    u = np.diag(cost) - v

    def potential(z: Array) -> Array:
        above = (_distances(z, y) - v).min(axis=1)
        below = (u - _distances(z, x)).max(axis=1)
        return np.asarray((above + below) / 2)

    return potential


def _assignment(cost: Array) -> tuple[Integers, Integers]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(cost)
    return rows, columns


def largest_cross_fitted(
    x: Array, y: Array, distance: Callable[[Array, Array], float], fit: Callable[[Array, Array], TestFunction]
) -> float:
    """Largest gap over pairs from draws [P, K, …]: pair and test function from half the draws, measured on the others.

    The largest of noisy values would be too large on average.
    """
    values = []
    for chosen, held in ((slice(0, None, 2), slice(1, None, 2)), (slice(1, None, 2), slice(0, None, 2))):
        found = [distance(a, b) for a, b in zip(x[:, chosen], y[:, chosen], strict=True)]
        pair = int(np.argmax(found))
        f = fit(x[pair, chosen], y[pair, chosen])
        values.append(f(x[pair, held]).mean() - f(y[pair, held]).mean())
    return float(np.mean(values))


def difference_of_means(x: Array, y: Array) -> float:
    """Absolute difference of the means of two samples [K]."""
    return float(abs(x.mean() - y.mean()))


def _distances(x: Array, y: Array) -> Array:
    return np.asarray(np.linalg.norm(x[:, None] - y[None, :], axis=-1))
