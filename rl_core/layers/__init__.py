"""Exact and relaxed equivariant layers, each with a leading axis K of independent copies."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rl_core.layers.attention import SetAttention
    from rl_core.layers.base import Layer
    from rl_core.layers.conv import DenseConv, GroupConv, LiftingConv
    from rl_core.layers.fourier import FourierLinear
    from rl_core.layers.linear import DenseLinear, GroupLinear, Head, LayerNorm, Lifting, RegularLinear
    from rl_core.layers.rows import RowLayer, SetPool
    from rl_core.layers.rpp import ResidualConv, ResidualPathway, ResidualRows
    from rl_core.layers.sets import SetHead, SetLayer, SetLifting, SetLinear
    from rl_core.layers.steerable import SteerableConv

_MODULES = {
    "DenseConv": "conv",
    "DenseLinear": "linear",
    "FourierLinear": "fourier",
    "GroupConv": "conv",
    "GroupLinear": "linear",
    "Head": "linear",
    "Layer": "base",
    "LayerNorm": "linear",
    "Lifting": "linear",
    "LiftingConv": "conv",
    "RegularLinear": "linear",
    "ResidualConv": "rpp",
    "ResidualPathway": "rpp",
    "ResidualRows": "rpp",
    "RowLayer": "rows",
    "SetAttention": "attention",
    "SetHead": "sets",
    "SetLayer": "sets",
    "SetLifting": "sets",
    "SetLinear": "sets",
    "SetPool": "rows",
    "SteerableConv": "steerable",
}

__all__ = [
    "DenseConv",
    "DenseLinear",
    "FourierLinear",
    "GroupConv",
    "GroupLinear",
    "Head",
    "Layer",
    "LayerNorm",
    "Lifting",
    "LiftingConv",
    "RegularLinear",
    "ResidualConv",
    "ResidualPathway",
    "ResidualRows",
    "RowLayer",
    "SetAttention",
    "SetHead",
    "SetLayer",
    "SetLifting",
    "SetLinear",
    "SetPool",
    "SteerableConv",
]


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
