"""The agent whose networks are exactly equivariant."""

from __future__ import annotations

from rl_core.agents import Kind

__all__ = ["KIND"]

KIND = Kind("exact", "exactly equivariant networks")
