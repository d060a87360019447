"""Tasks of DeepMind Control with their symmetries: one file a domain.

A new file in this package that has a tuple `TASKS` is found by its being there.
"""

from __future__ import annotations

from control_benchmarks.tasks.base import Breaks, Generator, Start, States, Task
from control_benchmarks.tasks.registry import load_task, task_names

__all__ = [
    "Breaks",
    "Generator",
    "Start",
    "States",
    "Task",
    "load_task",
    "task_names",
]
