"""Actors and critics, generated from a symmetry."""

from __future__ import annotations

from rl_core.networks.base import Network, Shape
from rl_core.networks.build import build_actor, build_critic, matching_width, standard_network
from rl_core.networks.images import EncoderShape

__all__ = [
    "EncoderShape",
    "Network",
    "Shape",
    "build_actor",
    "build_critic",
    "matching_width",
    "standard_network",
]
