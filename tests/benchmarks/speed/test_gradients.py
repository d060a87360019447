"""Contenders of the SAC benchmarks: the same gradient, computed in two ways."""

from __future__ import annotations

import pytest
import torch

from benchmarks.harness import gradient_difference
from benchmarks.linear_quadratic import filled_replay, symmetry
from benchmarks.speed.sac import FORMS, OURS, REACH
from rl_core.config import SACConfig
from rl_core.sac import SAC

KINDS = ("dense", "exact", "relaxed")


@pytest.fixture(params=KINDS)
def agent(request):
    return SAC(symmetry(), SACConfig(agent=request.param, width=8, batch_size=16), (0, 1))


def test_the_difference_of_gradients_is_small_for_the_right_one_alone(agent):
    batch = filled_replay(2, steps=50).sample(torch.zeros(2, 16, dtype=torch.long) + torch.arange(16))
    assert gradient_difference(agent, batch) < 1e-4
    right = agent.gradient

    def doubled(*arguments):
        right(*arguments)
        agent.flat.gradients.mul_(2)

    agent.gradient = doubled
    assert gradient_difference(agent, batch) > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_timed_with_both_gradients(kind):
    pairs = [(ours, other) for ours, other, reach in REACH if other == f"{ours}, autograd" and reach == 1.25]
    settings = [(OURS[ours][0], OURS[other][0]) for ours, other in pairs]
    forms = ({}, *FORMS.values())
    assert [(a, b) for a, b in settings if a["agent"] == kind] == [
        ({"agent": kind, **form}, {"agent": kind, **form, "gradient": "autograd"}) for form in forms
    ]
