"""Intervals of comparisons: shared seeds, few seeds, and several comparisons at a time."""

from __future__ import annotations

import numpy as np
import pytest

from control_benchmarks.analysis.claims import Study, claims
from control_benchmarks.analysis.comparisons import Comparison, Pair, answer_comparisons, mean_difference
from control_benchmarks.experiments.results import read_directory


def by_seed(values):
    return dict(enumerate(values))


def made_up(random, *, tasks=3, variants=3, seeds=5, effect=0.0):
    """Scores with an effect of the seed that all variants of a task and agent share, and one that agents share."""
    pairs = []
    for task in range(tasks):
        both, first, second = random.normal(size=(3, seeds))
        for _ in range(variants):
            noise = 0.2 * random.normal(size=(2, seeds))
            pairs.append(
                Pair(str(task), by_seed(effect + both + first + noise[0]), by_seed(both + second + noise[1]))
            )
    return Comparison("first minus second", pairs)


def test_differences_are_averaged_over_cells():
    random = np.random.default_rng(0)
    pairs = [
        Pair("a", by_seed(random.normal(1.0, 0.01, 10)), by_seed(random.normal(0.5, 0.01, 10))),
        Pair("b", by_seed(random.normal(0.0, 0.01, 10)), by_seed(random.normal(0.0, 0.01, 10))),
    ]
    (found,) = mean_difference(Comparison("", pairs), generator=random)
    assert found.low < 0.25 < found.high
    assert found.high - found.low < 0.05


def test_another_variant_with_the_same_scores_is_no_new_evidence():
    random = np.random.default_rng(0)
    first, second = by_seed(random.normal(size=5)), by_seed(random.normal(size=5))
    widths = []
    for copies in (1, 4):
        comparison = Comparison("", [Pair("a", first, second)] * copies)
        (found,) = mean_difference(comparison, generator=np.random.default_rng(0))
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(widths[1])


def test_what_agents_share_by_seed_cancels():
    shared = np.random.default_rng(0).normal(size=5)
    comparison = Comparison("", [Pair("a", by_seed(shared + 0.1), by_seed(shared))])
    (found,) = mean_difference(comparison, generator=np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_intervals_contain_the_truth_as_often_as_they_say():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        (found,) = mean_difference(made_up(random, effect=0.5), generator=random, resamples=500)
        covered += found.low <= 0.5 <= found.high
    assert covered / 400 > 0.94


def test_twelve_comparisons_without_a_difference_rarely_find_one():
    random = np.random.default_rng(0)
    studies = 60
    wrong = 0
    for _ in range(studies):
        comparisons = [made_up(random) for _ in range(12)]
        parts = answer_comparisons(comparisons, count=12, generator=random, resamples=4000)
        wrong += any(part.answer != "undecided" for part in parts)
        assert all(part.interval.low <= part.single.low for part in parts)
        assert all(part.interval.high >= part.single.high for part in parts)
    assert wrong / studies <= 0.1


def test_only_seeds_that_all_runs_of_a_task_have_are_compared():
    pairs = [
        Pair("a", by_seed([1, 2, 3]), by_seed([1, 2])),
        Pair("b", by_seed([1, 2, 3]), by_seed([1, 2, 3])),
    ]
    assert Comparison("", pairs).seeds() == {"a": [0, 1], "b": [0, 1, 2]}
    assert not Comparison("", [Pair("a", {0: 1.0}, {0: 1.0, 1: 2.0})]).possible
    assert not Comparison("", []).possible


def test_a_single_seed_decides_no_claim(tmp_path, write_run):
    for agent, level in (("relaxed", 900), ("dense", 100)):
        write_run(tmp_path, "reacher_easy", "original", agent, level, seeds=1)
    assert claims(Study(read_directory(tmp_path))) == ()
