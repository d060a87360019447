"""MuJoCo models of DeepMind Control, read from the files of the installed ``dm_control``.

Only the model files are taken from ``dm_control``; importing the package costs a second and many
dependencies, and its generic step is several times slower than stepping all environments in one call.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from control_benchmarks.errors import ControlError

_COMMON = ("materials", "skybox", "visual")
_INSTALL = "pip install 'equitrade[control]'"


@lru_cache(maxsize=1)
def suite_directory() -> Path:
    """Return the folder of ``dm_control`` that holds the model files.

    Raises
    ------
    ControlError
        If ``dm_control`` is not installed.
    """
    spec = importlib.util.find_spec("dm_control")
    for location in (spec.submodule_search_locations or ()) if spec else ():
        suite = Path(location) / "suite"
        if suite.is_dir():
            return suite
    raise ControlError(f"the model files of dm_control were not found: {_INSTALL}")


def import_mujoco() -> Any:
    """Import MuJoCo.

    Raises
    ------
    ControlError
        If MuJoCo is not installed.
    """
    try:
        with warnings.catch_warnings():
            # Without a display its window library warns; nothing here opens a window.
            warnings.simplefilter("ignore")
            import mujoco
    except ImportError as error:
        raise ControlError(f"MuJoCo cannot be imported ({error}): {_INSTALL}") from error
    return mujoco


@lru_cache(maxsize=32)
def _files(domain: str) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    suite = suite_directory()
    path = suite / f"{domain}.xml"
    if not path.is_file():
        raise ControlError(f"dm_control has no model file {path}: {_INSTALL}")
    common = tuple(
        (f"./common/{name}.xml", (suite / "common" / f"{name}.xml").read_bytes()) for name in _COMMON
    )
    return path.read_text(encoding="utf-8"), common


def load_model(domain: str, *, gravity: Sequence[float] | None = None) -> Any:
    """Load the model of a domain, without what only its viewers need.

    Parameters
    ----------
    domain
        Name of the model file, such as ``"cartpole"``.
    gravity
        Acceleration [3] in metres per square second; the domain's own by default.

    Returns
    -------
    mujoco.MjModel
        The model. Energies and sensors are switched off: no task here reads them, and the dynamics are the
        same. Control limits are switched off as well: environments clip actions themselves, and a worn joint
        answers more strongly than its limit.
    """
    mujoco = import_mujoco()
    xml, common = _files(domain)
    model = mujoco.MjModel.from_xml_string(xml, dict(common))
    model.opt.enableflags &= ~int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
    model.actuator_ctrllimited[:] = 0
    if gravity is not None:
        model.opt.gravity[:] = gravity
    return model
