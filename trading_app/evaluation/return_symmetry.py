"""Tests of the symmetries of returns: their conditional distribution given features against its transform.

The energy distance between two distributions of a number is 2 ∫ (F − G)² over their distribution functions. Here F
and G are conditional: at each of many feature vectors the distribution of the next return is estimated with Gaussian
kernel weights, once from the data and once from the transformed data, and the distances are averaged with the weight
of the data there. A p-value comes from transforming random blocks of consecutive periods: if the symmetry holds, this
does not change the distribution, and blocks preserve the dependence over time and between assets.

Axes: T time, N assets, C features, M blocks, E evaluation points, Q points of the distribution functions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from rl_core.errors import ConfigError

__all__ = ["SymmetryTest", "exchange_test", "mirror_test"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SymmetryTest:
    """Outcome of a test of one symmetry over one period.

    Attributes
    ----------
    statistic
        Conditional energy distance between the distribution and its transform.
    expected
        Its mean over block permutations: the effect of noise alone.
    p_value
        Share of block permutations with a statistic at least as large.
    blocks
        Number of blocks; with few of them a small p-value cannot be reached.
    """

    symmetry: Literal["mirror", "exchange"]
    period: Hashable
    statistic: float
    expected: float
    p_value: float
    blocks: int

    @property
    def excess(self) -> float:
        """Distance above that of noise: near 0 if the symmetry holds."""
        return self.statistic - self.expected


@dataclass(frozen=True)
class _Sums:
    """Kernel-weighted sums of each block and asset: ``below`` [M, N, E, Q] and ``weight`` [M, N, E]."""

    below: Array
    weight: Array


def mirror_test(
    features: npt.ArrayLike,
    parity: npt.ArrayLike,
    returns: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    block: int = 21,
    permutations: int = 499,
    points: int = 128,
    period: Hashable = "all",
) -> SymmetryTest:
    """Test whether r given x has the distribution of −r given gx; g negates the odd features.

    Parameters
    ----------
    features
        [T, N, C], known before the returns.
    parity
        [C]: −1 for features that the mirror negates, +1 for the others.
    returns
        [T, N], of the next period; scale them by trailing volatility, so that calm and volatile times have
        equal weight. Missing returns (NaN) are left out.
    generator
        Draws evaluation points and permutations.
    block
        Length of a block in periods, longer than the dependence over time.
    permutations, points
        Numbers of block permutations and of evaluation points.
    period
        Label for the result.
    """
    x, r, scaled_parity = _prepare(features, returns, parity)
    grid = _quantiles(np.concatenate([r.ravel(), -r.ravel()]))
    where, width = _evaluation_points(x, r, points, generator)
    spans = list(_blocks(len(r), block))
    trust = _overlap([x, x * scaled_parity], _sample(x, r, 2000, generator), width)
    original = _sum_over_assets(_sums(x, r, trust, where, width, grid, spans))
    transformed = _sum_over_assets(_sums(x * scaled_parity, -r, trust, where, width, grid, spans))

    def statistic(flips: Array) -> Array:  # [R, M] of 0 and 1
        first = _mixture(flips, original, transformed)
        second = _mixture(1 - flips, original, transformed)
        return _distance(first, second, grid)

    observed = statistic(np.zeros((1, len(spans))))[0]
    null = statistic(generator.integers(2, size=(permutations, len(spans))).astype(np.float64))
    return _outcome("mirror", period, observed, null, len(spans))


def exchange_test(
    features: npt.ArrayLike,
    returns: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    block: int = 21,
    permutations: int = 499,
    points: int = 128,
    period: Hashable = "all",
) -> SymmetryTest:
    """Test whether an asset's return given its features has the same distribution for every asset (two or more).

    The distance is between each asset's distribution and that of all assets together, averaged over assets. The
    permutations exchange the assets within blocks. The arguments are those of `mirror_test`.
    """
    x, r, _ = _prepare(features, returns, None)
    assets = r.shape[1]
    if assets < 2:
        raise ConfigError("the exchange test needs at least two assets")
    grid = _quantiles(r.ravel())
    where, width = _evaluation_points(x, r, points, generator)
    spans = list(_blocks(len(r), block))
    references = [_sample(x[:, [i]], r[:, [i]], 1 + 4000 // assets, generator) for i in range(assets)]
    trust = _overlap_of_assets(x, references, width)
    sums = _sums(x, r, trust, where, width, grid, spans)
    everyone = _Sums(sums.below.sum(axis=(0, 1)), sums.weight.sum(axis=(0, 1)))
    blocks = np.arange(len(spans))[:, None]

    def statistic(order: npt.NDArray[np.int64]) -> float:  # [M, N]
        own = _Sums(sums.below[blocks, order].sum(axis=0), sums.weight[blocks, order].sum(axis=0))
        return float(_distance(own, everyone, grid).mean())

    same = np.broadcast_to(np.arange(assets), (len(spans), assets))
    null = np.array([statistic(generator.permuted(same, axis=1)) for _ in range(permutations)])
    return _outcome("exchange", period, statistic(same), null, len(spans))


def _prepare(
    features: npt.ArrayLike, returns: npt.ArrayLike, parity: npt.ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Return features at unit scale (odd ones are not centred), returns and parity."""
    x, r = np.array(features, dtype=np.float64), np.asarray(returns, dtype=np.float64)
    if x.ndim != 3 or r.shape != x.shape[:2]:
        raise ConfigError(f"features {x.shape} and returns {r.shape} are not of shapes [T, N, C] and [T, N]")
    signs = np.ones(x.shape[2]) if parity is None else np.asarray(parity, dtype=np.float64)
    if signs.shape != x.shape[2:] or not np.isin(signs, (-1, 1)).all():
        raise ConfigError(f"parity must be {x.shape[2]} numbers of −1 or +1, one a feature")
    r = np.where(np.isfinite(x).all(axis=2), r, np.nan)
    known = np.isfinite(r)
    if known.sum() < 2:
        raise ConfigError("fewer than two known returns in the period")
    x[~known] = 0
    centre = np.where(signs > 0, x[known].mean(axis=0), 0)
    scale = np.sqrt(np.mean((x[known] - centre) ** 2, axis=0))
    return (x - centre) / np.where(scale > 0, scale, 1), r, signs


def _quantiles(values: Array, points: int = 24) -> Array:
    """Return the grid of the distribution functions: quantiles of the returns."""
    return np.unique(np.nanquantile(values, (np.arange(points) + 0.5) / points))


def _sample(x: Array, r: Array, size: int, generator: np.random.Generator) -> Array:
    """Return the features of up to `size` known samples [·, C]."""
    known = x[np.isfinite(r)]
    return np.asarray(known[generator.choice(len(known), size=min(size, len(known)), replace=False)])


def _evaluation_points(
    x: Array, r: Array, points: int, generator: np.random.Generator
) -> tuple[Array, float]:
    """Return feature vectors at which distributions are compared, and the kernel width: half their median distance."""
    chosen = _sample(x, r, points, generator)
    apart = np.sqrt(((chosen[:, None] - chosen) ** 2).sum(axis=-1))
    middle = float(np.median(apart[np.triu_indices(len(chosen), 1)])) if len(chosen) > 1 else 1.0
    return chosen, max(middle / 2, 1e-6)


def _kernel(x: Array, where: Array, width: float) -> Array:
    """Return Gaussian weights of each point [E, C] for each sample [..., C]: [..., E]."""
    squares = (x**2).sum(axis=-1)[..., None] + (where**2).sum(axis=-1) - 2 * x @ where.T
    return np.asarray(np.exp(-0.5 * np.maximum(squares, 0) / width**2))


def _density(x: Array, sample: Array, width: float) -> Array:
    """Return the density of a sample [n, C] at x [T, N, C], up to a constant; in slices, to bound memory."""
    rows = max(1, 2_000_000 // (x.shape[1] * len(sample)))
    parts = [_kernel(x[t : t + rows], sample, width).mean(axis=-1) for t in range(0, len(x), rows)]
    return np.concatenate(parts) + np.finfo(np.float64).tiny


def _overlap(images: Sequence[Array], sample: Array, width: float) -> Array:
    """Return weights [T, N] under which the data and the mirrored data have the same density of features."""
    here, there = (_density(x, sample, width) for x in images)
    return np.asarray(there / (here + there))


def _overlap_of_assets(x: Array, samples: Sequence[Array], width: float) -> Array:
    """Return weights [T, N] under which all assets have the same density of features, their harmonic mean."""
    # An asset without returns in the period has no density and must not affect the others.
    nothing = np.zeros(x.shape[:2])
    densities = [1 / _density(x, sample, width) if len(sample) else nothing for sample in samples]
    inverse = np.stack(densities, axis=-1)  # [T, N, N]
    own = np.einsum("tii->ti", inverse)
    return np.asarray(own / inverse.sum(axis=-1))


def _blocks(times: int, length: int) -> Iterator[slice]:
    count = max(1, times // length)
    edges = np.linspace(0, times, count + 1).astype(int)
    return (slice(a, b) for a, b in pairwise(edges))


def _sums(
    x: Array, r: Array, trust: Array, where: Array, width: float, grid: Array, spans: Sequence[slice]
) -> _Sums:
    assets = r.shape[1]
    below = np.zeros((len(spans), assets, len(where), len(grid)))
    weight = np.zeros((len(spans), assets, len(where)))
    for m, span in enumerate(spans):
        known = np.isfinite(r[span]) * trust[span]
        kernel = _kernel(x[span], where, width) * known[:, :, None]  # [t, N, E]
        under = (r[span][:, :, None] <= grid).astype(np.float64)  # [t, N, Q]; False for NaN
        below[m] = np.einsum("tne,tnq->neq", kernel, under, optimize=True)
        weight[m] = kernel.sum(axis=0)
    return _Sums(below, weight)


def _sum_over_assets(sums: _Sums) -> _Sums:
    return _Sums(sums.below.sum(axis=1), sums.weight.sum(axis=1))


def _mixture(flips: Array, original: _Sums, transformed: _Sums) -> _Sums:
    """Return sums over blocks with the flipped blocks transformed, for each row of flips [R, M]."""

    def mix(a: Array, b: Array) -> Array:
        return (np.tensordot(1 - flips, a, axes=1) + np.tensordot(flips, b, axes=1)).astype(np.float64)

    return _Sums(mix(original.below, transformed.below), mix(original.weight, transformed.weight))


def _distance(first: _Sums, second: _Sums, grid: Array) -> Array:
    """Return the energy distance, averaged over evaluation points with the weight of the data there."""
    tiny = np.finfo(np.float64).tiny
    gap = first.below / (first.weight[..., None] + tiny) - second.below / (second.weight[..., None] + tiny)
    energy = 2 * (gap[..., :-1] ** 2 * np.diff(grid)).sum(axis=-1)
    # A distribution estimated from little data is noise: weigh by the harmonic mean of both weights.
    trust = first.weight * second.weight / (first.weight + second.weight + tiny)
    return np.asarray((trust * energy).sum(axis=-1) / (trust.sum(axis=-1) + tiny))


def _outcome(
    symmetry: Literal["mirror", "exchange"], period: Hashable, observed: float, null: Array, blocks: int
) -> SymmetryTest:
    # Equal up to rounding counts as equal: with few blocks many permutations have no effect.
    reached = int((null >= observed * (1 - 1e-9)).sum())
    p_value = (1 + reached) / (1 + len(null))
    return SymmetryTest(symmetry, period, float(observed), float(null.mean()), p_value, blocks)
