"""Probability of backtest overfitting, and cross-validation of a choice: noise, and one that is truly best."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata

from data.errors import DataError
from trading_app.evaluation.cross_validation import combinatorial_splits, cross_validate
from trading_app.evaluation.metrics import sharpe
from trading_app.evaluation.overfitting import overfitting


def noise(seed: int, sessions: int = 640, configurations: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (sessions, configurations))


def test_pure_noise_is_overfitted_half_of_the_time() -> None:
    found = [overfitting(noise(seed), blocks=8).probability for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_one_truly_best_configuration_is_not_overfitted() -> None:
    returns = noise(0, sessions=2000)
    returns[:, 3] += 0.002
    found = overfitting(returns)
    assert found.probability < 0.001
    assert found.combinations == 12870
    assert found.achieved == pytest.approx(0.2 * np.sqrt(252), rel=0.2)
    assert found.loss == 0.0


def test_it_is_the_definition_written_out() -> None:
    returns = noise(7, sessions=67, configurations=5)
    blocks = np.array_split(returns, 6)
    below = []
    for half in combinations(range(6), 3):
        inside = np.concatenate([blocks[k] for k in half])
        outside = np.concatenate([blocks[k] for k in range(6) if k not in half])
        rank = rankdata(sharpe(outside))[sharpe(inside).argmax()] / 6
        logit = np.log(rank / (1 - rank))
        below.append(1.0 if logit < -1e-9 else 0.5 if logit < 1e-9 else 0.0)
    assert overfitting(returns, blocks=6).probability == pytest.approx(np.mean(below))


def test_the_choice_regresses_to_the_mean_under_noise() -> None:
    found = overfitting(noise(1))
    assert found.chosen > 1.0
    assert found.achieved < 0.5 * found.chosen


def test_equal_and_still_configurations_are_at_the_median() -> None:
    few = overfitting(np.zeros((45, 4)))
    assert (few.probability, few.blocks) == (0.5, 10)
    assert overfitting(np.repeat(noise(2)[:, :1], 3, axis=1)).probability == 0.5


@pytest.mark.parametrize(
    ("shape", "blocks", "message"),
    [
        ((100, 1), 16, "at least 2 of them"),
        ((100, 3), 7, "even number from 2 to 20"),
        ((63, 3), 16, "give at least 64"),
    ],
)
def test_what_cannot_be_measured_is_refused(shape: tuple[int, int], blocks: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        overfitting(np.zeros(shape), blocks=blocks)
    with pytest.raises(DataError, match="missing or infinite"):
        overfitting(np.full((64, 2), np.nan), blocks=4)


def test_splits_cover_each_date_once_a_path_and_keep_a_distance() -> None:
    splits = list(combinatorial_splits(103, folds=6, test_folds=2, purge=2, embargo=3))
    assert len(splits) == 15
    covered = np.zeros((103, 5))
    for split in splits:
        for path, days in split.tests:
            covered[days, path] += 1
            assert not np.isin(split.train, days).any()
            after = np.arange(days[-1] + 1, days[-1] + 6)
            assert not np.isin(split.train, after).any()
            assert not np.isin(split.train, [days[0] - 1, days[0] - 2]).any()
    assert (covered == 1).all()
    with pytest.raises(DataError, match="20 sessions in 10 folds"):
        list(combinatorial_splits(20))


def test_paths_follow_the_best_where_one_is_truly_best_and_gain_nothing_under_noise() -> None:
    dates = pd.bdate_range("2010-01-01", periods=1500)
    returns = pd.DataFrame(noise(3, sessions=1500, configurations=4), dates, list("abcd"))
    returns["b"] += 0.003
    found = cross_validate(returns, folds=6)
    assert found.choices == pytest.approx({"a": 0, "b": 1, "c": 0, "d": 0})
    assert found.paths.eq(returns["b"], axis=0).all(axis=None)
    assert found.sharpes == pytest.approx([float(sharpe(returns["b"]))] * 5)
    of_noise = [
        np.mean(cross_validate(pd.DataFrame(noise(seed, 600, 4)), folds=6, test_folds=2).sharpes)
        for seed in range(40)
    ]
    assert abs(np.mean(of_noise)) < 0.4
