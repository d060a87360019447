from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from control_benchmarks import ControlEnv, ControlError, image_symmetry, load_task, task_names
from control_benchmarks.envs.pixels import SIZE, Camera, frame_shape
from control_benchmarks.envs.random_shift import random_shift
from control_benchmarks.tasks.base import States
from control_benchmarks.tasks.mujoco_models import load_model

CASES = [
    (name, key)
    for name in task_names()
    if load_task(name).has_image_symmetry
    for key in load_task(name).generators
]


@pytest.fixture(scope="module")
def renderer():
    """MuJoCo chooses its renderer when it is imported, so drawing tests run where EGL was chosen before."""
    if os.environ.get("MUJOCO_GL") not in ("egl", "osmesa"):
        pytest.skip("set MUJOCO_GL=egl to test pictures")
    try:
        Camera(load_task("pendulum_swingup")).close()
    except ControlError as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_pictures_in_a_process_of_their_own():
    """Run the drawing tests below with EGL, where there is one."""
    if os.environ.get("MUJOCO_GL") == "egl":
        pytest.skip("they run anyway")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "MUJOCO_GL": "egl", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize(("name", "key"), CASES)
def test_pictures_of_mirrored_states_are_mirrored_pictures(renderer, name, key):
    task = load_task(name)
    start = task.initial(np.random.RandomState(1), load_model(task.model))
    states = States(start.position[None], start.velocity[None], start.target[None])
    generator, symmetry = task.generators[key], image_symmetry(task)
    moved = generator.apply(states)
    camera = Camera(task)
    here, there = (camera.render(s.position[0], s.target[0]).astype(np.float32) for s in (states, moved))
    camera.close()
    stack = torch.from_numpy(np.tile(here, (3, 1, 1)))
    element = symmetry.group.generators[key]
    error = np.abs(symmetry.transform_observation(element, stack)[:3].numpy() - there)
    # Edges that cross a pixel's centre may fall to either side; everything else agrees.
    assert error.mean() < 0.5
    assert (error > 3).mean() < 0.02
    others = [g for g in range(symmetry.group.order) if g != element]
    wrong = [np.abs(symmetry.transform_observation(g, stack)[:3].numpy() - there).mean() for g in others]
    assert min(wrong) > error.mean()


def test_an_environment_of_pictures_stacks_three_frames(renderer):
    with ControlEnv("cartpole_swingup", [0], pixels=True, action_repeat=250) as env:
        first = env.reset()
        assert first.shape == (1, 1, *frame_shape()) == (1, 1, 9, SIZE, SIZE)
        assert first.dtype == torch.uint8
        assert torch.equal(first[..., :3, :, :], first[..., 6:, :, :])
        step = env.step(torch.ones(1, 1, 1))
        assert torch.equal(step.observation[..., :6, :, :], first[..., 3:, :, :])
        assert not torch.equal(step.observation[..., 6:, :, :], first[..., 6:, :, :])
        first_draw, again, other = (env.encode_sampled(step.observation, draw) for draw in (0, 0, 1))
        assert torch.equal(first_draw, again)
        assert not torch.equal(first_draw, other)
        encoded = env.encode(step.observation)
        assert -0.5 <= float(encoded.min()) < float(encoded.max()) <= 0.5
        for _ in range(3):
            step = env.step(torch.ones(1, 1, 1))
        assert bool(step.truncated.all())
        assert torch.equal(step.observation[..., :3, :, :], step.observation[..., 6:, :, :])
        assert not torch.equal(step.final_observation, step.observation)


def test_shifts_move_pictures_and_repeat_their_edges():
    pictures = torch.arange(9 * 9, dtype=torch.uint8).view(1, 1, 1, 9, 9).expand(2, 3, 4, 9, 9)
    middle = torch.full((2, 3, 2), 0.5)
    assert torch.equal(random_shift(pictures, middle), pictures)
    moved = random_shift(pictures, torch.tensor([0.999, 0.0]).expand(2, 3, 2))
    assert torch.equal(moved[..., :5, 4:], pictures[..., 4:, :5])
    assert torch.equal(moved[..., 5:, :], moved[..., 4:5, :].expand(2, 3, 4, 4, 9))
    assert torch.equal(moved[..., :4], moved[..., 4:5].expand(2, 3, 4, 9, 4))


def test_flipped_shifts_of_flipped_pictures_are_flipped():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand((2, 3, 4, 9, 9), generator=generator)
    uniform = torch.rand((2, 3, 2), generator=generator)
    flipped = torch.stack([uniform[..., 0], 1 - uniform[..., 1]], dim=-1)
    assert torch.equal(random_shift(pictures.flip(-1), flipped), random_shift(pictures, uniform).flip(-1))


@pytest.mark.parametrize("choice", ["", "disable", "glfw"])
def test_no_renderer_is_told_in_one_line(monkeypatch, choice):
    monkeypatch.setenv("MUJOCO_GL", choice)
    with pytest.raises(ControlError, match="pixels need a renderer: set MUJOCO_GL=egl") as caught:
        ControlEnv("cartpole_swingup", [0], pixels=True)
    assert "\n" not in str(caught.value)


def test_a_renderer_that_fails_is_told_in_one_line(monkeypatch):
    import mujoco

    def fail(*arguments):
        raise RuntimeError("Cannot initialize a EGL device display.\nThis likely means many things.")

    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(mujoco, "Renderer", fail)
    with pytest.raises(ControlError, match="pixels need egl, which is missing here") as caught:
        Camera(load_task("pendulum_swingup")).close()
    assert "\n" not in str(caught.value)
