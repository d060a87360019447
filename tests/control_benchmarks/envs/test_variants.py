from __future__ import annotations

import numpy as np
import pytest

from control_benchmarks import ControlError, load_task, load_variant, task_names, variant_names
from control_benchmarks.envs.symmetry import state_symmetry
from control_benchmarks.envs.symmetry_gaps import measure_gaps
from control_benchmarks.envs.variants import ActionMap, Variant, gravity_vector

CASES = [(task, kind) for task in task_names() for kind in variant_names(load_task(task))]


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_originals_keep_their_symmetry_and_variants_break_it(name, kind):
    task = load_task(name)
    found = measure_gaps(task, Variant(kind), pairs=64)
    if kind == "original":
        assert found.gaps.largest_transition < 1e-9
        assert found.gaps.largest_reward < 1e-6
    else:
        assert found.gaps.transition.low > 0.02 * found.change
        assert found.gaps.transition.low <= found.gaps.transition.estimate <= found.gaps.transition.high


@pytest.mark.parametrize("kind", ["repeat-action", "reflect-action", "gravity", "worn-joint"])
def test_a_stronger_variant_breaks_more_and_none_breaks_nothing(kind):
    task = load_task("cartpole_swingup")
    weak, strong = (measure_gaps(task, Variant(kind, s), pairs=256).gaps.transition for s in (0.2, 1.0))
    assert weak.estimate < strong.estimate
    assert measure_gaps(task, Variant(kind, 0.0), pairs=64).gaps.largest_transition < 1e-12


@pytest.mark.parametrize("name", task_names())
def test_no_element_of_the_group_keeps_the_region(name):
    """The region of repeat-action and reflect-action is half of the space and no symmetry of it is left."""
    task = load_task(name)
    direction = np.array(task.breaks.direction)
    for matrix in state_symmetry(task).observation.matrices.numpy()[1:]:
        assert not np.allclose(direction @ matrix, direction)
    region = ActionMap(task, [Variant("reflect-action")])
    observation = np.random.default_rng(0).normal(size=(2000, task.observation_size))
    assert 0.45 < region.region(observation).mean() < 0.55


def test_each_variant_does_what_it_says():
    task = load_task("pendulum_swingup")
    kinds = ["original", "repeat-action", "reflect-action", "worn-joint"]
    actions = ActionMap(task, [Variant(kind) for kind in kinds])
    action, previous = np.full((4, 1), 0.5), np.full((4, 1), -0.25)
    left, right = np.tile([[0.0, -1.0, 0.0]], (4, 1)), np.tile([[0.0, 1.0, 0.0]], (4, 1))
    assert actions.command(action, previous, left)[:, 0].tolist() == [0.5, 0.5, 0.5, 0.5]
    command = actions.command(action, previous, right)
    assert command[:, 0].tolist() == [0.5, -0.25, -0.5, 0.5]
    assert actions.control(command)[:, 0].tolist() == [0.5, -0.25, -0.5, 1.0]
    assert actions.control(-action)[:, 0].tolist() == [-0.5] * 4


def test_gravity_tilts_without_changing_its_size():
    task = load_task("acrobot_swingup")
    vector = gravity_vector(task, Variant("gravity"))
    assert vector is not None
    assert np.linalg.norm(vector) == pytest.approx(9.81)
    assert np.degrees(np.arctan2(vector[0], -vector[2])) == pytest.approx(10)
    assert gravity_vector(task, Variant("worn-joint")) is None


def test_names_with_strengths():
    task = load_task("reacher_easy")
    variant = load_variant(task, "gravity:0.5")
    assert variant == Variant("gravity", 0.5)
    assert variant.name == "gravity:0.5"
    assert load_variant(task, "worn-joint").name == "worn-joint"


@pytest.mark.parametrize(
    ("task", "variant", "reason"),
    [
        ("walker_walk", "gravity", "unknown variant of walker_walk 'gravity'"),
        ("reacher_easy", "reflect_action", "did you mean reflect-action"),
        ("reacher_easy", "reflect-action:2", "must be a number from 0 to 1"),
        ("reacher_easy", "gravity:much", "must be a number from 0 on"),
        ("reacher_easy", "gravity:-1", "must be a number from 0 on"),
    ],
)
def test_wrong_variants_are_told_in_one_line(task, variant, reason):
    with pytest.raises(ControlError, match=reason) as caught:
        load_variant(load_task(task), variant)
    assert "\n" not in str(caught.value)
