"""The agent without symmetry."""

from __future__ import annotations

from rl_core.agents import Kind

__all__ = ["KIND"]

KIND = Kind("dense", "unconstrained networks: plain SAC", group_layers=False)
