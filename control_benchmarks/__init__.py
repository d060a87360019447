"""Control experiments: DeepMind Control tasks, variants that break their symmetry, runs and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control_benchmarks.envs.process_pool import ControlEnv
    from control_benchmarks.envs.symmetry import image_symmetry, state_symmetry
    from control_benchmarks.envs.variants import Variant, load_variant, variant_names
    from control_benchmarks.errors import ControlError
    from control_benchmarks.tasks.registry import load_task, task_names

_HOMES = {
    "ControlEnv": "workers",
    "ControlError": "errors",
    "Variant": "variants",
    "image_symmetry": "symmetry",
    "load_task": "tasks.registry",
    "load_variant": "variants",
    "state_symmetry": "symmetry",
    "task_names": "tasks.registry",
    "variant_names": "variants",
}

__all__ = [
    "ControlEnv",
    "ControlError",
    "Variant",
    "image_symmetry",
    "load_task",
    "load_variant",
    "state_symmetry",
    "task_names",
    "variant_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
