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
    """A difference and what is claimed of it: above 0, or (`equal`) nearly 0.

    Attributes
    ----------
    label
        The difference in words.
    pairs
        The scores to compare.
    equal
        True if the claim is that the difference is within `EQUAL` of 0.
    """

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
    """A comparison with its result.

    Attributes
    ----------
    label
        The difference in words.
    interval
        Simultaneous 95 % interval, which decides the answer.
    single
        95 % interval of this comparison alone, not corrected for the others.
    answer
        ``"yes"``, ``"no"`` or ``"undecided"``.
    """

    label: str
    interval: Interval
    single: Interval
    answer: str


def answer_comparisons(
    comparisons: Sequence[Comparison],
    *,
    count: int,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> tuple[Part, ...]:
    """Return the results of comparisons.

    Parameters
    ----------
    comparisons
        The comparisons; each task needs two seeds that all its runs have.
    count
        Number of comparisons of the whole study, for Bonferroni's correction.
    generator
        Source of the bootstrap.
    resamples
        Number of draws R.
    """
    parts = []
    for comparison in comparisons:
        interval, single = mean_difference(
            comparison, errors=(ERROR / count, ERROR), generator=generator, resamples=resamples
        )
        answer = (_equal if comparison.equal else _above)(interval)
        parts.append(Part(comparison.label, interval, single, answer))
    return tuple(parts)


def mean_difference(
    comparison: Comparison,
    *,
    errors: Sequence[float] = (ERROR,),
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
) -> list[Interval]:
    """Return the mean over pairs of the difference of interquartile means over seeds, with intervals.

    Parameters
    ----------
    comparison
        The scores.
    errors
        For each interval, the probability that it misses.
    generator
        Source of the bootstrap.
    resamples
        Number of draws R.
    """
    differences, draws = [], []
    common = comparison.seeds()
    for task, seeds in common.items():
        rows = generator.integers(len(seeds), size=(resamples, len(seeds)))
        for pair in (pair for pair in comparison.pairs if pair.task == task):
            first, second = (np.array([scores[seed] for seed in seeds]) for scores in pair[1:])
            differences.append(interquartile_mean(first) - interquartile_mean(second))
            draws.append(interquartile_mean(first[rows], axis=1) - interquartile_mean(second[rows], axis=1))
    estimate, means = float(np.mean(differences)), np.mean(draws, axis=0)
    counts = [len(seeds) for seeds in common.values()]
    return [_interval(estimate, means, counts, error) for error in errors]


def _interval(estimate: float, draws: Array, seeds: Sequence[int], error: float) -> Interval:
    freedom, fewest = sum(seeds) - len(seeds), min(seeds)
    factor = np.sqrt(fewest / (fewest - 1)) * t.ppf(error / 2, freedom) / norm.ppf(error / 2)
    low, high = estimate + factor * (np.quantile(draws, [error / 2, 1 - error / 2]) - estimate)
    return Interval(estimate, float(low), float(high), confidence=1 - error)


def _above(interval: Interval) -> str:
    return "yes" if interval.low > 0 else "no" if interval.high < 0 else "undecided"


def _equal(interval: Interval) -> str:
    if max(-interval.low, interval.high) < EQUAL:
        return "yes"
    return "no" if interval.low > EQUAL or interval.high < -EQUAL else "undecided"
