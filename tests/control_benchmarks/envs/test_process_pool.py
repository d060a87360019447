from __future__ import annotations

import numpy as np
import pytest
import torch

from control_benchmarks import ControlEnv, ControlError, load_task, task_names
from control_benchmarks.envs.physics import copies_of
from control_benchmarks.envs.process_worker import describe, restore
from control_benchmarks.envs.variants import Variant
from rl_core.env import BatchedEnv

VARIANTS = ["original", "repeat-action", "reflect-action"]


def actions(env, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, len(env.seeds), env.n_envs, env.action_size)
    return torch.rand(shape, generator=generator) * 2 - 1


def rollout(env, steps, start=0):
    sequence = actions(env, start + steps)[start:]
    found = [tuple(env.step(action)) for action in sequence]
    return [torch.stack(column) for column in zip(*found, strict=True)]


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["cartpole_swingup", "ball_in_cup_catch", "reacher_easy"])
def test_trajectories_do_not_depend_on_workers_or_threads(name):
    found = []
    for how in ({}, {"threads": 3}, {"workers": 2}, {"workers": 3}):
        with ControlEnv(name, [0, 1, 2], variants=VARIANTS, n_envs=2, action_repeat=20, **how) as env:
            first = env.reset()
            found.append([first, *rollout(env, 60)])  # past the end of an episode
    for other in found[1:]:
        assert_equal(found[0], other)


def test_a_seed_alone_sees_what_it_sees_in_a_batch():
    with ControlEnv("ball_in_cup_catch", [4, 7], variants=["original", "gravity"], n_envs=2) as both:
        both.reset()
        sequence = actions(both, 20)
        together = [both.step(action).observation[1] for action in sequence]
    with ControlEnv("ball_in_cup_catch", [7], variants="gravity", n_envs=2) as alone:
        alone.reset()
        apart = [alone.step(action[1:]).observation[0] for action in sequence]
    assert_equal(together, apart)


@pytest.mark.parametrize("name", task_names())
@pytest.mark.parametrize("workers", [0, 1])
def test_a_saved_state_goes_on_bit_for_bit(name, workers):
    if workers and name not in ("acrobot_swingup", "walker_walk"):
        pytest.skip("one process is like another")
    arguments = {"variants": VARIANTS, "n_envs": 2, "action_repeat": 20, "workers": workers}
    with ControlEnv(name, [0, 1, 2], **arguments) as env:
        env.reset()
        rollout(env, 45)
        saved = {key: value.clone() for key, value in env.state_dict().items()}
        expected = rollout(env, 20, start=45)
        rollout(env, 7)
        env.load_state_dict(saved)
        assert_equal(expected, rollout(env, 20, start=45))
    with ControlEnv(name, [0, 1, 2], **arguments) as fresh:
        fresh.load_state_dict(saved)
        assert_equal(expected, rollout(fresh, 20, start=45))


def test_episodes_are_truncated_at_a_thousand_frames_and_restart():
    with ControlEnv("pendulum_swingup", [0], action_repeat=100, n_envs=3) as env:
        first = env.reset()
        observation, reward, terminated, truncated, final = rollout(env, 20)
        assert torch.nonzero(truncated[:, 0, 0]).flatten().tolist() == [9, 19]
        assert not terminated.any()
        ends = truncated[:, 0, 0]
        assert torch.equal(observation[~ends], final[~ends])
        assert not torch.equal(observation[ends], final[ends])
        assert not torch.equal(first, observation[9])
        assert reward.shape == (20, 1, 3)
        assert 0 <= float(reward.min()) <= float(reward.max()) <= 100


def test_rewards_of_a_decision_add_up_over_its_frames():
    totals = []
    for repeat in (1, 4):
        with ControlEnv("cartpole_balance", [3], action_repeat=repeat) as env:
            env.reset()
            action = torch.full((1, 1, 1), 0.3)
            totals.append(sum(float(env.step(action).reward) for _ in range(20 // repeat)))
    assert totals[0] == pytest.approx(totals[1], rel=1e-5)


def test_streams_and_seeds_start_differently():
    starts = []
    for seed, stream in ((0, "train"), (1, "train"), (0, "evaluate")):
        with ControlEnv("reacher_hard", [seed], n_envs=2, stream=stream) as env:
            starts.append(env.reset())
    assert len({tuple(start.flatten().tolist()) for start in starts}) == 3
    assert not torch.equal(starts[0][0, 0], starts[0][0, 1])


def test_it_is_what_the_learner_asks_for():
    with ControlEnv("point_mass_easy", [0, 1], n_envs=3) as env:
        assert isinstance(env, BatchedEnv)
        observation = env.reset()
        assert observation.shape == (2, 3, *env.observation_shape)
        assert observation.dtype == torch.float32
        assert env.symmetry.group.order == 8
        assert torch.equal(env.encode(observation), observation)
        result = env.step(torch.full((2, 3, 2), 7.0))  # clipped
        assert torch.isfinite(result.observation).all()


def test_observations_given_out_do_not_change_later():
    with ControlEnv("acrobot_swingup", [0], workers=1) as env:
        first = env.reset()
        kept = first.clone()
        env.step(torch.ones(1, 1, 1))
        assert torch.equal(first, kept)


def test_wrong_arguments_are_told_in_one_line():
    with pytest.raises(ControlError, match="2 variants for 3 seeds"):
        ControlEnv("acrobot_swingup", [0, 1, 2], variants=["original", "gravity"])
    with pytest.raises(ControlError, match="action repeat 3 must divide"):
        ControlEnv("acrobot_swingup", [0], action_repeat=3)
    with ControlEnv("acrobot_swingup", [0]) as env, pytest.raises(ControlError, match="'physics'"):
        env.load_state_dict({})


def test_a_workers_orders_survive_their_text():
    import json

    task = load_task("reacher_easy")
    copies = copies_of(
        task, [Variant("gravity", 0.5)], [9], environments=range(2), action_repeat=2, stream="train"
    )
    order = {**describe(copies), "path": "/x", "start": 0, "stop": 2}
    assert restore(json.dumps(order)) == (copies, "/x", 0, 2)


def test_physics_stays_finite_under_extreme_actions():
    for name in task_names():
        with ControlEnv(name, [0], action_repeat=50) as env:
            env.reset()
            for _ in range(10):
                observation = env.step(torch.ones(1, 1, env.action_size)).observation
            assert np.isfinite(observation.numpy()).all(), name
