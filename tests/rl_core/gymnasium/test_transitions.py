"""Transitions of random actions."""

from __future__ import annotations

import gymnasium
import numpy as np

from rl_core.gymnasium.transitions import collect


def test_collected_transitions_are_those_of_the_environment() -> None:
    sample = collect(gymnasium.make("Pendulum-v1"), 30, seed=2, thinned=10)
    theta, speed = sample.state.T
    torque = 2.0 * sample.action[:, 0]
    np.testing.assert_allclose(sample.observation[:, 1], np.sin(theta), atol=1e-6)
    wanted = np.clip(speed + 0.05 * (15.0 * np.sin(theta) + 3.0 * torque), -8, 8)
    np.testing.assert_allclose(sample.following[:, 2], wanted, atol=1e-5)
    assert sample.reward.shape == (30,)
    again = collect(gymnasium.make("Pendulum-v1"), 30, seed=2, thinned=10)
    np.testing.assert_array_equal(again.following, sample.following)
    assert np.all(sample.scale() > 0)
