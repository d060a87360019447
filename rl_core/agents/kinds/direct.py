"""The agent without critics, which follows the gradient of rewards through the environment."""

from __future__ import annotations

from rl_core.agents import Kind
from rl_core.relaxation import Free

__all__ = ["KIND"]

# Evidence for relaxed weights is measured in critics, so that the actor's are free here.
KIND = Kind(
    "direct",
    "relaxed actor without critics, trained by the gradient of rewards through a known market",
    relaxes=True,
    rule=Free,
    direct=True,
)
