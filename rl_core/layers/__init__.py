"""Exact and relaxed equivariant layers, each with a leading axis K of independent copies."""

from __future__ import annotations

from rl_core.layers.attention import SetAttention
from rl_core.layers.base import Layer
from rl_core.layers.conv import DenseConv, GroupConv, LiftingConv
from rl_core.layers.fourier import FourierLinear
from rl_core.layers.linear import DenseLinear, GroupLinear, Head, LayerNorm, Lifting, RegularLinear
from rl_core.layers.rows import RowLayer, SetPool
from rl_core.layers.rpp import ResidualConv, ResidualPathway, ResidualRows
from rl_core.layers.sets import SetHead, SetLayer, SetLifting, SetLinear
from rl_core.layers.steerable import RegularSteerableConv, SteerableConv

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
    "RegularSteerableConv",
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
