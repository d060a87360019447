"""Layers of every kind, for tests."""

from __future__ import annotations

import torch
from torch import Generator

from rl_core.layers import (
    Head,
    Layer,
    Lifting,
    RegularLinear,
    SetAttention,
    SetHead,
    SetLifting,
    SetLinear,
    SetPool,
)
from rl_core.symmetry import Group, cyclic, dihedral, product, regular, trivial

GROUPS = [
    cyclic(1),
    cyclic(3),
    dihedral(1),
    dihedral(2),
    dihedral(3),
    dihedral(4),
    product(cyclic(2), cyclic(3)),
]


def generators(copies: int = 2) -> list[Generator]:
    return [torch.Generator().manual_seed(i) for i in range(copies)]


def layers(group: Group, relaxed: bool, banks: int) -> list[Layer]:
    options = {"banks": banks, "relaxed": relaxed, "generators": generators()}
    rows = {**options, "rows": 3}
    source, target = regular(group) + trivial(group, 2), regular(group) + trivial(group)
    return [
        Lifting(source, 4, **options),
        RegularLinear(group, 3, 5, **options),
        Head(target, 4, **options),
        SetLifting(source, 4, **rows),
        SetLifting(source, 4, last_apart=True, **rows),
        SetLinear(group, 3, 4, **rows),
        SetHead(target, 4, **rows),
        SetPool(group, 4, **rows),
        SetAttention(group, 4, heads=2, **rows),
    ]


def randomise(layer: Layer, relaxed: bool) -> None:
    own = {id(p) for p in layer.relaxed_parameters()}
    for parameter in layer.parameters():
        if relaxed or id(parameter) not in own:
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7))
