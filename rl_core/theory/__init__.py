"""Bounds of approximate equivariance, exact for tabular problems, and problems to try them on."""

from __future__ import annotations

from rl_core.theory.bounds import (
    Bound,
    Gaps,
    TabularAction,
    TabularMDP,
    Values,
    epsilon_stabiliser,
    equivariance_errors,
    gauge,
    is_approximately_equivariant,
    measured_bound,
    symmetry_gaps,
    theorem_bound,
    total_variation,
    value_iteration,
    wasserstein,
)
from rl_core.theory.examples import corridor, line_distance, perturbed, random_symmetric, worst_case

__all__ = [
    "Bound",
    "Gaps",
    "TabularAction",
    "TabularMDP",
    "Values",
    "corridor",
    "epsilon_stabiliser",
    "equivariance_errors",
    "gauge",
    "is_approximately_equivariant",
    "line_distance",
    "measured_bound",
    "perturbed",
    "random_symmetric",
    "symmetry_gaps",
    "theorem_bound",
    "total_variation",
    "value_iteration",
    "wasserstein",
    "worst_case",
]
