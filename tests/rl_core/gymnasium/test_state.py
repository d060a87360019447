"""States are read, set and observed where an environment allows it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation, RescaleObservation, TransformObservation

from rl_core.gymnasium.state import SettableState


@pytest.mark.parametrize("name", ["Pendulum-v1", "InvertedPendulum-v5"])
def test_a_state_that_was_set_is_stepped_from(name: str) -> None:
    env = gymnasium.make(name)
    env.reset(seed=0)
    assert SettableState.offered(env)
    state, action = SettableState(env), env.action_space.sample()
    before = state.read()
    first = env.step(action)[0]
    state.write(before)
    np.testing.assert_array_equal(state.read(), before)
    np.testing.assert_allclose(env.step(action)[0], first, rtol=1e-6, atol=1e-9)


def test_observations_pass_through_the_wrappers() -> None:
    base = gymnasium.make("Pendulum-v1")
    env: Any = RescaleObservation(base, np.float32(-1), np.float32(1))
    env = TransformObservation(env, lambda x: -x, env.observation_space)
    observation, _ = env.reset(seed=0)
    assert SettableState.offered(env)
    np.testing.assert_allclose(SettableState(env).observe(), observation)


def test_wrappers_with_memory_and_hidden_states_are_not_offered() -> None:
    stacked = FrameStackObservation(gymnasium.make("Pendulum-v1"), 2)
    stacked.reset(seed=0)
    assert not SettableState.offered(stacked)
    car = gymnasium.make("MountainCarContinuous-v0")
    car.reset(seed=0)
    assert not SettableState.offered(car)
