"""Tasks of DeepMind Control with their symmetries: one file a domain.

A new file in this package that has a tuple `TASKS` is found by its being there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from control_benchmarks.tasks.base import Breaks, Generator, Start, States, Task
    from control_benchmarks.tasks.registry import load_task, task_names

_HOMES = {
    "Breaks": "base",
    "Generator": "base",
    "Start": "base",
    "States": "base",
    "Task": "base",
    "load_task": "registry",
    "task_names": "registry",
}

__all__ = ["Breaks", "Generator", "Start", "States", "Task", "load_task", "task_names"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
