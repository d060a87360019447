"""Residuals of a declared symmetry on an environment's transitions: those of pairs, or those of a local model.

Axes: K transitions, O entries of an observation, A entries of an action, D entries of a state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
import numpy.typing as npt

from rl_core.errors import ConfigError
from rl_core.gymnasium.spaces import ActionBox
from rl_core.gymnasium.state import SettableState

__all__ = ["LocalModel", "PairedTransitions", "Residuals", "Transitions", "collect"]

Array = npt.NDArray[np.float64]

STARTS = 4
"""States from which the state of a mirrored observation is sought."""


@dataclass(frozen=True)
class Transitions:
    """Transitions of random actions.

    Attributes
    ----------
    state
        [K, D]; [K, 0] where it cannot be read.
    observation, action, following, reward
        [K, O], [K, A] in [−1, 1], [K, O] and [K].
    """

    state: Array
    observation: Array
    action: Array
    following: Array
    reward: Array

    def scale(self) -> Array:
        """Typical change of each entry in a step, and spread of the reward, [O + 1]."""
        change = np.sqrt(np.square(self.following - self.observation).mean(axis=0))
        # Numbers that hardly change are compared with a hundredth of their spread: float32 has noise.
        size = np.append(np.maximum(change, 0.01 * self.observation.std(axis=0)), self.reward.std())
        return np.where(size > 1e-12, size, 1.0)


@dataclass(frozen=True)
class Residuals:
    """Deviations from a symmetry, and those that a perfect one would have: root mean squares [O + 1], reward last."""

    deviation: Array
    expected: Array


class Evidence(Protocol):
    """Transitions against which a symmetry can be tested."""

    transitions: Transitions

    def residuals(self, observation: Array, action: Array) -> Residuals:
        """Return the residuals of matrices [O, O] and [A, A]."""
        ...


def collect(env: gymnasium.Env[Any, Any], count: int, seed: int, *, thinned: int = 1) -> Transitions:
    """Return transitions of random actions; of ``thinned`` steps one is taken."""
    box, random = ActionBox(env.action_space, "environment"), np.random.default_rng(seed)
    rows: list[tuple[Array, ...]] = []
    observation, _ = env.reset(seed=seed)
    state = SettableState(env) if SettableState.offered(env) else None
    for step in range(count * thinned):
        action = random.uniform(-1.0, 1.0, box.size)
        before = state.read() if state is not None else np.zeros(0)
        following, reward, terminated, truncated, _ = env.step(box.scale(action))
        if step % thinned == thinned - 1:
            rows.append((before, _flat(observation), action, _flat(following), np.array(float(reward))))
        observation = env.reset()[0] if terminated or truncated else following
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


class PairedTransitions:
    """Transitions from states and from their mirror images, for an environment whose state can be set.

    The state of a mirrored observation is found by least squares. An environment's random numbers are the same in both
    transitions of a pair.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], transitions: Transitions, seed: int) -> None:
        self.transitions, self._env, self._seed = transitions, env, seed
        self._state, self._box = SettableState(env), ActionBox(env.action_space, "environment")
        self._outcomes = [
            self._step(k, state, action)
            for k, (state, action) in enumerate(zip(transitions.state, transitions.action, strict=True))
        ]

    def residuals(self, observation: Array, action: Array) -> Residuals:
        """Return the residuals of matrices [O, O] and [A, A]: the larger of those before and after the step."""
        before, after = [], []
        for k, (following, reward) in enumerate(self._outcomes):
            image = observation @ self.transitions.observation[k]
            state, start = self._mirror_state(k, image)
            moved, earned = self._step(k, state, action @ self.transitions.action[k])
            before.append(np.append(start - image, 0.0))
            after.append(np.append(moved - observation @ following, earned - reward))
        sizes = [np.sqrt(np.square(part).mean(axis=0)) for part in (before, after)]
        return Residuals(np.maximum(*sizes), np.zeros(len(sizes[0])))

    def _step(self, k: int, state: Array, action: Array) -> tuple[Array, float]:
        """Return next observation and reward."""
        self._env.reset(seed=self._seed)
        self._env.unwrapped.np_random = np.random.default_rng((self._seed, k))
        self._state.write(state)
        following, reward, *_ = self._env.step(self._box.scale(action))
        return _flat(following), float(reward)

    def _mirror_state(self, k: int, image: Array) -> tuple[Array, Array]:
        """Return the state whose observation is nearest to the image of that of transition k, and that observation."""
        from scipy.optimize import least_squares

        scale = self.transitions.scale()[:-1]

        def gap(state: Array) -> Array:
            self._state.write(state)
            return (self._state.observe() - image) / scale

        distance = np.square((self.transitions.observation - image) / scale).sum(axis=1)
        nearest = self.transitions.state[distance.argsort()[:STARTS]]
        own = self.transitions.state[k]
        best, least = own, np.inf
        for start in (-own, own, *nearest):
            # A wide step, because observations are often float32.
            found = least_squares(gap, start, diff_step=1e-4, x_scale=1.0, max_nfev=30)
            if found.cost < least:
                best, least = found.x, found.cost
            if least < 1e-8:
                break
        self._state.write(best)
        return best, self._state.observe()


class LocalModel:
    """Transitions near mirrored ones, for an environment whose state cannot be set.

    What follows a state and action is predicted by a linear regression on the nearest transitions. If the symmetry
    holds, mirrored transitions are predicted as well as others.
    """

    def __init__(self, transitions: Transitions, *, queries: int = 256) -> None:
        from scipy.spatial import cKDTree

        self.transitions, self._queries = transitions, min(queries, len(transitions.reward))
        spread = transitions.observation.std(axis=0)
        self._spread = np.where(spread > 1e-12, spread, 1.0)
        self._points = self._inputs(transitions.observation, transitions.action)
        self._targets = self._outputs(np.eye(len(self._spread)))
        self._neighbors = 4 * (self._points.shape[1] + 1)
        self._tree = cKDTree(self._points)
        if len(self._points) < 4 * self._neighbors:
            raise ConfigError(
                f"{len(self._points)} transitions are too few; give at least {4 * self._neighbors}"
            )
        # The nearest of these is the transition itself.
        self._own_errors, self._own_distance = self._errors(self._points, self._targets, 1)

    def residuals(self, observation: Array, action: Array) -> Residuals:
        """Return the residuals of matrices [O, O] and [A, A].

        Raises
        ------
        ConfigError
            If few mirror images are near to any transition.
        """
        t = self.transitions
        points = self._inputs(t.observation @ observation.T, t.action @ action.T)
        errors, distance = self._errors(points, self._outputs(observation), 0)
        near = distance < 2.0 * np.median(self._own_distance)
        if near.sum() < 32:
            raise ConfigError(
                f"only {near.sum()} of {len(near)} mirrored transitions are near to others, too few to compare; random "
                "actions do not visit both sides, so the environment needs a state that can be set"
            )
        plain = np.median(np.square(self._own_errors), axis=0)
        mirrored = np.median(np.square(errors[near]), axis=0)
        return Residuals(np.sqrt(mirrored), np.sqrt(plain))

    def _inputs(self, observation: Array, action: Array) -> Array:
        return np.concatenate([observation / self._spread, action], axis=1)

    def _outputs(self, matrix: Array) -> Array:
        change = (self.transitions.following - self.transitions.observation) @ matrix.T
        return np.concatenate([change, self.transitions.reward[:, None]], axis=1)

    def _errors(self, points: Array, wanted: Array, skipped: int) -> tuple[Array, Array]:
        """Return errors of the predictions [queries, O + 1], and distances of the farthest neighbour used."""
        points, wanted = points[: self._queries], wanted[: self._queries]
        distance, index = self._tree.query(points, self._neighbors + skipped)
        errors = np.empty_like(wanted)
        for q, row in enumerate(index[:, skipped:]):
            design = np.c_[np.ones(len(row)), self._points[row] - points[q]]
            errors[q] = np.linalg.lstsq(design, self._targets[row], rcond=None)[0][0] - wanted[q]
        return errors, distance[:, -1]


def _flat(observation: Any) -> Array:
    return np.array(observation, dtype=np.float64).reshape(-1)
