"""Numbers of seeds that a decision needs, on made-up scores whose effect is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from control_benchmarks.analysis.claims import Claim
from control_benchmarks.analysis.comparisons import ERROR, Comparison, Pair, Part, answer_comparisons
from control_benchmarks.analysis.power import MOST, seeds_needed
from rl_core.statistics import Interval, interquartile_mean


def made_up(random, seeds, *, effect, tasks=3, equal=False):
    """Scores of two agents with variance 1 each."""
    pairs = []
    for task in range(tasks):
        first, second = random.normal(size=(2, seeds))
        pairs.append(Pair(str(task), dict(enumerate(effect + first)), dict(enumerate(second))))
    return Comparison("first minus second", pairs, equal)


def test_many_seeds_follow_the_normal_formula():
    # Lehr's rule: 16 / effect² seeds of each of two sides of variance 1, with 5 % error.
    assert seeds_needed(0.1, 2.0, 1, error=0.05) == pytest.approx(1600, rel=0.03)
    wanted = (norm.ppf(1 - 0.001) + norm.ppf(0.8)) ** 2 / 0.04
    assert seeds_needed(-0.2, 1.0, 1, error=0.002) == pytest.approx(wanted, rel=0.05)


def test_more_is_needed_for_smaller_effects_more_noise_and_more_comparisons():
    base = seeds_needed(0.3, 1.0, 3, error=0.05)
    assert seeds_needed(0.2, 1.0, 3, error=0.05) > base
    assert seeds_needed(0.3, 2.0, 3, error=0.05) > base
    assert seeds_needed(0.3, 1.0, 3, error=0.005) > base
    assert seeds_needed(0.0, 1.0, 3, error=0.05) == MOST
    assert seeds_needed(0.3, 0.0, 3, error=0.05) == 2


def test_equality_needs_most_at_its_border():
    inside, border, outside = (
        seeds_needed(difference, 0.01, 3, error=0.05, within=0.05) for difference in (0.0, 0.05, 0.2)
    )
    assert border == MOST
    assert 2 < outside < inside < MOST


def true_variance(random, *, tasks=3, seeds=400):
    """Variance of the difference of interquartile means over the tasks, times the seeds of each."""
    sides = interquartile_mean(random.normal(size=(2, 2000, tasks, seeds)), axis=3)
    return seeds * float(np.var((sides[0] - sides[1]).mean(axis=1)))


def test_so_many_seeds_decide_four_studies_of_five():
    random = np.random.default_rng(0)
    needed = seeds_needed(0.5, true_variance(random), 3, error=ERROR / 12)
    decided = 0
    for _ in range(150):
        comparison = made_up(random, needed, effect=0.5)
        (found,) = answer_comparisons([comparison], count=12, generator=random, resamples=2000)
        decided += found.answer == "yes"
    assert 0.7 < decided / 150 < 0.9


def test_a_pilot_study_finds_the_number():
    random = np.random.default_rng(0)
    truth = seeds_needed(0.5, true_variance(random), 3, error=ERROR / 12)
    found = []
    for _ in range(60):
        (pilot,) = answer_comparisons(
            [made_up(random, 10, effect=0.5)], count=12, generator=random, resamples=500
        )
        if pilot.seeds_needed is not None:
            assert pilot.expected == ("yes" if pilot.interval.estimate > 0 else "no")
            # Numbers go with the inverse square of the effect: as if the pilot had found the true one.
            found.append(pilot.seeds_needed * (pilot.interval.estimate / 0.5) ** 2)
    assert len(found) > 30
    assert np.median(found) == pytest.approx(truth, rel=0.25)


def part(answer, needed=None, expected=None):
    interval = Interval(0.0, -1.0, 1.0)
    return Part("", interval, interval, answer, needed, expected)


@pytest.mark.parametrize(
    ("parts", "needed"),
    [
        ([part("yes")], None),
        ([part("yes"), part("undecided", 12, "yes"), part("undecided", 30, "yes")], 30),
        ([part("undecided", 12, "yes"), part("undecided", 30, "no"), part("undecided", 40, "no")], 30),
    ],
)
def test_a_claim_needs_all_for_it_or_one_against_it(parts, needed):
    answer = "yes" if needed is None else "undecided"
    claim = Claim("a", "text", answer, tuple(parts))
    assert claim.seeds_needed == needed
    assert claim.sentence == "(a) text: yes" if needed is None else f"about {needed} seeds" in claim.sentence
