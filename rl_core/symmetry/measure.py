"""Measures of the distance of a function, a network's layers or an environment from a symmetry.

Axes: S seeds, B batch, E ensemble, K networks, L banks, G group, N rows,
P pairs, D numbers in a draw of the next state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from rl_core.errors import ConfigError
from rl_core.statistics import Interval
from rl_core.symmetry.distances import (
    cross_fitted,
    difference_of_means,
    energy_distance,
    largest_cross_fitted,
    lipschitz_function,
    sign_function,
    wasserstein_of_samples,
)
from rl_core.symmetry.symmetry import Element, Symmetry

__all__ = [
    "EnvironmentGaps",
    "FunctionError",
    "Metric",
    "critic_errors",
    "elements",
    "energy_distance",
    "environment_gaps",
    "inverse",
    "paired_gaps",
    "policy_errors",
    "relaxation",
    "sampled_gaps",
    "wasserstein_of_samples",
]

Array = npt.NDArray[np.float64]
Policy = Callable[[Tensor], Tensor]
Critic = Callable[[Tensor, Tensor], Tensor]
Simulate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Metric = Literal["energy", "wasserstein"]


@dataclass(frozen=True)
class FunctionError:
    """Equivariance error of a function under one element, over the states it was measured at.

    Attributes
    ----------
    mean, maximum
        [S], or [S, E] for an ensemble.
    scale
        Of the function's own values, in the same shape: mean ‖μ(s)‖ of a policy, standard deviation of Q(s,
        a) of a critic. An error means something beside it.
    """

    mean: Tensor
    maximum: Tensor
    scale: Tensor


@dataclass(frozen=True)
class EnvironmentGaps:
    """Measured ε_R and ε_P over visited pairs (s, a).

    Attributes
    ----------
    reward, transition
        Means over the pairs with 95 % intervals.
    largest_reward, largest_transition
        Largest gap of a pair. On average it lies below the true supremum, since only visited pairs count.
    metric
        Distance between laws of the next state. The theorem's bound needs ``"wasserstein"``.
    """

    reward: Interval
    transition: Interval
    largest_reward: float
    largest_transition: float
    metric: Metric = "wasserstein"


def elements(symmetry: Symmetry, batch: int, generator: Generator | None = None) -> dict[str, Element]:
    """Return the elements to measure under, by name, each for a batch of this size.

    Parameters
    ----------
    symmetry
        Its group has one entry for each element but the identity, under the element's name. With rows,
        there is also ``"exchange"``: a random permutation of the rows (within their sectors) for each sample.
    batch
        B.
    generator
        Draws the permutations.
    """
    group = symmetry.group
    found = {
        group.names[g]: Element(torch.full((batch,), g)) for g in range(group.order) if g != group.identity
    }
    if symmetry.rows is not None and symmetry.rows > 1:
        order = symmetry.permutation(torch.rand(batch, symmetry.rows, generator=generator))
        found["exchange"] = Element(torch.full((batch,), group.identity), order)
    return found


def inverse(symmetry: Symmetry, element: Element) -> Element:
    """Return g⁻¹ of each sample's element."""
    back = None if element.permutation is None else element.permutation.argsort(dim=-1)
    return Element(symmetry.group.inverse[element.index], back)


@torch.no_grad()
def policy_errors(
    policy: Policy, symmetry: Symmetry, observation: Tensor, generator: Generator | None = None
) -> dict[str, FunctionError]:
    """Measure ‖μ(gs) − ρ_a(g) μ(s)‖ over states, for each element of `elements`.

    Parameters
    ----------
    policy
        Takes network inputs [S, B, …] to deterministic actions [S, B, A].
    symmetry
        How the group acts.
    observation
        Visited states as network inputs, [S, B, …].
    generator
        Draws row permutations.
    """
    action = policy(observation)
    scale = action.norm(dim=-1).mean(dim=-1)
    found = {}
    for name, g in elements(symmetry, observation.shape[1], generator).items():
        moved = policy(_act(symmetry.transform_observation, g, observation))
        error = (moved - _act(symmetry.transform_action, g, action)).norm(dim=-1)
        found[name] = FunctionError(error.mean(dim=-1), error.amax(dim=-1), scale)
    return found


@torch.no_grad()
def critic_errors(
    critic: Critic,
    symmetry: Symmetry,
    observation: Tensor,
    action: Tensor,
    generator: Generator | None = None,
) -> dict[str, FunctionError]:
    """Measure |Q(gs, ga) − Q(s, a)| over states and actions, for each element of `elements`.

    Parameters
    ----------
    critic
        Takes network inputs [S, B, …] and actions [S, B, A] to values [S, B] or [S, E, B].
    symmetry, observation, generator
        As for `policy_errors`.
    action
        Taken actions, [S, B, A].
    """
    q = critic(observation, action)
    found = {}
    for name, g in elements(symmetry, observation.shape[1], generator).items():
        moved = critic(
            _act(symmetry.transform_observation, g, observation), _act(symmetry.transform_action, g, action)
        )
        error = (moved - q).abs()
        found[name] = FunctionError(error.mean(dim=-1), error.amax(dim=-1), q.std(dim=-1))
    return found


def relaxation(
    weights: Mapping[str, Tensor], over: Literal["all", "group", "rows"] = "all"
) -> dict[str, Tensor]:
    """Inequality of each layer's relaxed weights: max |w_l − mean w_l| / mean |w|, each [K].

    It is 0 exactly where the layer is equivariant, so the layers with large values broke the symmetry.

    Parameters
    ----------
    weights
        By layer, [K, L, G] or, with rows, [K, L, N, G].
    over
        What the mean is taken over: everything but the banks, the group alone (mirror of a market), or the
        rows alone (exchange of assets). Layers without rows are left out for ``"rows"``.
    """
    found = {}
    for name, w in weights.items():
        if over == "rows" and w.ndim < 4:
            continue
        dims = {"all": tuple(range(2, w.ndim)), "group": (w.ndim - 1,), "rows": (2,)}[over]
        off = (w - w.mean(dim=dims, keepdim=True)).abs().flatten(1).amax(dim=1)
        size = w.abs().flatten(1).mean(dim=1)
        found[name] = (off / size.clamp_min(torch.finfo(w.dtype).tiny)).detach()
    return found


def paired_gaps(
    reward: npt.ArrayLike,
    reward_moved: npt.ArrayLike,
    next_state: npt.ArrayLike,
    next_state_back: npt.ArrayLike,
    *,
    generator: np.random.Generator,
) -> EnvironmentGaps:
    """ε_R and ε_P of a deterministic simulator from paired transitions.

    Parameters
    ----------
    reward, reward_moved
        [P]: R(s, a) and R(gs, ga).
    next_state, next_state_back
        [P, D]: the state after (s, a), and the one after (gs, ga) mapped back by g⁻¹; ε_P is their Euclidean
        distance, which is the Wasserstein distance between two certain outcomes.
    generator
        Draws the bootstrap of the intervals.
    """
    reward_gap = np.abs(np.asarray(reward, dtype=np.float64) - np.asarray(reward_moved, dtype=np.float64))
    difference = np.asarray(next_state, dtype=np.float64) - np.asarray(next_state_back, dtype=np.float64)
    distance = np.linalg.norm(difference.reshape(len(difference), -1), axis=1)
    return EnvironmentGaps(
        _mean(reward_gap, reward_gap, generator),
        _mean(distance, distance, generator),
        float(reward_gap.max()),
        float(distance.max()),
    )


def sampled_gaps(
    rewards: npt.ArrayLike,
    rewards_moved: npt.ArrayLike,
    next_states: npt.ArrayLike,
    next_states_back: npt.ArrayLike,
    *,
    generator: np.random.Generator,
    metric: Metric = "wasserstein",
) -> EnvironmentGaps:
    """ε_R and ε_P of a stochastic environment from several draws at each pair (s, a) and (gs, ga).

    Both are suprema over test functions: ε_R = sup over signs of ±(E R − E R_moved), the Wasserstein ε_P = sup over
    1-Lipschitz f of E f(X) − E f(Y). The best test function of a sample overfits it, so plug-in values are too large
    on average. Estimates here are cross-fitted: the test function is chosen on four fifths of the draws and evaluated
    on the rest. They are 0 on average where the laws agree and never too large on average elsewhere; they approach the
    truth from below as draws increase (slowly in many dimensions). Intervals reach from the lower 95 % limit of the
    cross-fitted mean to the upper one of the plug-in mean, so they cover the truth at least as often as an interval
    of an unbiased mean does; more draws make them narrower.

    Parameters
    ----------
    rewards, rewards_moved
        [P, K] draws, at least 2 a pair.
    next_states, next_states_back
        [P, K, D] draws of the next state, the second mapped back by g⁻¹.
    generator
        Draws the bootstrap.
    metric
        ``"wasserstein"``: Wasserstein-1. ``"energy"``: the unbiased `energy_distance`; it is quadratic in small
        shifts and no integral probability metric, so it does not enter the theorem's bound.

    Raises
    ------
    ConfigError
        If there are fewer than 2 draws a pair.
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (next_states, next_states_back))
    x, y = (v.reshape(*v.shape[:2], -1) for v in (x, y))
    r, r_moved = (np.asarray(v, dtype=np.float64) for v in (rewards, rewards_moved))
    if min(x.shape[1], y.shape[1], r.shape[1], r_moved.shape[1]) < 2:
        raise ConfigError(
            "sampled_gaps needs at least 2 draws a pair; use paired_gaps for a deterministic simulator"
        )
    reward = np.array([cross_fitted(a, b, sign_function) for a, b in zip(r, r_moved, strict=True)])
    plug_in_reward = np.array([difference_of_means(a, b) for a, b in zip(r, r_moved, strict=True)])
    pairs = list(zip(x, y, strict=True))
    if metric == "energy":
        transition = plug_in = np.array([energy_distance(a, b) for a, b in pairs])
        largest = float(transition.max())
    else:
        transition = np.array([cross_fitted(a, b, lipschitz_function) for a, b in pairs])
        plug_in = np.array([wasserstein_of_samples(a, b) for a, b in pairs])
        largest = largest_cross_fitted(x, y, wasserstein_of_samples, lipschitz_function)
    stretch = _stretch(len(reward))
    return EnvironmentGaps(
        _mean(reward, plug_in_reward, generator, stretch=stretch),
        _mean(transition, plug_in, generator, stretch=stretch),
        largest_cross_fitted(r, r_moved, difference_of_means, sign_function),
        largest,
        metric,
    )


def environment_gaps(
    simulate: Simulate,
    symmetry: Symmetry,
    observation: Tensor,
    action: Tensor,
    element: Element,
    *,
    generator: np.random.Generator,
    draws: int = 1,
    metric: Metric = "wasserstein",
) -> EnvironmentGaps:
    """ε_R and ε_P of an environment that can be set to a state, over the given states and actions.

    Parameters
    ----------
    simulate
        Takes states [P, …] and actions [P, A] to rewards [P] and next states [P, …].
    symmetry, element
        How the group acts, and the element of each pair, [P]; see `elements`.
    observation, action
        States and actions, [P, …] and [P, A].
    generator
        Draws the intervals.
    draws
        K: 1 for a deterministic simulator (`paired_gaps`), several for a stochastic one (`sampled_gaps`).
    metric
        As in `sampled_gaps`.
    """
    moved = symmetry.transform_observation(element, observation), symmetry.transform_action(element, action)
    back = inverse(symmetry, element)
    here = [simulate(observation, action) for _ in range(draws)]
    there = [simulate(*moved) for _ in range(draws)]
    rewards, rewards_moved = (torch.stack([r for r, _ in runs], dim=1).numpy() for runs in (here, there))
    states = torch.stack([s for _, s in here], dim=1).numpy()
    states_back = torch.stack([symmetry.transform_observation(back, s) for _, s in there], dim=1).numpy()
    if draws == 1:
        return paired_gaps(
            rewards[:, 0], rewards_moved[:, 0], states[:, 0], states_back[:, 0], generator=generator
        )
    return sampled_gaps(rewards, rewards_moved, states, states_back, generator=generator, metric=metric)


def _act(transform: Callable[[Element, Tensor], Tensor], g: Element, x: Tensor) -> Tensor:
    """Act on each sample with its element, which all seeds share."""
    index, order = g.index.to(x.device).expand(x.shape[:2]), g.permutation
    if order is not None:
        order = order.to(x.device).expand(len(x), *order.shape)
    return transform(Element(index, order), x)


def _mean(
    lower: Array, upper: Array, generator: np.random.Generator, resamples: int = 1000, stretch: float = 1.0
) -> Interval:
    """Mean of ``lower`` [P], from its lower 95 % limit to the upper limit of the mean of ``upper`` [P]."""
    estimate = float(lower.mean())
    if len(lower) < 2:
        return Interval(estimate, np.nan, np.nan)
    # Weights of a bootstrap resample, so that memory is resamples × P whatever the values are.
    counts = generator.multinomial(len(lower), np.full(len(lower), 1 / len(lower)), size=resamples)
    low = np.quantile(counts @ lower / len(lower), 0.025)
    high = np.quantile(counts @ upper / len(upper), 0.975)
    if stretch != 1.0:
        low, high = estimate + stretch * (low - estimate), upper.mean() + stretch * (high - upper.mean())
    return Interval(estimate, float(low), float(high))


def _stretch(pairs: int) -> float:
    """Student's correction: how much wider than the bootstrap's an interval of the mean of few values is."""
    from scipy.stats import norm, t

    if pairs < 2:
        return 1.0
    return float(t.ppf(0.975, pairs - 1) / norm.ppf(0.975) * np.sqrt(pairs / (pairs - 1)))
