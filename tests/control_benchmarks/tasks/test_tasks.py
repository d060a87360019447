"""Our tasks against DeepMind's own implementation, and their symmetries by mirrored rollouts."""

from __future__ import annotations

import numpy as np
import pytest

from control_benchmarks import ControlError, load_task, task_names
from control_benchmarks.envs.physics import Simulation, copies_of
from control_benchmarks.envs.symmetry import image_symmetry, state_symmetry
from control_benchmarks.envs.variants import Variant
from control_benchmarks.tasks.base import FRAMES, States
from control_benchmarks.tasks.mujoco_models import load_model
from equitrade.errors import EquitradeError

TASKS = task_names()
STEPS = 200


def official(suite, name, seed=0):
    domain = load_task(name).model
    task = name.removeprefix(f"{domain}_")
    return suite.load(domain, task, task_kwargs={"random": seed})


def official_target(name, physics):
    return np.array(physics.named.model.geom_pos["target", :2]) if name.startswith("reacher") else np.zeros(0)


def states_of(name, physics):
    row = lambda x: np.array(x, dtype=np.float64)[None]  # noqa: E731
    return States(row(physics.data.qpos), row(physics.data.qvel), row(official_target(name, physics)))


def comparable(name, observation):
    """Our observation as the suite gives it; the reacher's shoulder is an angle there."""
    if not name.startswith("reacher"):
        return observation
    shoulder = np.arctan2(observation[:, 1], observation[:, 0])
    return np.concatenate([shoulder[:, None], observation[:, 2:]], axis=1)


def in_suite_form(name, timestep):
    flat = np.concatenate([np.ravel(value) for value in timestep.observation.values()])
    if name.startswith("reacher"):
        flat[0] = np.arctan2(np.sin(flat[0]), np.cos(flat[0]))
    return flat


@pytest.mark.parametrize("name", TASKS)
def test_observations_and_rewards_are_the_suites(suite, name):
    task, environment = load_task(name), official(suite, name)
    random = np.random.default_rng(1)
    timestep = environment.reset()
    rewards = []
    for step in range(STEPS):
        if step % 40 == 0:  # some states that random actions do not reach
            with environment.physics.reset_context():
                environment.task.initialize_episode(environment.physics)
        action = random.uniform(-1, 1, task.action_size)
        timestep = environment.step(action)
        states = states_of(name, environment.physics)
        np.testing.assert_allclose(
            comparable(name, task.observe(states))[0], in_suite_form(name, timestep), atol=1e-12, rtol=0
        )
        reward = task.reward(states, action[None])[0]
        assert reward == pytest.approx(timestep.reward, abs=1e-12)
        rewards.append(reward)
    assert np.isfinite(rewards).all()


@pytest.mark.parametrize("name", TASKS)
def test_rewards_near_the_goal_are_the_suites(suite, name):
    """Rewards where they are earned: random actions seldom get there."""
    task, environment = load_task(name), official(suite, name)
    environment.reset()
    physics = environment.physics
    random = np.random.default_rng(2)
    goals = {
        "ball_in_cup_catch": [0, 0, 0, 0.35],
        "reacher_easy": [0.3, 0.4],
        "reacher_hard": [0.3, 0.4],
    }
    seen = set()
    for spread in (0.0, 1e-3, 1e-2, 5e-2, 0.2, 0.5):
        for _ in range(5):
            goal = np.array(goals.get(name, np.zeros(physics.model.nq)), dtype=float)
            position = goal + spread * random.uniform(-1, 1, len(goal))
            if name.startswith("reacher"):
                angles = np.cumsum(goal)
                physics.named.model.geom_pos["target", :2] = 0.12 * np.array(
                    [np.cos(angles).sum(), np.sin(angles).sum()]
                )
            action = random.uniform(-1, 1, task.action_size)
            with physics.reset_context():
                physics.data.qpos[:] = position
                physics.data.qvel[:] = spread * random.uniform(-1, 1, physics.model.nv)
            physics.set_control(action)
            reward = task.reward(states_of(name, physics), action[None])[0]
            assert reward == pytest.approx(environment.task.get_reward(physics), abs=1e-12)
            seen.add(round(float(reward), 6))
    assert max(seen) > 0.1
    assert len(seen) > 1


@pytest.mark.parametrize("name", TASKS)
def test_episodes_start_as_the_suites(suite, name):
    task, environment = load_task(name), official(suite, name)
    model = load_model(task.model)
    for seed in range(5):
        environment.task._random = np.random.RandomState(seed)
        environment.reset()
        start = task.initial(np.random.RandomState(seed), model)
        np.testing.assert_array_equal(start.position, environment.physics.data.qpos)
        np.testing.assert_array_equal(start.velocity, environment.physics.data.qvel)
        np.testing.assert_array_equal(start.target, official_target(name, environment.physics))


@pytest.mark.parametrize("name", TASKS)
def test_a_decision_moves_the_physics_as_the_suites(suite, name):
    task, environment = load_task(name), official(suite, name)
    copies = copies_of(task, [Variant()], [3], environments=[0], action_repeat=1, stream="test")
    simulation = Simulation(copies, copies.arrays())
    simulation.reset()
    environment.reset()
    with environment.physics.reset_context():
        environment.physics.data.qpos[:] = simulation.states().position[0]
        environment.physics.data.qvel[:] = 0
    simulation.arrays["physics"][0, 1 + environment.physics.model.nq :] = 0
    random = np.random.default_rng(0)
    for _ in range(50):
        action = random.uniform(-1, 1, task.action_size)
        simulation.arrays["action"][0] = action
        simulation.step()
        timestep = environment.step(simulation.arrays["action"][0].astype(np.float64))
        if not name.startswith("reacher"):  # its target is the model's there
            assert simulation.arrays["reward"][0] == pytest.approx(timestep.reward, abs=1e-5)
        # The solver starts cold here and warm there: contacts differ by its tolerance.
        np.testing.assert_allclose(simulation.states().position[0], environment.physics.data.qpos, atol=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_episodes_last_a_thousand_frames_as_the_suites(suite, name):
    environment = official(suite, name)
    assert environment._step_limit == pytest.approx(FRAMES)
    steps = round(environment.control_timestep() / environment.physics.timestep())
    assert load_task(name).substeps == steps


def mirrored_rollout(task, generator, *, steps, action_matrix=None):
    """Observations and rewards of rollouts [T, K] and of those from mirrored starts with mirrored actions."""
    copies = copies_of(
        task, [Variant(), Variant()], [5, 5], environments=range(4), action_repeat=1, stream="test"
    )
    simulation = Simulation(copies, copies.arrays())
    simulation.reset()
    half = len(copies) // 2
    states = simulation.states()
    mirror = generator.apply(States(states.position[:half], states.velocity[:half], states.target[:half]))
    simulation.arrays["physics"][half:, 1:] = np.concatenate([mirror.position, mirror.velocity], axis=1)
    simulation.arrays["target"][half:] = mirror.target
    action_matrix = generator.action if action_matrix is None else action_matrix
    random = np.random.default_rng(0)
    observations, rewards = [], []
    action = np.zeros((half, task.action_size))
    for step in range(steps):
        if step % 5 == 0:
            action = random.choice([-1, -0.5, 0.5, 1], size=action.shape)  # exact in float32
        simulation.arrays["action"][:half] = action
        simulation.arrays["action"][half:] = action @ action_matrix.T
        simulation.step()
        observations.append(task.observe(simulation.states()))
        rewards.append(simulation.arrays["reward"].copy())
    observed, rewarded = np.stack(observations), np.stack(rewards)
    return observed[:, :half], observed[:, half:], np.abs(rewarded[:, :half] - rewarded[:, half:]).max()


def observation_error(first, second, matrix):
    return float(np.abs(first @ matrix.T - second).max())


CASES = [(name, key) for name in TASKS for key in load_task(name).generators]


@pytest.mark.parametrize(("name", "key"), CASES)
def test_mirrored_rollouts_agree(name, key):
    task = load_task(name)
    generator = task.generators[key]
    steps = 20 if name == "walker_walk" else STEPS  # contacts amplify rounding
    first, second, reward_error = mirrored_rollout(task, generator, steps=steps)
    assert observation_error(first, second, generator.observation) < 1e-10
    assert reward_error < 1e-6


@pytest.mark.parametrize(("name", "key"), CASES)
def test_wrong_signs_are_caught(name, key):
    """Control of the test above: each wrong sign of an action or an observation must show."""
    task = load_task(name)
    generator = task.generators[key]
    for entry in range(task.action_size):
        wrong = generator.action.copy()
        wrong[entry] *= -1
        first, second, _ = mirrored_rollout(task, generator, steps=40, action_matrix=wrong)
        assert observation_error(first, second, generator.observation) > 1e-3
    first, second, _ = mirrored_rollout(task, generator, steps=40)
    for entry in range(task.observation_size):
        wrong = generator.observation.copy()
        wrong[entry] *= -1
        assert observation_error(first, second, wrong) > 1e-3


@pytest.mark.parametrize("name", TASKS)
def test_symmetries_are_representations_of_the_right_group(name):
    task = load_task(name)
    symmetry = state_symmetry(task)
    orders = {"reacher": 4, "point_mass": 8}
    assert symmetry.group.order == orders.get(task.model, 2)
    assert symmetry.observation.dimension == task.observation_size
    assert symmetry.action_size == task.action_size


def test_walker_has_no_symmetry_of_pictures():
    with pytest.raises(ControlError, match="no symmetry of its pictures"):
        image_symmetry(load_task("walker_walk"))


@pytest.mark.parametrize("name", [name for name in TASKS if name != "walker_walk"])
def test_image_symmetries_share_group_and_action(name):
    task = load_task(name)
    image, state = image_symmetry(task), state_symmetry(task)
    assert image.group == state.group
    assert image.action == state.action


def test_an_unknown_task_is_told_with_close_matches():
    with pytest.raises(ControlError, match=r"unknown task 'cartpole_swing'; did you mean cartpole_swingup"):
        load_task("cartpole_swing")
    assert issubclass(ControlError, EquitradeError)


def test_tasks_are_found_by_their_files():
    assert len(set(TASKS)) == len(TASKS) == 9
