"""The dense agent that learns a symmetry from transformed transitions."""

from __future__ import annotations

from rl_core.agents import Kind

__all__ = ["KIND"]

KIND = Kind(
    "augmented", "dense; every batch is moved by random group elements", group_layers=False, augments=True
)
