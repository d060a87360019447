"""Symmetry tests of returns on synthetic markets with known symmetries."""

from __future__ import annotations

import numpy as np
import pytest

from rl_core.errors import ConfigError
from trading_app.evaluation.market_tests import symmetry_tests
from trading_app.evaluation.return_symmetry import exchange_test, mirror_test


@pytest.fixture
def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def market(generator, times=600, assets=6, drift=0.0, skew=0.0, spread=0.0):
    """Returns that follow a signal; `drift` and `skew` break the mirror, `spread` the exchange of assets."""
    signal = generator.normal(size=(times, assets))
    level = np.abs(generator.normal(size=(times, assets)))
    shock = generator.normal(size=(times, assets)) + 0.5 * generator.normal(size=(times, 1))
    beta = 0.5 * (1 + spread * np.linspace(-1, 1, assets))
    returns = beta * signal + drift + skew * (level - level.mean()) + shock
    return np.stack([signal, level], axis=2), np.array([-1, 1]), returns


def test_symmetric_market_passes_about_as_often_as_the_level_says(generator):
    p_values = []
    for _ in range(40):
        features, parity, returns = market(generator, times=200, assets=3)
        options = {"generator": generator, "block": 10, "permutations": 99, "points": 32}
        p_values.append(
            (
                mirror_test(features, parity, returns, **options).p_value,
                exchange_test(features, returns, **options).p_value,
            )
        )
    rejected = (np.array(p_values) < 0.1).mean(axis=0)
    assert (rejected <= 0.25).all()
    assert (np.mean(p_values, axis=0) > 0.35).all()


@pytest.mark.parametrize(
    ("breaking", "mirror_broken", "exchange_broken"),
    [
        ({"drift": 0.3}, True, False),
        ({"skew": 0.5}, True, False),
        ({"spread": 0.9}, False, True),
    ],
)
def test_each_breaking_is_found_by_its_own_test(breaking, mirror_broken, exchange_broken, generator):
    features, parity, returns = market(generator, **breaking)
    options = {"generator": generator, "block": 10, "permutations": 199}
    mirror = mirror_test(features, parity, returns, **options)
    exchange = exchange_test(features, returns, **options)
    assert (mirror.p_value < 0.02) == mirror_broken
    assert (exchange.p_value < 0.02) == exchange_broken
    for test, broken in ((mirror, mirror_broken), (exchange, exchange_broken)):
        if broken:
            assert test.excess > 5 * abs(test.expected) * 0.1
            assert test.blocks == 60


def test_skewed_features_do_not_count_as_a_broken_law_of_returns(generator):
    # The signal is seldom negative, yet the law of returns given the signal is mirror symmetric.
    signal = generator.normal(0.7, 1.0, size=(600, 4, 1))
    returns = 0.5 * signal[..., 0] + generator.normal(size=(600, 4))
    test = mirror_test(signal, [-1], returns, generator=generator, block=10, permutations=199)
    assert test.p_value > 0.02


def test_assets_with_other_features_but_one_law_pass_the_exchange_test(generator):
    # The third asset's signal is high, the fourth has no returns; returns follow the signal alike.
    signal = generator.normal(size=(600, 4, 1)) + np.array([0.0, 0.0, 0.7, 0.0])[:, None]
    returns = 0.5 * signal[..., 0] + generator.normal(size=(600, 4))
    returns[:, 3] = np.nan
    test = exchange_test(signal, returns, generator=generator, block=10, permutations=199)
    assert test.p_value > 0.02


def test_periods_show_when_the_market_broke(generator):
    parts = [market(generator, times=260), market(generator, times=260, drift=0.4)]
    features = np.concatenate([p[0] for p in parts])
    returns = np.concatenate([p[2] for p in parts])
    returns[5, 2] = np.nan
    years = [2001] * 260 + [2002] * 260
    tests = symmetry_tests(features, [-1, 1], returns, years, generator=generator, block=10, permutations=199)
    found = {(t.period, t.symmetry): t.p_value for t in tests}
    assert list(found) == [(y, s) for y in (2001, 2002) for s in ("mirror", "exchange")]
    assert found[2001, "mirror"] > 0.02 > found[2002, "mirror"]


def test_tests_repeat_with_the_same_generator():
    features, parity, returns = market(np.random.default_rng(1), times=100)
    one, two = (
        mirror_test(features, parity, returns, generator=np.random.default_rng(2), permutations=20)
        for _ in range(2)
    )
    assert one == two


def test_shapes_that_do_not_fit_are_named(generator):
    features, parity, returns = market(generator, times=50)
    with pytest.raises(ConfigError, match=r"features \(50, 6, 2\) and returns \(49, 6\)"):
        mirror_test(features, parity, returns[1:], generator=generator)
    with pytest.raises(ConfigError, match="parity must be 2 numbers"):
        mirror_test(features, [1, 0], returns, generator=generator)
    with pytest.raises(ConfigError, match="at least two assets"):
        exchange_test(features[:, :1], returns[:, :1], generator=generator)
    with pytest.raises(ConfigError, match="3 period labels for 50 times"):
        symmetry_tests(features, parity, returns, [1, 2, 3], generator=generator)
