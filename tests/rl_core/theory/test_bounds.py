from __future__ import annotations

import doctest
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from rl_core.errors import ConfigError
from rl_core.symmetry import cyclic, dihedral, product, quotient, regular, sign, trivial
from rl_core.symmetry.measure import paired_gaps, sampled_gaps
from rl_core.theory.bounds import (
    TabularAction,
    TabularMDP,
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

GROUPS = [cyclic(2), cyclic(3), dihedral(2), dihedral(3), product(cyclic(2), cyclic(3))]


def tabular_action(group, orbits, generator):
    """States and actions made of regular, fixed and quotient orbits."""
    kinds = [regular(group), trivial(group), quotient(group, [int(generator.integers(group.order))])]
    states = kinds[0]
    for kind in generator.integers(3, size=orbits):
        states = states + kinds[kind]
    return TabularAction.of(states, kinds[generator.integers(3)] + trivial(group))


@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    group=st.sampled_from(GROUPS),
    orbits=st.integers(0, 3),
    discount=st.floats(0.0, 0.98),
    strength=st.floats(0.0, 1.0),
)
def test_bound_holds_on_random_problems(seed, group, orbits, discount, strength):
    generator = np.random.default_rng(seed)
    action = tabular_action(group, orbits, generator)
    mdp = perturbed(random_symmetric(action, discount, generator), action, strength, generator)
    values = value_iteration(mdp)
    bound = theorem_bound(mdp, action, values=values)
    slack = 2 * values.error / (1 - discount) + 1e-9 * (1 + bound.alpha)
    assert bound.gap <= bound.alpha + slack
    assert bound.epsilon_p <= strength + 1e-9
    # Wasserstein for places on a line, which the group does not respect.
    near = theorem_bound(mdp, action, line_distance(len(values.v)), values)
    assert near.gap <= near.alpha + slack


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), strength=st.floats(0.0, 1.0))
def test_bound_holds_for_distances_off_a_line(seed, strength):
    generator = np.random.default_rng(seed)
    action = tabular_action(cyclic(3), 1, generator)
    mdp = perturbed(random_symmetric(action, 0.8, generator), action, strength, generator)
    points = generator.normal(size=(len(mdp.rewards), 2))
    distance = np.linalg.norm(points[:, None] - points, axis=-1)
    bound = theorem_bound(mdp, action, distance)
    assert bound.gap <= bound.alpha + 1e-7


@pytest.mark.parametrize("discount", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("epsilon_r", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_worst_case_attains_at_least_half_of_the_bound(discount, epsilon_r, share):
    epsilon_p = share * (1 - discount)
    bound = theorem_bound(*worst_case(epsilon_r, epsilon_p, discount))
    assert bound.epsilon_r == pytest.approx(epsilon_r)
    assert bound.epsilon_p == pytest.approx(epsilon_p)
    assert bound.gap <= bound.alpha + 1e-8
    assert bound.gap >= 0.5 * bound.alpha - 1e-8
    expected = (1 - discount) / (1 - discount + discount * epsilon_p)
    assert bound.gap == pytest.approx(expected * bound.alpha, abs=1e-7)


def test_exactly_symmetric_problems_have_invariant_values():
    generator = np.random.default_rng(0)
    for group in GROUPS:
        action = tabular_action(group, 2, generator)
        bound = theorem_bound(random_symmetric(action, 0.95, generator), action)
        assert bound.epsilon_r < 1e-12
        assert bound.epsilon_p < 1e-12
        assert bound.gap < 1e-7


def test_value_iteration_equals_the_solution_of_the_best_policys_equations():
    generator = np.random.default_rng(1)
    action = tabular_action(dihedral(3), 2, generator)
    mdp = perturbed(random_symmetric(action, 0.97, generator), action, 1.0, generator)
    values = value_iteration(mdp)
    rows = np.arange(len(values.v))
    best = values.q.argmax(axis=1)
    law, reward = mdp.transitions[rows, best], mdp.rewards[rows, best]
    exact = np.linalg.solve(np.eye(len(rows)) - mdp.discount * law, reward)
    assert np.abs(values.v - exact).max() <= values.error + 1e-12
    assert values.error <= 1e-10


def test_value_iteration_ends_where_rounding_is_coarser_than_the_tolerance():
    mdp = TabularMDP(np.array([[1e9, 0.0], [0.3, 1e9]]), np.full((2, 2, 2), 0.5), 0.999)
    values = value_iteration(mdp, tolerance=1e-12)
    assert 1e-12 < values.error < 1e3


def test_distances_agree_with_other_ways_to_compute_them():
    generator = np.random.default_rng(2)
    p, q = generator.dirichlet(np.ones(6), size=(2, 5))
    np.testing.assert_allclose(total_variation(p, q), np.maximum(p - q, 0).sum(axis=1))
    places = generator.normal(size=6)
    line = np.abs(places[:, None] - places)
    expected = [wasserstein_distance(places, places, a, b) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(wasserstein(p, q, line), expected)
    # A metric off the line goes through the linear programme: with all distances 1 it is total variation.
    np.testing.assert_allclose(wasserstein(p, q, 1 - np.eye(6)), total_variation(p, q), atol=1e-9)
    # A line bent a little into the plane gives nearly what the line gives, by the other route.
    bent = np.sqrt(line**2 + (1e-4 * line) ** 2 * (places[:, None] + places) ** 2)
    np.testing.assert_allclose(wasserstein(p, q, bent), expected, rtol=1e-5)


def test_gauge_is_the_least_constant_of_the_function_class():
    v = np.array([0.0, 1.0, 5.0])
    assert gauge(v) == 5.0
    assert gauge(v, line_distance(3)) == 4.0
    assert gauge(v[:1], np.zeros((1, 1))) == 0.0


def test_corridor_breaks_as_its_settings_say():
    mdp, action = corridor(9, wind=0.2, tilt=0.3)
    gaps = symmetry_gaps(mdp, action)
    np.testing.assert_allclose(gaps.reward, [0.0, 0.3])
    np.testing.assert_allclose(gaps.transition, [0.0, 0.2])
    assert symmetry_gaps(mdp, action, line_distance(9)).epsilon_p == pytest.approx(0.4)
    straight = theorem_bound(*corridor(9))
    assert straight.alpha < 1e-12
    assert straight.gap < 1e-8


def test_equivariance_errors_and_the_elements_they_leave():
    # f respects the flip of the first entry (it is even in it) and nearly that of the second.
    def f(x):
        return np.stack([x[:, 0] ** 2 + 0.01 * x[:, 1], x[:, 1]], axis=1)

    x = np.random.default_rng(3).uniform(-1, 1, (200, 2))
    flips = [np.array(s) for s in ([1, 1], [-1, 1], [1, -1], [-1, -1])]
    on_inputs = [lambda v, s=s: s * v for s in flips]
    on_outputs = [lambda v, s=s: np.array([1, s[1]]) * v for s in flips]
    errors = equivariance_errors(f, x, on_inputs, on_outputs)
    assert errors[0] == errors[1] == 0
    assert 0.015 < errors[2] <= 0.02
    assert epsilon_stabiliser(errors, 0.0) == (0, 1)
    assert epsilon_stabiliser(errors, 0.02) == (0, 1, 2, 3)
    assert is_approximately_equivariant(errors, 0.02)
    assert not is_approximately_equivariant(errors, 0.01)


def test_faulty_problems_are_refused_by_name():
    mdp, action = corridor(5)
    broken = mdp.transitions.copy()
    broken[2, 1, 0] += 0.5
    with pytest.raises(ConfigError, match="state 2, action 1"):
        TabularMDP(mdp.rewards, broken, 0.9)
    with pytest.raises(ConfigError, match="transitions have shape"):
        TabularMDP(mdp.rewards[:4], mdp.transitions, 0.9)
    with pytest.raises(ConfigError, match="discount is 1"):
        TabularMDP(mdp.rewards, mdp.transitions, 1.0)
    with pytest.raises(ConfigError, match="states: element 1"):
        TabularAction(np.array([[0, 1], [0, 0]]), action.actions)
    with pytest.raises(ConfigError, match="does not permute"):
        TabularAction.of(sign(cyclic(2)), trivial(cyclic(2)))
    with pytest.raises(ConfigError, match="the group acts on 5 states"):
        symmetry_gaps(corridor(7)[0], action)


def test_figure_draws_the_gap_below_every_bound():
    from docs.theory_figures import bound_figure

    figure = bound_figure(points=5)
    curves = [(t.xaxis, t.name, np.asarray(t.y, dtype=float)) for t in figure.data]
    for axis in ("x", "x2"):
        gap = next(y for x, name, y in curves if x == axis and name.startswith("gap"))
        bounds = [y for x, name, y in curves if x == axis and name.startswith("bound")]
        assert len(bounds) == (2 if axis == "x" else 1)
        assert gap[-1] > 0.1
        for bound in bounds:
            assert (gap <= bound + 1e-9).all()
    # The worst case attains half of its bound everywhere.
    assert (gap >= 0.5 * bounds[0] - 1e-9).all()


def test_examples_of_the_theory_page_give_what_it_shows():
    page = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "theory.md"
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > 15
    assert found.failed == 0


def test_energy_distance_does_not_enter_the_bound():
    generator = np.random.default_rng(0)
    rewards, states = generator.normal(size=(2, 10, 8)), generator.normal(size=(2, 10, 8, 1))
    energy, wasserstein_1 = (
        sampled_gaps(*rewards, *states, generator=generator, metric=metric)
        for metric in ("energy", "wasserstein")
    )
    with pytest.raises(ConfigError, match="not the energy distance"):
        measured_bound(energy, gauge=1.0, discount=0.9)
    with pytest.raises(ConfigError, match="not the energy distance"):
        theorem_bound(*corridor(5), "energy")
    assert measured_bound(wasserstein_1, gauge=1.0, discount=0.9) > 10 * wasserstein_1.reward.high


def test_measured_bound_of_a_paired_simulator_is_the_formula():
    gaps = paired_gaps(
        [1.0, 2.0], [1.0, 1.5], [[0.0], [3.0]], [[0.0], [4.0]], generator=np.random.default_rng(0)
    )
    assert measured_bound(gaps, gauge=2.0, discount=0.5) == pytest.approx((0.5 + 0.5 * 2.0 * 1.0) / 0.5)
