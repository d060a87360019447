"""Gymnasium environments as batched ones: transitions, seeds, spaces and resume."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import TimeLimit
from torch import Tensor

from rl_core.checkpoint import latest_checkpoint
from rl_core.config import SACConfig
from rl_core.env import BatchedEnv, Step
from rl_core.errors import ConfigError
from rl_core.evaluation import Evaluator
from rl_core.gymnasium import GymnasiumEnv
from rl_core.symmetry import Symmetry, dihedral, load_symmetry_file, sign, standard, trivial
from rl_core.training import train

SYMMETRIES = Path(__file__).parents[3] / "rl_core" / "gymnasium" / "symmetries"
LOW, HIGH = -1.0, 3.0
SMALL = SACConfig(width=8, batch_size=16, capacity=256, learning_starts=8, cuda_graph=False)


class Push(gymnasium.Env[Any, Any]):
    """A point [1, 2] that each push moves by a tenth of it; an episode terminates beyond 1."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}
    observation_space = Box(-5.0, 5.0, (1, 2), np.float64)
    action_space = Box(LOW, HIGH, (1, 2), np.float32)
    noise = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-0.5, 0.5, (1, 2))
        return self.x, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.x = self.x + 0.1 * action.astype(np.float64) + self.noise * self.np_random.normal(size=(1, 2))
        return self.x, float(-np.abs(self.x).sum()), bool(np.abs(self.x).max() > 1.0), False, {}


def push(noise: float = 0.0, limit: int = 9) -> gymnasium.Env[Any, Any]:
    env = Push()
    env.noise = noise
    return TimeLimit(env, limit)


def sync(mode: AutoresetMode, count: int = 3) -> SyncVectorEnv:
    return SyncVectorEnv([push] * count, autoreset_mode=mode)


class Native(VectorEnv[Any, Any, Any]):
    """Pushed points in one array, with one generator, that restart as `mode` says."""

    def __init__(self, mode: AutoresetMode | None, count: int = 3) -> None:
        self.num_envs, self.single_observation_space = count, Box(-5.0, 5.0, (2,), np.float32)
        self.single_action_space = Box(LOW, HIGH, (2,), np.float32)
        self.metadata = {} if mode is None else {"autoreset_mode": mode}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        mask = np.ones(self.num_envs, dtype=bool) if options is None else options["reset_mask"]
        fresh = self.np_random.uniform(-0.5, 0.5, (self.num_envs, 2))
        self.x = fresh if options is None else np.where(mask[:, None], fresh, self.x)
        return self.x.astype(np.float32), {}

    def step(self, actions: Any) -> Any:
        self.x = self.x + 0.1 * actions
        over = np.abs(self.x).max(axis=1) > 1.0
        info, reward = {}, -np.abs(self.x).sum(axis=1)
        if over.any() and self.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP:
            info = {"final_obs": self.x.copy(), "_final_obs": over}
            self.x[over] = self.np_random.uniform(-0.5, 0.5, (int(over.sum()), 2))
        return self.x.astype(np.float32), reward, over, np.zeros_like(over), info


def rollout(env: BatchedEnv, steps: int, start: int = 0) -> list[tuple[Tensor, Step]]:
    """Actions, seeded by step, and their outcomes."""
    found = []
    for step in range(start, start + steps):
        generator = torch.Generator().manual_seed(step)
        action = torch.rand(env.n_envs, env.action_size, generator=generator) * 2 - 1
        action = action.expand(len(env.seeds), -1, -1)
        found.append((action, Step(*env.step(action))))
    return found


def assert_equal(a: Step, b: Step) -> None:
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def makers() -> dict[str, Any]:
    modes = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED)
    found: dict[str, Any] = {"single": push}
    found |= {f"sync {mode.value}": partial(sync, mode) for mode in modes}
    found |= {f"native {mode.value}": partial(Native, mode) for mode in modes[1:]}
    return found


def test_the_test_environment_follows_the_interface() -> None:
    check_env(Push(), skip_render_check=True)


@pytest.mark.parametrize("name", makers())
def test_transitions_never_join_two_episodes(name: str) -> None:
    env = GymnasiumEnv(makers()[name], seeds=(3, 4), n_envs=3)
    assert isinstance(env, BatchedEnv)
    before = env.reset()
    assert before.dtype == torch.float32
    assert before.shape == (2, 3, 2)
    ends = 0
    for action, outcome in rollout(env, 60):
        moved = before + 0.1 * (LOW + 0.5 * (action + 1) * (HIGH - LOW))
        torch.testing.assert_close(outcome.final_observation, moved)
        torch.testing.assert_close(outcome.reward, -moved.abs().sum(-1))
        assert torch.equal(outcome.terminated, moved.abs().amax(-1) > 1.0)
        over = outcome.terminated | outcome.truncated
        assert torch.equal(outcome.observation[~over], outcome.final_observation[~over])
        assert bool((outcome.observation[over].abs() <= 0.5).all())
        ends += int(over.sum())
        before = outcome.observation
    assert ends > 10


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_processes_step_as_one_process_does(mode: AutoresetMode) -> None:
    alone = GymnasiumEnv(push, seeds=(1,), n_envs=2)
    others = GymnasiumEnv(AsyncVectorEnv([push] * 2, autoreset_mode=mode), seeds=(1,))
    try:
        assert torch.equal(alone.reset(), others.reset())
        for (_, a), (_, b) in zip(rollout(alone, 25), rollout(others, 25), strict=True):
            assert_equal(a, b)
        others.reset()
        others.load_state_dict(alone.state_dict())
        for (_, a), (_, b) in zip(rollout(alone, 25, 25), rollout(others, 25, 25), strict=True):
            assert_equal(a, b)
    finally:
        others.close()


@pytest.mark.parametrize("name", ["single", "native SameStep"])
def test_a_seed_of_a_batch_is_the_seed_alone(name: str) -> None:
    batch = GymnasiumEnv(makers()[name], seeds=(5, 6), n_envs=3)
    alone = GymnasiumEnv(makers()[name], seeds=(6,), n_envs=3)
    first = batch.reset()
    assert torch.equal(first[1:], alone.reset())
    assert not torch.equal(first[0], first[1])
    for (_, a), (_, b) in zip(rollout(batch, 30), rollout(alone, 30), strict=True):
        assert_equal(Step(*(part[1:] for part in a)), b)


def test_environments_and_episodes_of_a_seed_differ() -> None:
    env = GymnasiumEnv(push, seeds=(0,), n_envs=2)
    first, second = env.reset(), env.reset()
    assert not torch.equal(first[0, 0], first[0, 1])
    assert not torch.equal(first, second)
    other = GymnasiumEnv(push, seeds=(0,), n_envs=2, stream="evaluation")
    assert not torch.equal(first, other.reset())


@pytest.mark.parametrize("name", ["single", "sync NextStep", "sync SameStep", "sync Disabled"])
@pytest.mark.parametrize("steps", [0, 1, 8, 9, 23])
def test_resume_to_the_bit(name: str, steps: int) -> None:
    make = partial(GymnasiumEnv, makers()[name], seeds=(3, 4), n_envs=3)
    env = make()
    env.reset()
    rollout(env, steps)
    state = {key: value.clone() for key, value in env.state_dict().items()}
    resumed = make()
    resumed.reset()
    resumed.load_state_dict(state)
    for (_, a), (_, b) in zip(rollout(env, 20, steps), rollout(resumed, 20, steps), strict=True):
        assert_equal(a, b)


def test_a_noisy_environment_resumes_to_the_bit() -> None:
    env = GymnasiumEnv(partial(push, 0.1), seeds=(0,), n_envs=2)
    env.reset()
    rollout(env, 12)
    resumed = GymnasiumEnv(partial(push, 0.1), seeds=(0,), n_envs=2)
    resumed.load_state_dict(env.state_dict())
    for (_, a), (_, b) in zip(rollout(env, 20, 12), rollout(resumed, 20, 12), strict=True):
        assert_equal(a, b)


def test_an_environment_that_cannot_be_resumed_starts_new_episodes(caplog: pytest.LogCaptureFixture) -> None:
    make = partial(GymnasiumEnv, partial(Native, AutoresetMode.SAME_STEP), seeds=(0, 1))
    env = make()
    env.reset()
    last = rollout(env, 7)[-1][1].observation
    resumed = make()
    resumed.reset()
    with caplog.at_level(logging.WARNING):
        resumed.load_state_dict(env.state_dict())
    assert "Native cannot be resumed bit for bit" in caplog.text
    (_, cut), (action, after) = rollout(resumed, 2)
    assert bool(cut.truncated.all())
    assert not bool(cut.terminated.any())
    assert not bool(cut.reward.any())
    assert torch.equal(cut.final_observation, last)
    assert not torch.equal(cut.observation, last)
    moved = cut.observation + 0.1 * (LOW + 0.5 * (action + 1) * (HIGH - LOW))
    torch.testing.assert_close(after.final_observation, moved)


def test_noise_that_no_seed_determines_is_noticed(caplog: pytest.LogCaptureFixture) -> None:
    class Unseeded(Push):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            return super().reset(seed=None, options=options)

    env = GymnasiumEnv(Unseeded, seeds=(0,))
    env.reset()
    rollout(env, 2)
    env.load_state_dict(env.state_dict())
    assert "cannot be resumed" in caplog.text


def test_training_is_resumed_to_the_bit(tmp_path: Path) -> None:
    declared = load_symmetry_file(SYMMETRIES / "pendulum.toml")

    def run(steps: int, folder: str, resume: bool = False) -> Any:
        env = GymnasiumEnv("Pendulum-v1", declared.symmetry, seeds=(0, 1), n_envs=2)
        return train(
            env,
            SMALL.replace(agent="relaxed"),
            seeds=env.seeds,
            steps=steps,
            directory=tmp_path / folder,
            resume=resume,
        ).agent

    whole = run(230, "whole")
    run(110, "cut")
    resumed = run(230, "cut", resume=True)
    assert latest_checkpoint(tmp_path / "cut") is not None
    assert torch.equal(whole.actor_values, resumed.actor_values)
    assert torch.equal(whole.critic_values, resumed.critic_values)


def test_images_stay_images() -> None:
    class Picture(Push):
        observation_space = Box(0, 255, (3, 85, 85), np.uint8)

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
            super().reset(seed=seed)
            return self.observation_space.sample(), {}

    d1 = dihedral(1)
    symmetry = Symmetry(d1, trivial(d1, 3), sign(d1) + trivial(d1), plane=standard(d1))
    assert GymnasiumEnv(Picture, symmetry, seeds=(0,)).reset().shape == (1, 1, 3, 85, 85)


class Turns(Push):
    action_space = Discrete(2)  # type: ignore[assignment]


class Unbounded(Push):
    action_space = Box(np.float32([-1.0, -1.0]), np.float32([1.0, np.inf]))


class Whole(Push):
    action_space = Box(-3, 3, (2,), np.int32)


class Named(Push):
    observation_space = Dict({"x": Box(-1, 1)})  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Turns, ["Turns", "Discrete(2)", "continuous"]),
        (Whole, ["Whole", "continuous"]),
        (Unbounded, ["Unbounded", "action entry 1 is unbounded"]),
        (Named, ["Named", "Dict", "FlattenObservation"]),
        ("Pendulum-v77", ["Pendulum-v77"]),
        ("no_such_package:Thing-v0", ["no_such_package"]),
        (partial(Native, AutoresetMode.NEXT_STEP, 2), ["Native", "NEXT_STEP", "SAME_STEP"]),
        (partial(Native, None, 2), ["Native", "autoreset_mode"]),
        (partial(Native, AutoresetMode.SAME_STEP, 5), ["n_envs is 2", "5 environments"]),
        (Native(AutoresetMode.SAME_STEP, 2), ["serves one seed, not 2"]),
    ],
)
def test_refusals(make: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        GymnasiumEnv(make, seeds=(0, 1), n_envs=2)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert "\n" not in message


def test_a_symmetry_of_other_sizes_is_refused() -> None:
    with pytest.raises(ConfigError, match="observation has 2 entries, but the symmetry acts on 3"):
        GymnasiumEnv(push, Symmetry.none(3, 2), seeds=(0,))
    with pytest.raises(ConfigError, match="action has 2 entries, but the symmetry acts on 1"):
        GymnasiumEnv(push, Symmetry.none(2, 1), seeds=(0,))


def test_missing_final_observations_are_named() -> None:
    class Silent(Native):
        def step(self, actions: Any) -> Any:
            return (*super().step(actions)[:4], {})

    env = GymnasiumEnv(Silent(AutoresetMode.SAME_STEP), seeds=(0,))
    env.reset()
    with pytest.raises(ConfigError, match="Silent: info has no final_obs"):
        rollout(env, 60)


@pytest.mark.gpu
def test_training_on_a_gpu_resumes_to_the_bit(tmp_path: Path) -> None:
    make = partial(GymnasiumEnv, push, seeds=(0, 1), n_envs=2, device="cuda")
    run = partial(train, config=SMALL.replace(device="cuda"), seeds=(0, 1))
    whole = run(make(), steps=40).agent
    run(make(), steps=20, directory=tmp_path)
    resumed = run(make(), steps=40, directory=tmp_path, resume=True).agent
    assert torch.equal(whole.actor_values, resumed.actor_values)
    assert resumed.predict(np.zeros((3, 2))).shape == (3, 2)


@pytest.mark.slow
def test_pendulum_is_learned() -> None:
    """Mean return of the untrained agent is about −1,200; a controller that holds it upright has about −150."""
    declared = load_symmetry_file(SYMMETRIES / "pendulum.toml")
    make = partial(GymnasiumEnv, "Pendulum-v1", declared.symmetry, seeds=(0,))
    config = SACConfig(agent="relaxed", width=64, capacity=10_000)
    found: list[float] = []

    def evaluate(agent: Any, step: int) -> Any:
        values = Evaluator(partial(make, n_envs=10, stream="evaluation"), 200)(agent, step)
        found.append(float(values["return"]))
        return values

    train(make(), config, seeds=(0,), steps=10_000, evaluate=evaluate, evaluate_every=2_500)
    assert max(found) > -200
