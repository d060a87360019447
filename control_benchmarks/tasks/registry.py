"""Find tasks by name."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module
from pathlib import Path

from control_benchmarks.errors import unknown
from control_benchmarks.tasks.base import Task


@lru_cache(maxsize=1)
def _tasks() -> dict[str, Task]:
    package = __name__.rpartition(".")[0]
    found: dict[str, Task] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        for task in getattr(import_module(f"{package}.{module.name}"), "TASKS", ()):
            found[task.name] = task
    return found


def task_names() -> tuple[str, ...]:
    """Return the names of all tasks in alphabetical order."""
    return tuple(sorted(_tasks()))


def load_task(name: str) -> Task:
    """Return the task of a name such as ``"cartpole_swingup"``.

    Raises
    ------
    ControlError
        If there is no such task; the message names those that look like it.
    """
    tasks = _tasks()
    if name not in tasks:
        raise unknown("task", name, tasks)
    return tasks[name]
