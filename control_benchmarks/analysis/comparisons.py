"""Comparisons of agents over tasks and variants, with intervals that account for shared seeds and for their number.

All variants and agents of a task are trained on the same seeds, which fix the first experience and the evaluation
episodes. So the bootstrap draws the seeds of a task with replacement and uses one draw for all its variants and for
both agents. Tasks are drawn independently and are not resampled themselves: results hold for these tasks.

Bootstrap intervals of few seeds are too narrow. Their distance from the estimate is multiplied by
t / z sqrt(n / (n - 1)), with n seeds a task, the quantile z of the normal and t of the t distribution, whose degrees
of freedom are the seeds of all tasks minus the number of tasks (Hesterberg 2015, "What Teachers Should Know About the
Bootstrap", section 3.2).

A study makes several comparisons. By Bonferroni's correction, with m comparisons each simultaneous interval has the
level 1 - 0.05 / m, and all of them together have at least 95 %.

Axes: S seeds, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from control_benchmarks.analysis.power import seeds_needed
from rl_core.statistics import Interval, interquartile_mean

Array = NDArray[np.float64]
ERROR = 0.05  # probability that any of a study's simultaneous intervals misses
EQUAL = 0.05  # scores closer than this are considered equal
RESAMPLES = 100_000  # the tail of a simultaneous interval has some 200 of them


class Pair(NamedTuple):
    """Scores of one task and variant by seed, of the two sides of a comparison."""

    task: str
    first: Mapping[int, float]
    second: Mapping[int, float]


@dataclass(frozen=True)
class Comparison:
    """A difference in words, the scores to compare, and what is claimed: above 0, or (`equal`) within `EQUAL` of 0."""

    label: str
    pairs: Sequence[Pair]
    equal: bool = False

    def seeds(self) -> dict[str, list[int]]:
        """Return the seeds of each task that all its pairs have."""
        found: dict[str, set[int]] = {}
        for task, first, second in self.pairs:
            found[task] = found.get(task, set(first)) & set(first) & set(second)
        return {task: sorted(seeds) for task, seeds in sorted(found.items())}

    @property
    def possible(self) -> bool:
        """True if there are pairs, with at least two common seeds in each task."""
        return bool(self.pairs) and min(map(len, self.seeds().values())) > 1


@dataclass(frozen=True)
class Part:
    """A comparison with its result: ``"yes"``, ``"no"`` or ``"undecided"``.

    The simultaneous 95 % interval decides; `single` is that of this comparison alone, not corrected for the others.
    Where it is undecided, `seeds_needed` of each task would probably decide it, and the answer be `expected`, if the
    difference is the measured one (`control_benchmarks.analysis.power`).
    """

    label: str
    interval: Interval
    single: Interval
    answer: str
    seeds_needed: int | None = None
    expected: str | None = None


def answer_comparisons(
    comparisons: Sequence[Comparison],
    *,
    count: int,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[Part, ...]:
    """Return the results of comparisons of R resamples; each task needs two seeds that all its runs have.

    `count` is the number of comparisons of the whole study, for Bonferroni's correction.
    """
    return tuple(_part(comparison, count, generator, resamples) for comparison in comparisons)


def _part(comparison: Comparison, count: int, generator: np.random.Generator, resamples: int) -> Part:
    found = _resample(comparison, generator, resamples)
    interval, single = (found.interval(error) for error in (ERROR / count, ERROR))
    answer = (_equal if comparison.equal else _above)(interval)
    if answer != "undecided":
        return Part(comparison.label, interval, single, answer)
    within = EQUAL if comparison.equal else None
    needed = seeds_needed(
        found.estimate, found.variance, len(found.seeds), error=ERROR / count, within=within
    )
    holds = abs(found.estimate) < EQUAL if comparison.equal else found.estimate > 0
    return Part(comparison.label, interval, single, answer, needed, "yes" if holds else "no")


def mean_difference(
    comparison: Comparison,
    *,
    errors: Sequence[float] = (ERROR,),
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """Return the mean over pairs of the difference of interquartile means over seeds, with intervals of R resamples.

    `errors` has the probability that an interval misses, for each interval.
    """
    found = _resample(comparison, generator, resamples)
    return [found.interval(error) for error in errors]


class _Resampled(NamedTuple):
    """A mean difference, its bootstrap draws [R], the seeds of each task, and the variance times seeds a task."""

    estimate: float
    draws: Array
    seeds: Sequence[int]
    variance: float

    def interval(self, error: float) -> Interval:
        freedom, fewest = sum(self.seeds) - len(self.seeds), min(self.seeds)
        factor = np.sqrt(fewest / (fewest - 1)) * t.ppf(error / 2, freedom) / norm.ppf(error / 2)
        quantiles = np.quantile(self.draws, [error / 2, 1 - error / 2])
        low, high = self.estimate + factor * (quantiles - self.estimate)
        return Interval(self.estimate, float(low), float(high), confidence=1 - error)


def _resample(comparison: Comparison, generator: np.random.Generator, resamples: int) -> _Resampled:
    differences: list[float] = []
    draws: list[Array] = []
    variance = 0.0
    common = comparison.seeds()
    for task, seeds in common.items():
        count = len(seeds)
        rows = generator.integers(count, size=(resamples, count))
        start = len(draws)
        for pair in (pair for pair in comparison.pairs if pair.task == task):
            first, second = (np.array([scores[seed] for seed in seeds]) for scores in pair[1:])
            differences.append(float(interquartile_mean(first) - interquartile_mean(second)))
            draws.append(interquartile_mean(first[rows], axis=1) - interquartile_mean(second[rows], axis=1))
        # Without the factor n / (n - 1), bootstrap variances of few seeds are too small.
        variance += count**2 / (count - 1) * float(np.var(np.sum(draws[start:], axis=0)))
    counts = [len(seeds) for seeds in common.values()]
    return _Resampled(float(np.mean(differences)), np.mean(draws, axis=0), counts, variance / len(draws) ** 2)


def _above(interval: Interval) -> str:
    return "yes" if interval.low > 0 else "no" if interval.high < 0 else "undecided"


def _equal(interval: Interval) -> str:
    if max(-interval.low, interval.high) < EQUAL:
        return "yes"
    return "no" if interval.low > EQUAL or interval.high < -EQUAL else "undecided"
