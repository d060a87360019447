"""Choice of an ensemble's size and speed from rewards."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from trading_app.evaluation.sizing import SETTINGS, Sizing, best_sizing, sizes_by_asset, trainings_at_base

SESSIONS = 500


def rewards(gains: dict[int, float], noise: float = 0.01) -> np.ndarray:
    """Rewards of all settings [T, P]: of equal noise, and with these means above the base."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((SESSIONS, 1))
    own = noise * rng.standard_normal((SESSIONS, len(SETTINGS)))
    mean = np.array([gains.get(place, -0.01) for place in range(len(SETTINGS))])
    mean[0] = 0.0
    return np.asarray(common + own - own.mean(axis=0) + mean)


def test_the_setting_that_earns_most_is_chosen() -> None:
    found = best_sizing(rewards({3: 0.004, 9: 0.006}))
    assert (found.size, found.speed) == SETTINGS[9]
    assert found.gain == pytest.approx(0.006)
    assert found.error == pytest.approx(0.01 * np.sqrt(2 / SESSIONS), rel=0.2)
    assert (found.sessions, found.holds_base) == (SESSIONS, False)


def test_the_base_is_held_without_evidence() -> None:
    found = best_sizing(rewards({9: 0.001}))  # 0.001 is about 1.6 standard errors
    assert (found.size, found.speed) == SETTINGS[0] == (0.0, 1.0)
    assert found.gain == pytest.approx(0.001)
    assert found.gain < 2 * found.error
    assert found.holds_base


def paths(slopes: np.ndarray, noise: float, sessions: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Aims and returns [T, N] of assets with these slopes."""
    rng = np.random.default_rng(1)
    aims = rng.standard_normal((sessions, len(slopes)))
    return aims, slopes * aims + noise * rng.standard_normal(aims.shape)


def test_sizes_of_assets_are_their_slopes_where_these_are_certain() -> None:
    slopes = np.array([0.5, 1.0, 1.5, 1.0])
    np.testing.assert_allclose(sizes_by_asset(*paths(slopes, 0.1)), slopes, atol=0.01)


def test_sizes_of_assets_are_nearly_equal_where_slopes_differ_by_chance() -> None:
    aims, returns = paths(np.ones(200), 30.0)
    found = (aims * returns).mean(axis=0)
    sizes = sizes_by_asset(aims, returns)
    assert found.std() / found.mean() > 0.4
    assert sizes.std() < 0.15
    assert sizes.mean() == pytest.approx(1.0)


def test_an_asset_with_few_returns_has_the_mean_size_and_none_is_negative() -> None:
    aims, returns = paths(np.array([-1.0, 1.0, 2.0, 2.0]), 0.1)
    returns[50:, 1] = np.nan
    sizes = sizes_by_asset(aims, returns)
    assert (sizes[0], sizes[1]) == (0.0, 1.0)
    assert sizes[2] == pytest.approx(2.0, abs=0.01)
    assert sizes_by_asset(aims, -returns).tolist() == [1.0] * 4  # returns against the aims: no sizes


def test_sizes_follow_the_assets() -> None:
    sizing = Sizing(1.0, 1.0, 0.0, 0.0, 9, by_asset=(0.5, 1.5))
    assert sizing.on_assets([1, None, 0]).by_asset == (1.5, 1.0, 0.5)
    assert replace(sizing, by_asset=None).on_assets([1]).by_asset is None


def test_records_tell_which_trainings_hold_the_base() -> None:
    sized, held = Sizing(2.0, 0.5, 1.0, 0.1, 9), Sizing(0.0, 1.0, 0.0, 0.1, 9)
    assert Sizing.from_record({**asdict(sized), "of a later version": 1}) == sized
    disagreeing = {"correlation": 0.1, "low": None, "high": None, "level": 0.95, "seeds": 2, "sessions": 9}
    disagreeing |= {"needed": 0.5, "base": "equal-weight"}
    document = {"agreement": [{**disagreeing, "correlation": 0.9}] * 2 + [disagreeing]}
    document["sizing"] = [asdict(sized), asdict(held), asdict(sized)]
    assert trainings_at_base(document) == [False, True, True]
    assert trainings_at_base({}) == []
