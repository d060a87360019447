"""Approximately equivariant decision problems: definitions, exact constants of tabular ones, and the bound.

A group G acts on states and actions. A decision problem is (G, ε_R, ε_P)-invariant when for all s, a and g

    |R(gs, ga) − R(s, a)| ≤ ε_R      and      d_F(P(·|gs, ga), g·P(·|s, a)) ≤ ε_P,

with d_F(p, q) = sup over f in F of |E_p f − E_q f| an integral probability metric. Then the optimal action
value is nearly invariant (Theorem 1 of Park et al., "Approximate Equivariance in Reinforcement Learning",
AISTATS 2025):

    |Q*(gs, ga) − Q*(s, a)| ≤ α = (ε_R + γ ρ_F(V*) ε_P) / (1 − γ),

where the gauge ρ_F(V*) is the least ρ with V*/ρ in F. Two metrics are here:

- total variation: F holds the functions whose largest and smallest values differ by at most 1, and the
  gauge is the span max V* − min V*;
- Wasserstein-1 for a distance between states: F holds the 1-Lipschitz functions, and the gauge is the
  Lipschitz constant of V*.

Axes: G group, S states, A actions. Everything is NumPy in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rl_core.errors import ConfigError
from rl_core.symmetry import Representation
from rl_core.symmetry.measure import EnvironmentGaps

__all__ = [
    "Bound",
    "Gaps",
    "TabularAction",
    "TabularMDP",
    "Values",
    "epsilon_stabiliser",
    "equivariance_errors",
    "gauge",
    "is_approximately_equivariant",
    "measured_bound",
    "symmetry_gaps",
    "theorem_bound",
    "total_variation",
    "value_iteration",
    "wasserstein",
]

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TabularMDP:
    """A finite Markov decision process.

    Parameters
    ----------
    rewards
        R(s, a), [S, A].
    transitions
        P(s′|s, a), [S, A, S].
    discount
        γ in [0, 1).

    Raises
    ------
    ConfigError
        Naming the state and action whose law is none, or the shape that does not fit.
    """

    rewards: Array
    transitions: Array
    discount: float

    def __post_init__(self) -> None:
        states, actions = self.rewards.shape
        if self.transitions.shape != (states, actions, states):
            raise ConfigError(
                f"transitions have shape {self.transitions.shape}; {states} states and {actions} actions "
                f"need ({states}, {actions}, {states})"
            )
        if not 0 <= self.discount < 1:
            raise ConfigError(f"discount is {self.discount}; it must lie in [0, 1)")
        wrong = (np.abs(self.transitions.sum(axis=2) - 1) > 1e-9) | (self.transitions < 0).any(axis=2)
        if wrong.any():
            s, a = np.argwhere(wrong)[0]
            raise ConfigError(f"transitions of state {s}, action {a} are no probability distribution")


@dataclass(frozen=True)
class TabularAction:
    """A group that permutes the states and actions of a tabular problem.

    Parameters
    ----------
    states, actions
        [G, S] and [G, A]: ``states[g, s]`` is the index of gs.
    """

    states: Integers
    actions: Integers

    def __post_init__(self) -> None:
        for name, images in (("states", self.states), ("actions", self.actions)):
            wrong = (np.sort(images, axis=1) != np.arange(images.shape[1])).any(axis=1)
            if wrong.any():
                raise ConfigError(f"{name}: element {int(np.argmax(wrong))} does not permute them")
        if len(self.states) != len(self.actions):
            raise ConfigError(f"{len(self.states)} elements act on states, {len(self.actions)} on actions")

    @classmethod
    def of(cls, states: Representation, actions: Representation) -> TabularAction:
        """Take permutation representations of one group, such as sums of `regular`, `quotient` and `trivial`.

        Parameters
        ----------
        states, actions
            Representations of dimension S and A whose matrices are permutations.
        """
        return cls(_images(states), _images(actions))


@dataclass(frozen=True)
class Values:
    """Optimal values: ``q`` [S, A] and ``v`` [S], each within ``error`` of the true ones."""

    q: Array
    v: Array
    error: float
    iterations: int


@dataclass(frozen=True)
class Gaps:
    """Distance of a problem from invariance, for each group element: ``reward`` [G] and ``transition`` [G]."""

    reward: Array
    transition: Array

    @property
    def epsilon_r(self) -> float:
        """ε_R, the largest over the group."""
        return float(self.reward.max())

    @property
    def epsilon_p(self) -> float:
        """ε_P, the largest over the group."""
        return float(self.transition.max())


@dataclass(frozen=True)
class Bound:
    """The bound of the theorem, what it is made of, and what it bounds.

    Attributes
    ----------
    epsilon_r, epsilon_p, gauge
        ε_R, ε_P and ρ_F(V*).
    alpha
        The bound.
    gap
        max |Q*(gs, ga) − Q*(s, a)|, known to within twice the error of `value_iteration`.
    """

    epsilon_r: float
    epsilon_p: float
    gauge: float
    alpha: float
    gap: float


def equivariance_errors(
    function: Callable[[Array], Array],
    inputs: Array,
    act_on_inputs: Sequence[Callable[[Array], Array]],
    act_on_outputs: Sequence[Callable[[Array], Array]],
) -> Array:
    """Equivariance error of a function under each element: max over inputs of ‖f(gx) − g f(x)‖, [G].

    Parameters
    ----------
    function
        Takes inputs [B, …] to outputs [B, …].
    inputs
        [B, …]; the maximum is over these.
    act_on_inputs, act_on_outputs
        For each element, its action on a batch of inputs and of outputs.
    """
    outputs = function(inputs)
    errors = []
    for on_inputs, on_outputs in zip(act_on_inputs, act_on_outputs, strict=True):
        difference = function(on_inputs(inputs)) - on_outputs(outputs)
        errors.append(np.linalg.norm(difference.reshape(len(inputs), -1), axis=1).max())
    return np.array(errors)


def epsilon_stabiliser(errors: npt.ArrayLike, epsilon: float) -> tuple[int, ...]:
    """Elements g under which a function's equivariance error is at most ε: the part of the group it respects.

    With ε = 0 it is a subgroup. With ε > 0 it need not be: two elements of the ε-stabiliser have a product
    in the 2ε-stabiliser (for groups that act by isometries).

    Parameters
    ----------
    errors
        [G], from `equivariance_errors`.
    epsilon
        At least 0.
    """
    return tuple(int(g) for g in np.flatnonzero(np.asarray(errors) <= epsilon))


def is_approximately_equivariant(errors: npt.ArrayLike, epsilon: float) -> bool:
    """Return whether the ε-stabiliser is the whole group."""
    return bool((np.asarray(errors) <= epsilon).all())


def value_iteration(mdp: TabularMDP, tolerance: float = 1e-10) -> Values:
    """Optimal values by Bellman iteration.

    Parameters
    ----------
    mdp
        The problem.
    tolerance
        The iteration stops when values are certainly this close to the true ones; a tolerance finer than
        rounding allows stops at the rounding error.
    """
    gamma, flat = mdp.discount, mdp.transitions.reshape(-1, mdp.rewards.shape[0])
    # Start from the middle of the range that values can have.
    v = np.full(mdp.rewards.shape[0], mdp.rewards.mean() / (1 - gamma))
    iterations = 0
    rounding = 8 * np.finfo(np.float64).eps * np.abs(mdp.rewards).max() / (1 - gamma) ** 2
    while True:
        q = mdp.rewards + gamma * (flat @ v).reshape(mdp.rewards.shape)
        moved = np.abs(q.max(axis=1) - v).max()
        v = q.max(axis=1)
        iterations += 1
        error = gamma * moved / (1 - gamma)
        if error <= max(tolerance, rounding):
            return Values(q, v, float(max(error, rounding)), iterations)


def total_variation(p: Array, q: Array) -> Array:
    """Total variation ½ Σ |p − q| between laws on the last axis."""
    return np.asarray(0.5 * np.abs(p - q).sum(axis=-1))


def wasserstein(p: Array, q: Array, distance: Array) -> Array:
    """Wasserstein-1 distance between laws on the last axis, exactly.

    Where the states lie on a line it is the area between the distribution functions; otherwise each pair of
    laws is a linear programme (scipy).

    Parameters
    ----------
    p, q
        [..., S].
    distance
        Metric between states, [S, S].
    """
    p, q = np.broadcast_arrays(p, q)
    line = _line(distance)
    if line is not None:
        order = np.argsort(line)
        excess = np.cumsum((p - q)[..., order], axis=-1)[..., :-1]
        return np.asarray((np.abs(excess) * np.diff(line[order])).sum(axis=-1))
    pairs = zip(p.reshape(-1, p.shape[-1]), q.reshape(-1, q.shape[-1]), strict=True)
    return np.array([_transport(a, b, distance) for a, b in pairs]).reshape(p.shape[:-1])


def gauge(v: Array, distance: Array | None = None) -> float:
    """ρ_F of values [S]: their span (total variation), or their Lipschitz constant for `distance` [S, S]."""
    if distance is None:
        return float(v.max() - v.min())
    gaps = np.abs(v[:, None] - v[None, :])
    apart = ~np.eye(len(v), dtype=bool)
    if len(v) < 2:
        return 0.0
    return float((gaps[apart] / distance[apart]).max())


def symmetry_gaps(mdp: TabularMDP, action: TabularAction, distance: Array | None = None) -> Gaps:
    """Exact ε_R and ε_P of each group element.

    Parameters
    ----------
    mdp, action
        The problem and the group on it.
    distance
        Metric between states [S, S] for Wasserstein-1; total variation where it is absent. The energy distance is
        no integral probability metric and `theorem_bound` refuses it.
    """
    if action.states.shape[1] != mdp.rewards.shape[0] or action.actions.shape[1] != mdp.rewards.shape[1]:
        raise ConfigError(
            f"the group acts on {action.states.shape[1]} states and {action.actions.shape[1]} actions, "
            f"but the problem has {mdp.rewards.shape[0]} and {mdp.rewards.shape[1]}"
        )
    rewards, transitions = [], []
    for states, actions in zip(action.states, action.actions, strict=True):
        place = np.ix_(states, actions)
        rewards.append(np.abs(mdp.rewards[place] - mdp.rewards).max())
        # (g·P)(gs′) = P(s′): compare both laws in the coordinates of the original states.
        there = mdp.transitions[place][:, :, states]
        if distance is None:
            apart = total_variation(there, mdp.transitions)
        else:
            # There, the distance is between images; it need not be invariant under the group.
            apart = wasserstein(there, mdp.transitions, distance[np.ix_(states, states)])
        transitions.append(apart.max())
    return Gaps(np.array(rewards), np.array(transitions))


def theorem_bound(
    mdp: TabularMDP, action: TabularAction, distance: Array | None = None, values: Values | None = None
) -> Bound:
    """Both sides of the theorem for a tabular problem, exactly.

    Parameters
    ----------
    mdp, action, distance
        As for `symmetry_gaps`.
    values
        From `value_iteration`, where they are known already.
    """
    _refuse_energy(distance)
    values = value_iteration(mdp) if values is None else values
    gaps = symmetry_gaps(mdp, action, distance)
    rho = gauge(values.v, distance)
    alpha = (gaps.epsilon_r + mdp.discount * rho * gaps.epsilon_p) / (1 - mdp.discount)
    moved = (values.q[np.ix_(s, a)] for s, a in zip(action.states, action.actions, strict=True))
    gap = max(float(np.abs(q - values.q).max()) for q in moved)
    return Bound(gaps.epsilon_r, gaps.epsilon_p, rho, alpha, gap)


def measured_bound(gaps: EnvironmentGaps, *, gauge: float, discount: float) -> float:
    """α of the theorem from measured gaps: (ε_R + γ ρ ε_P) / (1 − γ), with the upper limits of ε_R and ε_P.

    It bounds what the visited pairs can show: the measured gaps are means over them, the theorem's are suprema.

    Parameters
    ----------
    gaps
        From `rl_core.symmetry.measure`, with the Wasserstein distance.
    gauge
        Lipschitz constant of V*.
    discount
        γ in [0, 1).

    Raises
    ------
    ConfigError
        For gaps in the energy distance, which is quadratic in the shift and no integral probability metric.
    """
    _refuse_energy(gaps.metric)
    if not 0 <= discount < 1:
        raise ConfigError(f"discount is {discount}; it must lie in [0, 1)")
    reward, transition = (
        float(np.fmax(interval.high, largest))
        for interval, largest in (
            (gaps.reward, gaps.largest_reward),
            (gaps.transition, gaps.largest_transition),
        )
    )
    return (reward + discount * gauge * transition) / (1 - discount)


def _refuse_energy(metric: object) -> None:
    if isinstance(metric, str) and metric != "wasserstein":
        raise ConfigError(
            f"the theorem needs an integral probability metric, not the {metric} distance; use wasserstein"
        )


def _images(representation: Representation) -> Integers:
    matrices = representation.matrices.numpy()
    images: Integers = matrices.argmax(axis=1).astype(np.int64)
    if not np.allclose(matrices, np.eye(matrices.shape[1])[images].transpose(0, 2, 1)):
        raise ConfigError(f"{representation.name} does not permute its coordinates")
    return images


def _line(distance: Array) -> Array | None:
    """Coordinates of the states where they lie on a line."""
    start = int(np.argmax(distance[0]))  # the state farthest from any one is an end
    line = distance[start]
    on_line = np.allclose(np.abs(line[:, None] - line[None, :]), distance, rtol=1e-12, atol=1e-12)
    return line if on_line else None


def _transport(p: Array, q: Array, distance: Array) -> float:
    """Smallest cost of moving p to q, by the programme over what leaves and what is missing."""
    from scipy.optimize import linprog

    surplus, lack = np.maximum(p - q, 0), np.maximum(q - p, 0)
    sources, sinks = np.flatnonzero(surplus > 0), np.flatnonzero(lack > 0)
    if not len(sources) or not len(sinks):
        return 0.0
    # Rounding may leave the two a little different in mass, which would make the programme infeasible.
    supply = surplus[sources] / surplus.sum()
    demand = lack[sinks] / lack.sum()
    rows = np.kron(np.eye(len(sources)), np.ones(len(sinks)))
    columns = np.kron(np.ones(len(sources)), np.eye(len(sinks)))
    plan = linprog(
        distance[np.ix_(sources, sinks)].ravel(),
        A_eq=np.vstack([rows, columns[:-1]]),
        b_eq=np.concatenate([supply, demand[:-1]]),
    )
    return float(plan.fun * surplus.sum())
