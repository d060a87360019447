from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rl_core.statistics import (
    bootstrap_band,
    bootstrap_difference,
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
    stratified_bootstrap,
)


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 10, 11])
def test_interquartile_mean_equals_scipys_trimmed_mean(count, generator):
    scores = generator.normal(size=(count, 3))
    np.testing.assert_allclose(interquartile_mean(scores), stats.trim_mean(scores, 0.25), atol=1e-14)
    np.testing.assert_allclose(interquartile_mean(scores.T, axis=1), interquartile_mean(scores))


def test_one_outlier_run_hardly_moves_the_interquartile_mean():
    scores = np.arange(10.0)
    spoiled = np.where(scores == 9, 1e6, scores)
    assert interquartile_mean(spoiled) == interquartile_mean(scores)


def test_interval_covers_the_truth_about_as_often_as_it_says(generator):
    covered = 0
    for _ in range(200):
        interval = bootstrap_interval(generator.normal(1.0, 1.0, 40), generator=generator, resamples=400)
        covered += interval.low <= 1.0 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_seeds_are_resampled_within_their_own_task(generator):
    # Tasks differ by 100 and seeds do not differ: a stratified draw of the mean can only be 50.
    scores = np.broadcast_to(np.array([0.0, 100.0]), (5, 2))
    draws = stratified_bootstrap(
        scores, generator=generator, resamples=300, statistic=lambda x: np.asarray(x.mean(axis=0))
    )
    np.testing.assert_array_equal(draws, np.full(300, 50.0))


def test_band_agrees_with_intervals_and_keeps_curves_whole(generator):
    scores = generator.normal(size=(8, 1)) + np.zeros((8, 20))
    band = bootstrap_band(scores, generator=generator)
    assert band.low.shape == band.high.shape == band.estimate.shape == (20,)
    # Every curve is flat, so a resample of whole curves is flat too.
    np.testing.assert_allclose(band.low, band.low[0])
    assert np.all(band.low <= band.estimate)
    assert np.all(band.estimate <= band.high)


def test_same_generator_gives_the_same_interval():
    scores = np.random.default_rng(3).normal(size=(10, 4))
    first, second = (bootstrap_interval(scores, generator=np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_pairing_narrows_the_difference_of_correlated_runs(generator):
    common = generator.normal(size=20) * 10
    a, b = common + 1 + 0.1 * generator.normal(size=20), common
    paired = bootstrap_difference(a, b, generator=generator, paired=True)
    unpaired = bootstrap_difference(a, b, generator=generator)
    assert paired.high - paired.low < 0.5 * (unpaired.high - unpaired.low)
    assert paired.excludes(0.0)
    assert not unpaired.excludes(0.0)


def test_probability_of_improvement_counts_ties_half(generator):
    same = np.ones(6)
    assert probability_of_improvement(same, same, generator=generator, resamples=50).estimate == 0.5
    better = probability_of_improvement(same + 1, same, generator=generator, resamples=50)
    assert (better.estimate, better.low, better.high) == (1.0, 1.0, 1.0)


def test_one_seed_has_no_interval(generator):
    interval = bootstrap_interval([0.5], generator=generator)
    assert interval.estimate == 0.5
    assert np.isnan(interval.low)
    assert np.isnan(interval.high)


def test_a_diverged_run_is_named(generator):
    scores = np.ones((4, 3))
    scores[2, 1] = np.nan
    with pytest.raises(ValueError, match=r"seed 2 at \(2, 1\) is nan"):
        bootstrap_interval(scores, generator=generator)


def test_scores_of_other_tasks_cannot_be_compared(generator):
    with pytest.raises(ValueError, match="cannot compare"):
        bootstrap_difference(np.ones((4, 2)), np.ones((4, 3)), generator=generator)
