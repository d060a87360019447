"""Tabular problems on which the theorem can be watched: random, worked and worst cases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rl_core.errors import ConfigError
from rl_core.theory.bounds import TabularAction, TabularMDP

Array = npt.NDArray[np.float64]


def random_symmetric(action: TabularAction, discount: float, generator: np.random.Generator) -> TabularMDP:
    """Random problem that a group leaves exactly invariant: rewards and laws are averaged over the group.

    Parameters
    ----------
    action
        The group on S states and A actions.
    discount
        γ.
    generator
        Draws rewards (standard normal) and laws (Dirichlet).
    """
    mdp = _random(action, discount, generator)
    places = [np.ix_(s, a) for s, a in zip(action.states, action.actions, strict=True)]
    rewards = np.mean([mdp.rewards[place] for place in places], axis=0)
    laws = [mdp.transitions[place][:, :, s] for place, s in zip(places, action.states, strict=True)]
    return TabularMDP(rewards, np.mean(laws, axis=0), discount)


def perturbed(
    mdp: TabularMDP, action: TabularAction, strength: float, generator: np.random.Generator
) -> TabularMDP:
    """The problem mixed with one without symmetry: (1 − strength) of one, strength of the other.

    Its ε_P in total variation is at most `strength`.

    Parameters
    ----------
    mdp, action
        The problem and the group, which set the sizes.
    strength
        In [0, 1].
    generator
        Draws the other problem.
    """
    other = _random(action, mdp.discount, generator)
    return TabularMDP(
        (1 - strength) * mdp.rewards + strength * other.rewards,
        (1 - strength) * mdp.transitions + strength * other.transitions,
        mdp.discount,
    )


def corridor(
    states: int = 9,
    *,
    wind: float = 0.0,
    tilt: float = 0.0,
    slip: float = 0.1,
    discount: float = 0.9,
) -> tuple[TabularMDP, TabularAction]:
    """A corridor with a prize at either end, which looks alike from left and right unless it is broken.

    From each place one steps left or right (the intended step fails with probability `slip`), an end pays 1
    and sends one back to the middle. The mirror exchanges left and right, in places and steps.

    Parameters
    ----------
    states
        Number of places, odd and at least 3.
    wind
        Probability that the wind pushes one place to the right instead, whatever was intended; breaks the
        transitions.
    tilt
        The left end pays 1 − tilt; breaks the rewards.
    slip, discount
        Probability of staying, and γ.

    Returns
    -------
    mdp, action
        Action 0 steps left, action 1 right.
    """
    if states < 3 or states % 2 == 0:
        raise ConfigError(f"a corridor has an odd number of places, at least 3; got {states}")
    if not (0 <= wind <= 1 and 0 <= slip <= 1):
        raise ConfigError(f"wind {wind} and slip {slip} are probabilities")
    middle, last = states // 2, states - 1
    rewards = np.zeros((states, 2))
    rewards[0], rewards[last] = 1 - tilt, 1
    transitions = np.zeros((states, 2, states))
    for s in range(states):
        for a, step in enumerate((-1, 1)):
            if s in (0, last):
                transitions[s, a, middle] = 1
                continue
            transitions[s, a, s + step] += (1 - wind) * (1 - slip)
            transitions[s, a, s] += (1 - wind) * slip
            transitions[s, a, s + 1] += wind
    places = np.arange(states)
    action = TabularAction(np.stack([places, places[::-1]]), np.array([[0, 1], [1, 0]]))
    return TabularMDP(rewards, transitions, discount), action


def line_distance(states: int) -> Array:
    """Distance |s − s′| between places on a line, [S, S]."""
    places = np.arange(states, dtype=np.float64)
    return np.abs(places[:, None] - places)


def worst_case(epsilon_r: float, epsilon_p: float, discount: float) -> tuple[TabularMDP, TabularAction]:
    """A problem that attains the bound as nearly as (1 − γ) / (1 − γ + γ ε_P), and fully for ε_P → 0.

    Two mirror states u and gu keep their place with probability 1 − ε_P. With probability ε_P the first
    falls to a state that pays nothing for ever and the second rises to one that pays 1 for ever; the second
    also earns ε_R more. So each period adds a gap ε_R + γ ε_P ρ, with ρ = 1/(1 − γ) the span of the values,
    and the gap recurs with probability 1 − ε_P:

        gap = (ε_R + γ ρ ε_P) / (1 − γ (1 − ε_P)),      α = (ε_R + γ ρ ε_P) / (1 − γ).

    Parameters
    ----------
    epsilon_r
        In [0, 1]: rewards of u and gu are (1 − ε_R)/2 and (1 + ε_R)/2, so that the span of the values stays
        1/(1 − γ).
    epsilon_p
        In [0, 1], in total variation.
    discount
        γ.
    """
    if not (0 <= epsilon_r <= 1 and 0 <= epsilon_p <= 1):
        raise ConfigError(f"epsilon_r {epsilon_r} and epsilon_p {epsilon_p} must lie in [0, 1]")
    u, gu, bottom, top = range(4)
    rewards = np.array([[(1 - epsilon_r) / 2], [(1 + epsilon_r) / 2], [0.0], [1.0]])
    transitions = np.zeros((4, 1, 4))
    transitions[u, 0, u] = transitions[gu, 0, gu] = 1 - epsilon_p
    transitions[u, 0, bottom] += epsilon_p
    transitions[gu, 0, top] += epsilon_p
    transitions[bottom, 0, bottom] = transitions[top, 0, top] = 1
    action = TabularAction(
        np.array([[u, gu, bottom, top], [gu, u, bottom, top]]), np.zeros((2, 1), dtype=np.int64)
    )
    return TabularMDP(rewards, transitions, discount), action


def _random(action: TabularAction, discount: float, generator: np.random.Generator) -> TabularMDP:
    states, actions = action.states.shape[1], action.actions.shape[1]
    rewards = generator.normal(size=(states, actions))
    # A concentration below 1 makes peaked laws, which are farther from symmetric than flat ones.
    transitions = generator.dirichlet(np.full(states, 0.5), size=(states, actions))
    return TabularMDP(rewards, transitions, discount)
