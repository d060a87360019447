"""Kinds of agents: what a kind is, and the registry that finds them by name."""

from __future__ import annotations

from rl_core.agents.registry import Kind, check_kind, find_kind, kind_names, register_kind

__all__ = ["Kind", "check_kind", "find_kind", "kind_names", "register_kind"]
