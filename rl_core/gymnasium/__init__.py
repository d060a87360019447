"""Gymnasium environments with a declared symmetry: training in them, and tests of what was declared."""

from __future__ import annotations

from rl_core.gymnasium.env import GymnasiumEnv

__all__ = ["GymnasiumEnv"]
