"""Checks of declared symmetries: right ones pass, and the entry that is wrong is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from rl_core.errors import ConfigError
from rl_core.gymnasium import check_symmetry
from rl_core.symmetry import load_symmetry_file

SYMMETRIES = Path(__file__).parents[3] / "rl_core" / "gymnasium" / "symmetries"
PENDULUM = (SYMMETRIES / "pendulum.toml").read_text(encoding="utf-8")
SWIMMER = (SYMMETRIES / "swimmer.toml").read_text(encoding="utf-8")
SQUARE = """
group = "D4"
[observation]
x = {r = "-y", f = "-x"}
y = {r = "x", f = "y"}
[action]
push_x = {r = "-push_y", f = "-push_x"}
push_y = {r = "push_x", f = "push_y"}
"""


class Hidden(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose state cannot be relied on, as that of any wrapper that may remember."""


class Point(gymnasium.Env[Any, Any]):
    """A point of the plane that is pushed; the reward is minus its distance from `goal`."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space, action_space = Box(-9.0, 9.0, (2,), np.float64), Box(-2.0, 2.0, (2,), np.float32)
    noise = wind = 0.0

    def __init__(self, goal: tuple[float, float] = (0.0, 0.0), start: float = -1.0) -> None:
        self.goal, self.start = np.array(goal), start

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.state = self.np_random.uniform(self.start, 1.0, 2)
        return self._get_obs(), {}

    def step(self, action: Any) -> Any:
        drift = self.noise * self.np_random.normal() * self.state
        self.state = 0.9 * self.state + 0.1 * action + drift + [self.wind, 0.0]
        over = bool(self.np_random.uniform() < 0.1)
        return self._get_obs(), float(-np.linalg.norm(self.state - self.goal)), False, over, {}

    def _get_obs(self) -> Any:
        return self.state.copy()


def check(folder: Path, env: gymnasium.Env[Any, Any], text: str, **options: Any) -> Any:
    (folder / "symmetry.toml").write_text(text, encoding="utf-8")
    return check_symmetry(env, load_symmetry_file(folder / "symmetry.toml"), **options)


def pendulum(method: str) -> gymnasium.Env[Any, Any]:
    env = gymnasium.make("Pendulum-v1")
    return env if method == "pairs" else Hidden(env)


@pytest.mark.parametrize("method", ["pairs", "regression"])
def test_a_right_symmetry_passes(tmp_path: Path, method: str) -> None:
    found = check(tmp_path, pendulum(method), PENDULUM)
    assert found.method == method
    assert found.fault is None
    assert [entry.entry for entry in found.entries] == ["cosine", "sine", "velocity", "reward"]
    assert not any(entry.wrong for entry in found.entries)


@pytest.mark.parametrize("method", ["pairs", "regression"])
@pytest.mark.parametrize(
    ("line", "wrong", "part"),
    [
        ('cosine = "cosine"', 'cosine = "-cosine"', "observation"),
        ('sine = "-sine"', 'sine = "sine"', "observation"),
        ('velocity = "-velocity"', 'velocity = "velocity"', "observation"),
        ('torque = "-torque"', 'torque = "torque"', "action"),
    ],
)
def test_the_wrong_entry_is_named_with_the_sign_that_fits(
    tmp_path: Path, method: str, line: str, wrong: str, part: str
) -> None:
    text = PENDULUM.replace(f"\n{line}", f"\n{wrong}")
    found = check(tmp_path, pendulum(method), text)
    assert found.fault.startswith(f"{part} entry {wrong} is wrong, {line} fits")
    assert "deviates by" in found.fault
    assert any(entry.wrong and entry.share > 0.1 for entry in found.entries)


def test_the_size_of_the_deviation(tmp_path: Path) -> None:
    text = 'group = "C2"\n[observation]\nx = "-x"\ny = "y"\n[action]\nu = "u"\nv = "v"\n'
    found = check(tmp_path, Point(), text)
    entry = found.entries[0]
    # The push moves x by 0.2 a, with a uniform in [−1, 1], in the direction opposite to what is declared.
    assert entry.deviation == pytest.approx(2 * 0.2 / np.sqrt(3), rel=0.25)
    assert f"x deviates by {entry.deviation:.3g}" in found.fault


@pytest.mark.parametrize("wrapped", [False, True])
def test_rotations_of_a_square(tmp_path: Path, wrapped: bool) -> None:
    found = check(tmp_path, Hidden(Point()) if wrapped else Point(), SQUARE)
    assert found.fault is None
    assert {entry.generator for entry in found.entries} == {"r", "f"}


def test_entries_that_are_exchanged_are_named_together(tmp_path: Path) -> None:
    right = 'group = "C2"\n[observation]\nx = "-y"\ny = "-x"\n[action]\nu = "-v"\nv = "-u"\n'
    assert check(tmp_path, Point(), right).fault is None
    wrong = right.replace('u = "-v"\nv = "-u"', 'u = "v"\nv = "u"')
    fault = check(tmp_path, Point(), wrong).fault
    # Without the signs it is a symmetry as well, so there are two ways to mend this.
    assert 'observation entry x = "-y" and y = "-x" is wrong, x = "y" and y = "x" fits; or' in fault
    assert 'action entry u = "v" and v = "u" is wrong, u = "-v" and v = "-u" fits' in fault


def test_a_reward_that_breaks_the_symmetry_is_named(tmp_path: Path) -> None:
    fault = check(tmp_path, Point(goal=(0.5, 0.0)), SQUARE).fault
    assert fault.startswith("reward deviates by")
    assert "may not have this symmetry" in fault


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_environment_without_the_symmetry(tmp_path: Path, wrapped: bool) -> None:
    env = Point()
    env.wind = 0.1
    fault = check(tmp_path, Hidden(env) if wrapped else env, SQUARE).fault
    assert "may not have this symmetry" in fault


def test_the_same_noise_in_both_transitions(tmp_path: Path) -> None:
    env = Point()
    env.noise = 0.3
    assert check(tmp_path, env, SQUARE).fault is None


@pytest.mark.parametrize("entry", [None, "speed_sideways", "torque_second_joint"])
def test_mujoco(tmp_path: Path, entry: str | None) -> None:
    text = SWIMMER if entry is None else SWIMMER.replace(f'"-{entry}"', f'"{entry}"')
    found = check(tmp_path, gymnasium.make("Swimmer-v5"), text, transitions=24)
    assert found.method == "pairs"
    if entry is None:
        assert found.fault is None
    else:
        assert f'{entry} = "{entry}" is wrong' in found.fault


def test_one_sided_data_are_refused(tmp_path: Path) -> None:
    text = 'group = "C2"\n[observation]\nx = "-x"\nspeed = "-speed"\n[action]\nforce = "-force"\n'
    with pytest.raises(ConfigError, match="too few to compare"):
        check(tmp_path, gymnasium.make("MountainCarContinuous-v0"), text)


def test_too_few_transitions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="50 transitions are too few"):
        check(tmp_path, pendulum("regression"), PENDULUM, transitions=50)
    with pytest.raises(ConfigError, match="observation has 2 entries, but the symmetry acts on 3"):
        check(tmp_path, gymnasium.make("MountainCarContinuous-v0"), PENDULUM)
