"""Pictures of a task that keep its symmetry: a centred fixed camera, a plain floor, no sky and no shadows."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from control_benchmarks.errors import ControlError
from control_benchmarks.tasks.base import Array, Task
from control_benchmarks.tasks.mujoco_models import import_mujoco, load_model

SIZE = 85  # odd, so that layers with stride 2 keep the symmetry
STACK = 3
_FLOOR = (0.2, 0.3, 0.4, 1.0)


def frame_shape() -> tuple[int, int, int]:
    """Return the shape of an observation: the channels of three frames, and their size."""
    return (3 * STACK, SIZE, SIZE)


class Camera:
    """Draws states of a task.

    Parameters
    ----------
    task
        The task; its `camera` is used.

    Raises
    ------
    ControlError
        If pictures cannot be drawn here.
    """

    def __init__(self, task: Task) -> None:
        if os.environ.get("MUJOCO_GL", "") not in ("egl", "osmesa"):
            raise ControlError("pixels need a renderer: set MUJOCO_GL=egl (or osmesa) before starting Python")
        mujoco = import_mujoco()
        self._mujoco, self._task = mujoco, task
        self._model = load_model(task.model)
        _make_plain(self._model, task)
        self._data = mujoco.MjData(self._model)
        self._target = mujoco.mj_name2id(self._model, int(mujoco.mjtObj.mjOBJ_GEOM), "target")
        try:
            self._renderer = mujoco.Renderer(self._model, SIZE, SIZE)
        except Exception as error:  # each OpenGL back end raises errors of its own
            backend = os.environ["MUJOCO_GL"]
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ControlError(
                f"pixels need {backend}, which is missing here ({reason}); run from states, or where it is"
            ) from error
        flags = self._renderer.scene.flags
        for flag in ("mjRND_SKYBOX", "mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_HAZE"):
            flags[int(getattr(mujoco.mjtRndFlag, flag))] = 0

    def render(self, position: Array, target: Array) -> NDArray[np.uint8]:
        """Return the picture [3, 85, 85] of a state with position [nq] and target [e]."""
        self._data.qpos[:] = position
        if len(target):
            self._model.geom_pos[self._target, :2] = target
        self._mujoco.mj_fwdPosition(self._model, self._data)
        self._renderer.update_scene(self._data, camera=self._task.camera)
        picture: Any = self._renderer.render()
        return np.ascontiguousarray(np.moveaxis(picture, -1, 0))

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()


def _make_plain(model: Any, task: Task) -> None:
    """Give planes one colour and goals their size, and light all alike: shading is drawn by triangles."""
    mujoco = import_mujoco()
    model.light_active[:] = 0
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.9, 0.0
    model.vis.headlight.specular[:] = 0.0
    planes = model.geom_type == int(mujoco.mjtGeom.mjGEOM_PLANE)
    model.geom_matid[planes] = -1
    model.geom_rgba[planes] = _FLOOR
    for name, size in task.size:
        model.geom_size[mujoco.mj_name2id(model, int(mujoco.mjtObj.mjOBJ_GEOM), name), 0] = size
