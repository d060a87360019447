"""The agent that starts equivariant and learns where the symmetry fails."""

from __future__ import annotations

from rl_core.agents import Kind

__all__ = ["KIND"]

KIND = Kind("relaxed", "starts equivariant and learns where the symmetry fails", relaxes=True)
