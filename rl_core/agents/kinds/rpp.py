"""The agent with residual pathway priors (Finzi, Benton & Wilson 2021)."""

from __future__ import annotations

from rl_core.agents import Kind
from rl_core.layers.rpp import residual

__all__ = ["KIND"]

KIND = Kind("rpp", "each layer is the sum of an exact layer and a small unconstrained one", wrap=residual)
