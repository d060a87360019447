"""Reinforcement learning with exact, relaxed or no symmetry, for many seeds at once."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rl_core.checkpoint import load_agent, save_agent
    from rl_core.config import SACConfig
    from rl_core.env import BatchedEnv, Step
    from rl_core.errors import ConfigError, SymmetryError
    from rl_core.evaluation import Evaluator, evaluate
    from rl_core.random import Noise
    from rl_core.replay import Batch, Replay
    from rl_core.sac import SAC
    from rl_core.symmetry import Group, Representation, Symmetry
    from rl_core.training import Progress, TrainResult, train
    from rl_core.wrappers import ActionRepeat

_HOMES = {
    "ActionRepeat": "repeat",
    "Batch": "replay",
    "BatchedEnv": "env",
    "ConfigError": "errors",
    "Evaluator": "evaluation",
    "Group": "symmetry",
    "Noise": "random",
    "Progress": "training",
    "Replay": "replay",
    "Representation": "symmetry",
    "SAC": "sac",
    "SACConfig": "config",
    "Step": "env",
    "Symmetry": "symmetry",
    "SymmetryError": "errors",
    "TrainResult": "training",
    "evaluate": "evaluation",
    "load_agent": "checkpoint",
    "save_agent": "checkpoint",
    "train": "training",
}

__all__ = [
    "SAC",
    "ActionRepeat",
    "Batch",
    "BatchedEnv",
    "ConfigError",
    "Evaluator",
    "Group",
    "Noise",
    "Progress",
    "Replay",
    "Representation",
    "SACConfig",
    "Step",
    "Symmetry",
    "SymmetryError",
    "TrainResult",
    "evaluate",
    "load_agent",
    "save_agent",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'rl_core' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"rl_core.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
