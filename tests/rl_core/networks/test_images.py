"""Encoders of images with steerable convolutions."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from torch import Generator

from rl_core.errors import ConfigError, SymmetryError
from rl_core.layers import RegularSteerableConv, SteerableConv
from rl_core.networks import (
    EncoderShape,
    Shape,
    build_actor,
    build_critic,
)
from rl_core.symmetry import (
    Representation,
    Symmetry,
    dihedral,
    sign,
    standard,
    trivial,
)

D1, D2, D4 = dihedral(1), dihedral(2), dihedral(4)


def generators(copies: int) -> list[Generator]:
    return [torch.Generator().manual_seed(i) for i in range(copies)]


needs_escnn = pytest.mark.skipif(importlib.util.find_spec("escnn") is None, reason="escnn is not installed")


def steerable_encoder() -> EncoderShape:
    return EncoderShape(image_size=15, channels=8, convolutions=2, features=16, layer="steerable")


@needs_escnn
@pytest.mark.parametrize("plane", [standard(D1), standard(D2), standard(D4)], ids=["D1", "D2", "D4"])
@pytest.mark.parametrize("kind", ["exact", "relaxed", "rpp", "dense"])
def test_steerable_encoders_keep_equivariance(kind: str, plane: Representation) -> None:
    group = plane.group
    symmetry = Symmetry(group, trivial(group, 2), plane, plane=plane)
    sizes = {"encoder": steerable_encoder(), "generators": generators(2)}
    actor = build_actor(kind, symmetry, Shape(32), **sizes)
    critic = build_critic(kind, symmetry, Shape(32), **sizes)
    steerable = [m for m in actor.modules() if isinstance(m, RegularSteerableConv)]
    assert len(steerable) == (0 if kind == "dense" else 2)
    tolerance = {"exact": 2e-6, "relaxed": 2e-6, "rpp": 0.1}.get(kind, float("inf"))
    for network in (actor, critic):
        assert network.check_equivariance() < tolerance
        if kind == "relaxed":
            own = {name for name in network.relaxed_weights() if name.startswith("encoder_conv0.")}
            assert own
            for layer in network.modules():
                if isinstance(layer, SteerableConv):
                    for c in layer.coefficients:
                        c.data += 0.5 * torch.randn_like(c)
            assert network.check_equivariance() > 1e-3
            network.decay_relaxed_weights(1.0)
            assert network.check_equivariance() < 5e-6


def test_steerable_encoders_refuse_channels_that_move() -> None:
    symmetry = Symmetry(D1, sign(D1), sign(D1), plane=standard(D1))
    with pytest.raises(SymmetryError, match="channels that the group leaves unchanged"):
        build_actor("exact", symmetry, encoder=steerable_encoder(), generators=generators(1))
    with pytest.raises(ConfigError, match="layer: must be 'group' or 'steerable', got 'round'"):
        EncoderShape(layer="round")
